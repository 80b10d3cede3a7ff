"""What made a file: a manifest inside the file's own metadata and next to it. Nothing volatile, so bytes repeat."""

import hashlib
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import gen
from gen import registry
from gen.checkpoints import digest, folder, roots, sha256
from gen.jobs.schema import Task, canonical
from gen.marks.digest import NONE


def manifest(task: Task, seed: int, device: str, checkpoints: Sequence[str], notes: Sequence[str] = ()) -> dict:
    """The facts about one result; input files by digest alone, since a name may be private and changes nothing.

    ``device`` is the kind of device ("cpu", "cuda"): results repeat on the same kind. ``consent`` is part of the task;
    one with a true ``label`` has it burned into its pictures (:mod:`gen.marks`). ``notes`` is kept as it is: a list
    that fills while a generator renders has in each file what was noted until that file was written.
    """
    facts = {
        "ai_generated": True,
        "affekt": gen.__version__,
        "task": json.loads(canonical(task, lambda path: {"sha256": sha256(path)})),
        "seed": seed,
        "device": device,
        "code": code(task.kind),
        "checkpoints": {identified(name): digest(name) for name in checkpoints},
        "notes": notes if isinstance(notes, list) else list(notes),
        "digest": NONE,  # until the file is written
    }
    return facts | ({"label": True} if getattr(task, "label", False) else {})


def identified(name: str) -> str:
    """What a manifest calls weights: the name of known ones; those of any other folder get their digest too, since many
    trainings end in a folder called checkpoint, and the folders above may be private."""
    place = folder(name).resolve()
    known = place.parent in [root.resolve() for root in roots()]
    return place.name if known else f"{place.name}@{digest(name)[:12]}"


@cache
def code(kind: str) -> str:
    """Digest of the source of what renders ``kind``: of ``gen``, of the generator's package, and of the kinds that it
    makes its parts with. Once per process."""
    found = hashlib.sha256()
    for place in sorted(_places(kind)):
        for path in [place] if place.is_file() else _sources(place):
            found.update(f"{path.relative_to(place.parent)}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


UNUSED = {"__pycache__", "jobs", "training", "evaluation", "evaluate", "cli.py", "ablate.py"}  # change no result


def _places(kind: str) -> set[Path]:
    """The packages, or the single modules, whose code decides what a kind's results are."""
    generator = registry.get("generator", kind)
    package = generator.__module__.rpartition(".")[0]
    module = sys.modules[package or generator.__module__]
    source = getattr(module, "__file__", None)  # a notebook has none
    places = {Path(gen.__file__).parent, *([Path(source).parent if package else Path(source)] if source else [])}
    return places.union(*(_places(part) for part in getattr(generator, "parts", ())))


def _sources(package: Path) -> list[Path]:
    found = (path for path in package.rglob("*") if not UNUSED.intersection(path.relative_to(package).parts))
    return sorted(path for path in found if path.is_file())


def sidecar(path: Path) -> Path:
    """Where a file's manifest lies: ``x.mid`` -> ``x.mid.json``."""
    return path.with_name(f"{path.name}.json")
