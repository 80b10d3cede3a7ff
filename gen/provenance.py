"""The manifest of a file: how it was made, embedded in its metadata and beside it. Reproducible: no volatile values."""

import hashlib
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gen
from gen import registry
from gen.checkpoints import digest, folder, roots, sha256
from gen.jobs.schema import Task, canonical
from gen.marks.digest import NONE


def manifest(
    task: Task, seed: int, device: str, checkpoints: Sequence[str], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The manifest of a result; input files are identified by hash only, since names may be private.

    ``device`` is the device type ("cpu", "cuda"): results are reproducible on the same type. ``consent`` is part of the
    task; a true ``label`` adds the visible label to pictures (:mod:`gen.marks`). The list ``notes`` is stored by
    reference: it may grow while a generator renders, and each file gets the notes recorded until it is written.
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
    """A checkpoint's name in manifests: known names as they are; other folders with their hash, since many trainings
    end in a folder called checkpoint and parent folders may be private."""
    place = folder(name).resolve()
    known = place.parent in [root.resolve() for root in roots()]
    return place.name if known else f"{place.name}@{digest(name)[:12]}"


@cache
def code(kind: str) -> str:
    """Hash of the source code that renders ``kind``: ``gen``, the generator's package, and those of its parts. Cached
    per process."""
    found = hashlib.sha256()
    for place in sorted(_places(kind)):
        for path in [place] if place.is_file() else _sources(place):
            found.update(f"{path.relative_to(place.parent)}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


UNUSED = {"__pycache__", "jobs", "training", "evaluation", "evaluate", "cli.py", "ablate.py"}  # do not affect results


def _places(kind: str) -> set[Path]:
    """The packages or modules whose code affects a kind's results."""
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
    """The path of a file's manifest: ``x.mid`` -> ``x.mid.json``."""
    return path.with_name(f"{path.name}.json")
