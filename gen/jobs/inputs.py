"""The input files of a command: one task for each, named without an option."""

import glob
from collections.abc import Sequence
from pathlib import Path

from gen.errors import InputError

SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")


def positional(cls) -> str | None:
    """The field that is given without an option, several times over: an input file marked ``positional``."""
    extras = ((name, field.json_schema_extra) for name, field in cls.model_fields.items())
    return next((name for name, extra in extras if isinstance(extra, dict) and extra.get("positional")), None)


def inputs(given: Sequence[str]) -> list[str]:
    """Files as they are, folders as the sound files in them, patterns as what they match."""
    found: list[str] = []
    for name in given:
        if Path(name).is_dir():
            found += sorted(str(path) for path in Path(name).iterdir() if path.suffix.lower() in SOUNDS)
        elif not Path(name).exists() and glob.has_magic(name):
            found += sorted(glob.glob(name))
        else:
            found.append(name)
    if not found:
        raise InputError(f"there is no sound in {', '.join(given)}")
    return found
