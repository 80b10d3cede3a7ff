"""``affekt verify``."""

import json
from collections.abc import Callable
from pathlib import Path

from gen.errors import AlteredError, InputError


def add(commands, path: Callable[[str], Path]) -> None:
    """Add the command to ``commands``; ``path`` turns an argument into one."""
    verify = commands.add_parser("verify", help="read every mark of a file: manifest, credentials, watermark")
    verify.add_argument("files", type=path, nargs="+", metavar="FILE", help="files, or folders for all that is in them")
    verify.add_argument("--json", action="store_true", help="a line of JSON for each file")
    verify.set_defaults(command=_verify)


def _verify(options) -> None:
    """Judge every file; the error tells which were altered, or else which cannot be read."""
    from gen.marks.verify import report, verify

    altered, lost = [], []
    for file in [one for given in options.files for one in _files(given)]:
        try:
            found = verify(file)
        except (InputError, OSError) as error:
            lost.append(str(error))
            found = {"file": file.name, "error": str(error)}
        altered += [str(file)] if found.get("altered") else []
        text = report(found) if "error" not in found else f"{'file':<12} {file.name}\n{'error':<12} {found['error']}"
        print(json.dumps(found, ensure_ascii=False) if options.json else f"{text}\n")
    if altered:
        raise AlteredError(f"not as made: {', '.join(altered)}")
    if lost:
        raise InputError(lost[0] if len(lost) == 1 else f"{len(lost)} files cannot be read: {'; '.join(lost)}")


def _files(given: Path) -> list[Path]:
    """A file, or those of a folder; manifests beside files are judged with them."""
    if not given.is_dir():
        return [] if _beside_another(given) else [given]
    below = (path for path in sorted(given.rglob("*")) if path.is_file())
    return [path for path in below if not path.name.startswith(".") and not _beside_another(path)]


def _beside_another(path: Path) -> bool:
    return path.suffix == ".json" and path.with_suffix("").is_file()
