"""Input files by folder and by pattern, tables of fields, and what results are called after them."""

import csv
import glob
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from gen import registry
from gen.errors import InputError
from gen.notes import note

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".heic", ".heif")
SOUNDS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac", ".mp4", ".mov", ".webm")
SCORES = (".mid", ".midi", ".kar")
ENDINGS = {  # of a field's name -> what files it takes
    ("portrait", "background", "image", "picture", "photo", "face"): PICTURES,
    ("source", "audio", "voice", "speech", "recording", "reference", "sound", "line"): SOUNDS,
    ("continue_from", "midi", "score"): SCORES,
    ("music",): (".wav", ".flac", ".mp3", *SCORES),
}
MEDIA = frozenset((*PICTURES, *SOUNDS, *SCORES, ".mkv", ".avi", ".gif", ".aiff", ".wma"))  # names of files, not folders
UNFIT = r'[\\:*?"<>|{}\x00-\x1f\x7f]'  # signs that a file's name may not have on every system


class File(NamedTuple):
    """An input file; ``folder`` is where it lies below the folder that was given, "" at its top."""

    path: Path
    folder: str
    stem: str


class Row(NamedTuple):
    """A line of a table: column -> what stands there, without the empty ones."""

    line: int
    cells: dict[str, str]


def endings(field: str) -> tuple[str, ...]:
    """Which files a field takes, told by its name; () is any."""
    return next((kinds for names, kinds in ENDINGS.items() if field in names), ())


def positional(cls) -> list[str]:
    """The fields of a task class that are given without an option: the files that there is no task without.

    The last of them may be given several times over, for a task each.
    """
    return [name for name, field in cls.model_fields.items() if field.is_required() and field.annotation is Path]


def several(given: str, base: Path = Path()) -> bool:
    """Whether a name stands for any number of files: a folder, or a pattern that is not itself the name of a file."""
    return (base / given).is_dir() or (glob.has_magic(given) and not (base / given).exists())


def files(given: Sequence[str], field: str, base: Path = Path()) -> list[File]:
    """Files as they are, folders as the files in them that ``field`` takes, patterns as what they match; none twice.

    Files of one name get names of their own. Raises ``InputError`` where there is none.
    """
    found: dict[Path, File] = {}
    for name in given:
        for file in _folder(base / name, field) if (base / name).is_dir() else _matching(base, name):
            found.setdefault(file.path.absolute(), file)
    if not found:
        wanted = f" that can be {field} ({' '.join(endings(field))})" if endings(field) else ""
        raise InputError(f"there is no file{wanted} in {', '.join(given)}")
    return _apart([*found.values()])


def _folder(place: Path, field: str) -> list[File]:
    there = [path for path in sorted(place.rglob("*")) if path.is_file()]
    shown = [path for path in there if not any(part.startswith(".") for part in path.relative_to(place).parts)]
    fit = [path for path in shown if not endings(field) or path.suffix.lower() in endings(field)]
    if left := [str(path.relative_to(place)) for path in shown if path not in set(fit)]:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        note(f"{place}: files that cannot be {field} are left out: {', '.join(left[:3])}{more}")
    return [_file(path, place) for path in fit]


def _matching(base: Path, name: str) -> list[File]:
    if not several(name, base):
        return [_file(base / name, (base / name).parent)]
    steps = Path(name).parts
    fixed = next(i for i, step in enumerate(steps) if glob.has_magic(step))
    top = base.joinpath(*steps[:fixed])
    found = (Path(path) for path in sorted(glob.glob(str(base / name), recursive=True)))
    return [_file(path, top) for path in found if path.is_file()]


def _file(path: Path, top: Path) -> File:
    folder = path.parent.relative_to(top).as_posix()
    return File(path, "" if folder == "." else folder, path.stem)


def _apart(found: list[File]) -> list[File]:
    """Files that would give results of one name, with their endings in their names, or else with the folders that tell
    them apart."""
    twins: dict[str, list[int]] = defaultdict(list)
    for at, file in enumerate(found):
        twins[f"{file.folder}/{file.stem}".casefold()].append(at)
    for places in (places for places in twins.values() if len(places) > 1):
        same = [found[at] for at in places]
        if len({file.path.suffix.lower() for file in same}) == len(same):
            new = [file._replace(stem=f"{file.stem}-{file.path.suffix[1:]}") for file in same]
        else:
            top = os.path.commonpath([file.path.absolute().parent for file in same])
            new = [_file(file.path.absolute(), Path(top)) for file in same]
            if len({(file.folder, file.stem) for file in new}) < len(new):
                new = [file._replace(stem=f"{file.stem}-{file.path.suffix[1:]}") for file in new]
        names = ", ".join(f"{file.folder}/{file.stem}".lstrip("/") for file in new)
        note(f"several inputs are called {same[0].stem}: their results are called after {names}")
        for at, file in zip(places, new):
            found[at] = file
    return found


# ---------------------------------------------------------------- tables


def table(path: Path) -> tuple[list[str], list[Row]]:
    """The columns and the rows of a CSV file (separated by commas, semicolons or tabs, UTF-8); empty lines are none.

    Raises ``InputError`` with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}:1: this is not UTF-8: save the table as CSV in UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    head = text.split("\n", 1)[0]
    reader = csv.reader(text.splitlines(keepends=True), delimiter=max(",;\t", key=head.count), strict=True)
    rows: list[Row] = []
    columns: list[str] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not columns:
                columns = cells
                if not all(columns) or len(set(columns)) < len(columns):
                    raise InputError(f"{path}:1: the first line names the columns: give each its own name.")
            elif len(cells) > len(columns):
                hint = "put quotes around a cell with commas"
                raise InputError(f"{path}:{reader.line_num}: {len(cells)} cells in {len(columns)} columns: {hint}.")
            elif any(cells):
                rows.append(Row(reader.line_num, {name: cell for name, cell in zip(columns, cells) if cell}))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: this is not CSV ({error}).") from None
    if not rows:
        raise InputError(f"{path}:1: there is no row below the names of the columns.")
    return columns, rows


# ---------------------------------------------------------------- names


def ended(name: str | Path, kind: str) -> bool:
    """Whether a result's name has an ending, of those that the generator of ``kind`` writes.

    Raises ``InputError`` for the ending of any other file, which would not be what it says.
    """
    from gen.jobs.formats import formats

    path, may = Path(name), [f".{one}" for one in formats(kind)]
    ending, written = path.suffix.lower(), getattr(registry.get("generator", kind), "endings", MEDIA)
    written = tuple(dict.fromkeys((*written, *may)))
    if ending in MEDIA and ending not in written:
        wanted = " or ".join(f"{path.stem}{one}" for one in written)
        raise InputError(f"{kind} is not written as {ending}: call it {wanted}, or leave the ending out")
    return ending in written


def slug(value: str | int | float) -> str:
    """A value as part of a file name: ``happy 0.7 + sad 0.3`` -> ``happy-0.7+sad-0.3``."""
    return re.sub(r"[^\w.+=-]+", "-", re.sub(r"\s*\+\s*", "+", str(value)))


def named(template: str, value: Callable[[str], object], folder: str = "") -> str:
    """The output name that a template gives with its ``{field}`` filled in; it never leaves the output folder.

    A ``{stem}`` stays as the file is called, and the folder that the file lies in goes before the part that it is in.
    Raises ``InputError``.
    """

    def fill(match: re.Match) -> str:
        found = value(match[1])
        if not isinstance(found, str | int | float):
            raise InputError(f"{match[0]} is not a field with a plain value.")
        if match[1] != "stem":
            return slug(found)
        if fit := re.search(UNFIT, found):
            note(f"{found!r} has signs that not every system allows in a name: a - stands for them in the result's")
        return re.sub(UNFIT, "-", found) if fit else found

    steps = []
    for step in template.split("/"):
        steps += [re.sub(UNFIT, "-", one) for one in folder.split("/") if one] if "{stem}" in step else []
        filled = re.sub(r"\{([^{}]*)\}", fill, step)
        steps.append(filled if "{stem}" in step else filled.strip("- "))
    for step in steps:
        if not re.fullmatch(r"(?!\.)[^\\:*?\"<>|{}/]{1,200}", step) or not step.isprintable():
            hint = "use letters, digits and signs that file names may have, and stay in the output folder"
            raise InputError(f"{hint}, unlike {step[:60]!r}.")
    return "/".join(steps)
