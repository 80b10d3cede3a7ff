"""``affekt verify``."""

import json
from collections.abc import Callable
from pathlib import Path

from gen.errors import AlteredError, InputError


def add(commands, path: Callable[[str], Path]) -> None:
    """Adds the command to ``commands``; ``path`` parses an argument as a path."""
    verify = commands.add_parser("verify", help="read every mark of a file: manifest, credentials, watermark")
    verify.add_argument("files", type=path, nargs="+", metavar="FILE", help="files, or folders with files")
    verify.add_argument("--json", action="store_true", help="one JSON line per file")
    verify.set_defaults(command=_verify)


def _verify(options) -> None:
    """Verifies every file; the error lists the altered files, else the unreadable ones."""
    from gen.marks.verify import report, verify

    altered, unreadable = [], []
    for file in [one for given in options.files for one in _files(given)]:
        try:
            found = verify(file)
        except (InputError, OSError) as error:
            unreadable.append(str(error))
            found = {"file": file.name, "error": str(error)}
        altered += [str(file)] if found.get("altered") else []
        text = report(found) if "error" not in found else f"{'file':<12} {file.name}\n{'error':<12} {found['error']}"
        print(json.dumps(found, ensure_ascii=False) if options.json else f"{text}\n")
    if altered:
        raise AlteredError(f"altered: {', '.join(altered)}")
    if unreadable:
        many = f"{len(unreadable)} files cannot be read: {'; '.join(unreadable)}"
        raise InputError(unreadable[0] if len(unreadable) == 1 else many)


def _files(given: Path) -> list[Path]:
    """A file, or the files of a folder; manifests beside files are verified with them."""
    if not given.is_dir():
        return [] if _beside_another(given) else [given]
    below = (path for path in sorted(given.rglob("*")) if path.is_file())
    return [path for path in below if not path.name.startswith(".") and not _beside_another(path)]


def _beside_another(path: Path) -> bool:
    return path.suffix == ".json" and path.with_suffix("").is_file()
