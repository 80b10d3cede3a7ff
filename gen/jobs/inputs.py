"""The input files of a command, which are named without an option."""

import glob
from collections.abc import Sequence
from pathlib import Path

from gen.errors import InputError

SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")


def positional(cls) -> list[str]:
    """The fields of a task class that are given without an option: the files that there is no task without.

    Where there is one, it may be given several times over, for a task each.
    """
    return [name for name, field in cls.model_fields.items() if field.is_required() and field.annotation is Path]


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
