"""Plans a run: the items with their dependencies, cache keys and order. Loads no model."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from gen import registry
from gen.checkpoints import digest, sha256
from gen.emotion import own
from gen.emotion.spec import EMBEDDING, EmotionCurve
from gen.errors import InputError
from gen.jobs.jobfile import REFERENCE, JobFile, is_reference
from gen.jobs.schema import Task, canonical, curves, with_paths
from gen.notes import collect
from gen.provenance import code


@dataclass(frozen=True)
class Item:
    """One item to render. ``key`` is its content hash, ``name`` its path below the output folder."""

    id: str
    job: str
    task: Task
    name: str
    key: str
    needs: tuple[str, ...]
    checkpoints: tuple[str, ...]
    notes: tuple[str, ...] = ()  # recorded while planning

    @property
    def group(self) -> tuple[str, ...]:
        """Kind and checkpoints: items of equal group share loaded models."""
        return (self.task.kind, *self.checkpoints)


@dataclass(frozen=True)
class Plan:
    """Items in order: each after its dependencies, items of the same model adjacent."""

    items: tuple[Item, ...]
    wanted: frozenset[str]  # ids whose files go to the output folder; the others are dependencies

    def shard(self, part: int, parts: int) -> "Plan":
        """The share ``part`` of 1..``parts``, split by key; together the shares cover every item once."""
        own = (item.id for item in self.items if int(item.key[:16], 16) % parts == part - 1)
        return replace(self, wanted=self.wanted.intersection(own))


def plan_file(path: Path) -> Plan:
    """Reads and checks a whole job file; raises ``InputError`` with file, line and field of the first mistake."""
    own.load()
    file = JobFile(path)
    needs = {id: _references(task) for id, task in file.tasks.items()}
    try:
        order = [*TopologicalSorter(needs).static_order()]
    except CycleError as error:
        ring = error.args[1]
        raise file.error(ring[0], f"this job depends on itself ({' -> '.join(reversed(ring))}).") from None
    items: dict[str, Item] = {}
    for id in order:
        try:
            items[id] = _item(id, file.drafts[id].job, file.tasks[id], file.names[id], items)
        except InputError as error:
            raise file.error(id, str(error)) from None
    return _arranged([items[id] for id in file.tasks])


def plan_tasks(tasks: Mapping[str, Task]) -> Plan:
    """A plan for given tasks: output name -> task."""
    return _arranged([_item(name, name, task, name, {}) for name, task in tasks.items()])


def _references(task: Task) -> tuple[str, ...]:
    """Ids of the items whose outputs a task reads."""
    found: dict[str, None] = {}

    def note(path: Path) -> Path:
        if is_reference(path):
            found[str(path).removeprefix(REFERENCE)] = None
        return path

    with_paths(task, note)
    return tuple(found)


def _item(id: str, job: str, task: Task, name: str, others: Mapping[str, Item]) -> Item:
    """Computes an item and its key; ``others`` holds every item that it depends on."""
    with collect() as notes:
        checkpoints = tuple(registry.get("generator", task.kind).checkpoints(task))
    notes = (*dict.fromkeys((*task.notes, *notes)),)
    facts = [canonical(task, lambda path: _content(path, others)), [digest(c) for c in checkpoints]]
    facts += [*_feelings(task), *notes, code(task.kind)]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return Item(id, job, task, name, key, _references(task), checkpoints, notes)


def _feelings(task: Task) -> list[str]:
    """Hashes of what else affects the task's emotions: the embedding (for emotions from files) and user-defined
    terms."""
    seen: list[EmotionCurve] = []
    curves(task, lambda curve: seen.append(curve) or curve)
    used = {term for curve in seen for key in curve.keyframes for term, _ in key.emotion.mix or ()}
    found = [digest(EMBEDDING)] if any(curve.source for curve in seen) else []
    return found + [digest for name, digest in sorted(own.digests().items()) if name in used]


def _content(path: Path, others: Mapping[str, Item]) -> str:
    """A path's value in a key: the key of the item that writes it, or the file's hash."""
    if is_reference(path):
        return others[str(path).removeprefix(REFERENCE)].key
    try:
        return sha256(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"input file {path} cannot be read ({reason}).") from None


def _arranged(items: Iterable[Item]) -> Plan:
    """Sorts by depth in the graph, then by group, then by given order."""
    by_id = {item.id: item for item in items}
    depth: dict[str, int] = {}
    for id in TopologicalSorter({item.id: item.needs for item in by_id.values()}).static_order():
        depth[id] = 1 + max((depth[need] for need in by_id[id].needs), default=0)
    groups = {group: rank for rank, group in enumerate(dict.fromkeys(item.group for item in by_id.values()))}
    order = sorted(by_id.values(), key=lambda item: (depth[item.id], groups[item.group]))
    return Plan(tuple(order), frozenset(by_id))
