"""Renders a file again from its manifest: reads the task, finds its inputs by hash, lists what has changed."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen import media, registry
from gen.checkpoints import digest, sha256
from gen.emotion.spec import Plain
from gen.errors import InputError
from gen.jobs.inputs import MEDIA
from gen.jobs.schema import Location, Task, parse_task
from gen.marks.verify import manifest_of
from gen.provenance import code, identified

MAX_FILES = 20_000  # files hashed at most in the search for inputs
READ = MEDIA | {".txt", ".npz", ".json", ".csv", ".srt"}  # extensions of possible input files


class Made(NamedTuple):
    """The manifest of a rendered file and the task to render it again."""

    manifest: dict[str, Any]
    task: Task


def read(path: Path, places: Sequence[Path]) -> Made:
    """Reads the task of a rendered file and searches the folders ``places`` (recursively) for its input files.

    Raises ``InputError`` if the file has no manifest or an input is not found.
    """
    facts = manifest_of(path)
    if facts is None or not isinstance(facts.get("task"), dict):
        raise InputError(f"{path} has no Affekt manifest, embedded or beside it: give a file that Affekt rendered")
    wanted: dict[str, str] = {}
    _inputs(facts["task"], (), wanted)
    found = _found({*wanted.values()}, places)
    for where, one in wanted.items():
        if one not in found:
            lost = f"its {where}, a file whose sha256 begins with {one[:12]}, is not in {', '.join(map(str, places))}"
            raise InputError(f"{lost}: give the folder that has it with --inputs")
    return Made(facts, parse_task(_restored(facts["task"], found)).noting(facts.get("notes", ())))


def changes(made: Made, device: str) -> list[str]:
    """Lists the differences between the manifest and the present state; ``device`` is the device type used now."""
    facts, found = made.manifest, list[str]()
    names = {identified(name): name for name in registry.get("generator", made.task.kind).checkpoints(made.task)}
    for name, was in facts.get("checkpoints", {}).items():
        if name not in names:
            found.append(f"the weights {name} are no longer used")
        elif digest(names[name]) != was:
            found.append(f"the weights {name} have changed")
    found += [f"the weights {name} were not used then" for name in names if name not in facts.get("checkpoints", {})]
    if facts.get("code") != code(made.task.kind):
        found.append("the program's code has changed")
    if facts.get("device") != device:
        found.append(f"it was rendered on {facts.get('device')}, now on {device}")
    return found


def same_content(one: Path, other: Path) -> bool:
    """True if two files have equal manifests and bit-equal pictures and sound; their signatures always differ."""
    if manifest_of(one) != manifest_of(other):
        return False
    end = one.suffix.lower()
    if end in media.VIDEO:
        pairs = zip(media.read_video(one)[0], media.read_video(other)[0], strict=True)
        if not all(np.array_equal(a, b) for a, b in pairs):
            return False
    if end in (*media.VIDEO, *media.SOUND):
        try:
            (a, rate), (b, other_rate) = (media.read_audio(path, mono=False) for path in (one, other))
        except InputError:  # a film without sound
            return end in media.VIDEO
        return rate == other_rate and np.array_equal(a, b)
    return False


def _inputs(value: Plain, where: Location, found: dict[str, str]) -> None:
    """Collects the hashes of input files: dotted position in the task -> hash."""
    if isinstance(value, dict):
        if set(value) == {"sha256"}:
            found[".".join(map(str, where))] = value["sha256"]
        for name, item in value.items():
            _inputs(item, (*where, name), found)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            _inputs(item, (*where, at), found)


def _restored(value: Plain, found: dict[str, Path]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"sha256"}:
            return str(found[value["sha256"]])
        return {name: _restored(item, found) for name, item in value.items()}
    return [_restored(item, found) for item in value] if isinstance(value, list) else value


def _found(wanted: set[str], places: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for looked, path in enumerate(_files(places) if wanted else ()):
        if len(found) == len(wanted) or looked > MAX_FILES:
            break
        try:
            one = sha256(path)
        except OSError:
            continue
        if one in wanted:
            found.setdefault(one, path.absolute())
    return found


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        for folder, below, names in os.walk(place):
            below[:] = sorted(name for name in below if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if Path(name).suffix.lower() in READ)
