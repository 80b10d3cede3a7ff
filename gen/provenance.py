"""What made a file: a manifest inside the file's own metadata and next to it. Nothing volatile, so bytes repeat."""

import json
from collections.abc import Sequence
from pathlib import Path

import gen
from gen.checkpoints import digest, sha256
from gen.jobs.schema import Task, canonical


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
        "checkpoints": {Path(name).name: digest(name) for name in checkpoints},
        "notes": notes if isinstance(notes, list) else list(notes),
    }
    return facts | ({"label": True} if getattr(task, "label", False) else {})


def sidecar(path: Path) -> Path:
    """Where a file's manifest lies: ``x.mid`` -> ``x.mid.json``."""
    return path.with_name(f"{path.name}.json")
