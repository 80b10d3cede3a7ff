"""Finds input files by folder and glob pattern, reads CSV tables of fields, and names the results."""

import csv
import glob
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gen import registry
from gen.errors import InputError
from gen.notes import note

if TYPE_CHECKING:
    from gen.jobs.schema import Task

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".heic", ".heif")
SOUNDS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac", ".mp4", ".mov", ".webm")
SCORES = (".mid", ".midi", ".kar")
EXTENSIONS = {  # field name -> extensions of its files
    ("portrait", "background", "image", "picture", "photo", "face"): PICTURES,
    ("source", "audio", "voice", "speech", "recording", "reference", "sound", "line"): SOUNDS,
    (
        "continue_from",
        "midi",
        "score",
        "melody",
        "theme",
        "take_rhythm",
        "take_pitch",
        "take_duration",
        "take_velocity",
        "take_tempo",
        "take_chord",
    ): SCORES,
    ("font",): (".sf2", ".sf3"),
    ("music",): (".wav", ".flac", ".mp3", *SCORES),
}
MEDIA = frozenset((*PICTURES, *SOUNDS, *SCORES, ".mkv", ".avi", ".gif", ".aiff", ".wma"))  # extensions of media files
INVALID = r'[\\:*?"<>|{}\x00-\x1f\x7f]'  # characters not allowed in file names on every system


class File(NamedTuple):
    """An input file; ``folder`` is its path below the given folder, "" at the top."""

    path: Path
    folder: str
    stem: str


class Row(NamedTuple):
    """A row of a table: column -> text, without empty cells."""

    table: Path
    line: int
    cells: dict[str, str]


def extensions(field: str) -> tuple[str, ...]:
    """The file extensions that a field accepts, from its name; () means any."""
    return next((kinds for names, kinds in EXTENSIONS.items() if field in names), ())


def positional(cls: "type[Task]") -> list[str]:
    """The positional fields of a task class: its required files.

    The last of them may be repeated; each value makes a task.
    """
    return [name for name, field in cls.model_fields.items() if field.is_required() and field.annotation is Path]


def several(given: str, base: Path = Path()) -> bool:
    """True if a name stands for several files: a folder, or a glob pattern that is not an existing file's name."""
    return (base / given).is_dir() or (glob.has_magic(given) and not (base / given).exists())


def files(given: Sequence[str], field: str, base: Path = Path()) -> list[File]:
    """Expands names: files as given, folders to the files that ``field`` accepts, patterns to their matches.

    Duplicates are dropped; files of equal names get distinct result names. Raises ``InputError`` if none is found.
    """
    found: dict[Path, File] = {}
    for name in given:
        for file in _folder(base / name, field) if (base / name).is_dir() else _matching(base, name):
            found.setdefault(file.path.absolute(), file)
    if not found:
        wanted = f" for {field} ({' '.join(extensions(field))})" if extensions(field) else ""
        raise InputError(f"no file{wanted} found in {', '.join(given)}")
    return _disambiguated([*found.values()])


def _folder(place: Path, field: str) -> list[File]:
    there = [path for path in sorted(place.rglob("*")) if path.is_file()]
    shown = [path for path in there if not any(part.startswith(".") for part in path.relative_to(place).parts)]
    fit = [path for path in shown if not extensions(field) or path.suffix.lower() in extensions(field)]
    if left := [str(path.relative_to(place)) for path in shown if path not in set(fit)]:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        note(f"{place}: skipped files that cannot be {field}: {', '.join(left[:3])}{more}")
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


def _disambiguated(found: list[File]) -> list[File]:
    """Files whose results would have equal names, renamed with their extensions or else with the folders that
    differ."""
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
        note(f"several inputs are called {same[0].stem}: their results are named after {names}")
        for at, file in zip(places, new):
            found[at] = file
    return found


# ---------------------------------------------------------------- tables


def table(path: Path) -> tuple[list[str], list[Row]]:
    """The columns and rows of a CSV file (UTF-8; commas, semicolons or tabs); empty lines are skipped.

    Raises ``InputError`` with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}:1: not UTF-8: save the table as CSV in UTF-8.") from None
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
                    raise InputError(f"{path}:1: give each column a name of its own in the first line.")
            elif len(cells) > len(columns):
                hint = "put quotes around a cell with commas"
                raise InputError(f"{path}:{reader.line_num}: {len(cells)} cells for {len(columns)} columns: {hint}.")
            elif any(cells):
                rows.append(Row(path, reader.line_num, {name: cell for name, cell in zip(columns, cells) if cell}))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: not valid CSV ({error}).") from None
    if not rows:
        raise InputError(f"{path}:1: the table has no rows below its header.")
    return columns, rows


# ---------------------------------------------------------------- names


def has_extension(name: str | Path, kind: str) -> bool:
    """True if a result's name has an extension that the generator of ``kind`` writes.

    Raises ``InputError`` for the extension of any other file type.
    """
    from gen.jobs.formats import formats

    path, may = Path(name), [f".{one}" for one in formats(kind)]
    extension, written = path.suffix.lower(), getattr(registry.get("generator", kind), "endings", MEDIA)
    written = tuple(dict.fromkeys((*written, *may)))
    if extension in MEDIA and extension not in written:
        wanted = " or ".join(f"{path.stem}{one}" for one in written)
        raise InputError(f"{kind} cannot be written as {extension}: use {wanted}, or omit the extension")
    return extension in written


def slug(value: str | int | float) -> str:
    """A value as part of a file name: ``happy 0.7 + sad 0.3`` -> ``happy-0.7+sad-0.3``."""
    return re.sub(r"[^\w.+=-]+", "-", re.sub(r"\s*\+\s*", "+", str(value)))


def named(template: str, value: Callable[[str], object], folder: str = "") -> str:
    """The output name from a template with its ``{field}`` filled in; always below the output folder.

    ``{stem}`` is used unchanged; the folder of the input file precedes the path part that contains it.
    Raises ``InputError``.
    """

    def fill(match: re.Match[str]) -> str:
        found = value(match[1])
        if not isinstance(found, str | int | float):
            raise InputError(f"{match[0]} is not a field with a single value.")
        if match[1] != "stem" or not isinstance(found, str):
            return slug(found)
        if fit := re.search(INVALID, found):
            note(f"{found!r} has characters that are not allowed in file names on every system: replaced by -")
        return re.sub(INVALID, "-", found) if fit else found

    steps: list[str] = []
    for step in template.split("/"):
        steps += [re.sub(INVALID, "-", one) for one in folder.split("/") if one] if "{stem}" in step else []
        filled = re.sub(r"\{([^{}]*)\}", fill, step)
        steps.append(filled if "{stem}" in step else filled.strip("- "))
    for step in steps:
        if not re.fullmatch(r"(?!\.)[^\\:*?\"<>|{}/]{1,200}", step) or not step.isprintable():
            hint = "use characters allowed in file names and stay inside the output folder"
            raise InputError(f"{hint}, not {step[:60]!r}.")
    return "/".join(steps)
