"""Render a plan: skip what is cached, keep going when an item fails, tell what happens.

A killed run leaves finished items in the cache and nothing else that shows; running again goes on from there.
"""

import glob
import heapq
import json
import logging
import shutil
import time
import traceback
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from gen import registry
from gen.emotion.resolve import resolve
from gen.errors import AffektError, InputError, RenderError
from gen.jobs import executors
from gen.jobs.cache import Cache, default_root, hidden, writable
from gen.jobs.jobfile import REFERENCE, is_reference
from gen.jobs.plan import Item, Plan, plan_tasks
from gen.jobs.schema import Task, curves, with_paths, without_names
from gen.marks import credentials
from gen.notes import collect, note
from gen.provenance import manifest

log = logging.getLogger(__name__)
FULL = 1_000_000  # bytes: a disk with less is why a render failed


@dataclass(frozen=True)
class Event:
    """One thing that happened to an item: ``state`` is progress, note, cached, rendered, skipped, failed or blocked.

    A note's sentence is its ``message``; the event that ends an item has all its ``notes``.
    """

    id: str
    state: str
    name: str
    fraction: float = 1.0
    message: str = ""
    seconds: float = 0.0
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """All that a worker needs to render one item."""

    id: str
    key: str
    task: Task
    checkpoints: tuple[str, ...]
    device: str
    cache: Path
    notes: tuple[str, ...] = ()  # said while it was planned


@dataclass(frozen=True)
class Outcome:
    """What came of an item; plain text for errors, since not every exception survives the way between processes."""

    seconds: float = 0.0
    error: str = ""
    details: str = ""
    notes: tuple[str, ...] = ()


def run(
    plan: Plan,
    out: Path,
    cache: Cache,
    report: Callable[[Event], None],
    *,
    workers: int = 1,
    device: str = "auto",
    on: str = "local",
    clash: str = "own",
) -> dict[str, str]:
    """Render a plan into ``out`` -> the state of each item that was wanted (see :class:`Event`).

    ``clash`` is what happens where ``out`` has a file of a result's name: "skip" leaves it and renders nothing, the
    others are those of :meth:`Cache.publish`.
    """
    for place, option in ((out, "--out"), (cache.root, "--cache")):
        writable(place, option)
    credentials.ready()
    if on == "local" and device not in ("auto", "cpu"):
        executors.pick_device(device)  # better before the first item than in each
    states = _Run(plan, out, cache, report, device, clash).go(partial(executors.make, on, workers), workers)
    return {id: state for id, state in states.items() if id in plan.wanted}


def attempt(work: Work, progress: Callable[[float, str], None]) -> Outcome:
    """Render one item in this process; again, once, after a failure that may pass."""
    start = time.perf_counter()
    with collect(edit=partial(without_names, work.task)) as notes:
        try:
            try:
                _render(work, work.task, progress, notes)
            except (OSError, MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not _out_of_memory(error):
                    raise
                log.warning("%s: %s; trying once more", work.id, error)
                notes.clear()
                _render(work, work.task.smaller() or work.task, progress, notes)
        except Exception as error:  # noqa: BLE001 - whatever a generator raises, the other items go on
            message = str(error) if isinstance(error, AffektError) else f"{type(error).__name__}: {error}"
            if not isinstance(error, AffektError) and shutil.disk_usage(work.cache).free < FULL:
                message = f"the disk of {work.cache} is full: make room, or give another --cache"
            return Outcome(time.perf_counter() - start, message, traceback.format_exc(), tuple(notes))
    return Outcome(time.perf_counter() - start, notes=tuple(notes))


def files_of(task: Task, device: str = "auto", root: Path | None = None) -> list[Path]:
    """The files of one task, from the cache in ``root`` (the usual one) or rendered into it now.

    Raises RenderError where that fails.
    """
    item, cache = plan_tasks({task.kind: task}).items[0], Cache(root or default_root())
    if item.key not in cache:
        work = Work(item.id, item.key, item.task, item.checkpoints, device, cache.root, tuple(item.notes))
        outcome = attempt(work, silent)
        if outcome.error:
            raise RenderError(outcome.error)
    return cache.files(item.key)


def silent(fraction: float, message: str) -> None:
    """The progress of an item in another process is not followed."""


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether it is PyTorch's ``OutOfMemoryError``, told by name so that plain generators need no PyTorch."""
    return type(error).__name__ == "OutOfMemoryError"


def _render(work: Work, task: Task, progress: Callable[[float, str], None], notes: list[str]) -> None:
    """Render into the cache; ``notes``, the list that is being collected, goes into the manifests as it fills."""
    for sentence in work.notes:
        note(sentence)
    device = executors.pick_device(work.device)
    generator = _generator(task.kind, work.checkpoints, device)
    facts = manifest(work.task, task.seed, device.split(":")[0], work.checkpoints, notes)
    cache = Cache(work.cache)
    with cache.draft() as draft:
        heard = curves(task, resolve)
        parts = {"make": partial(_made, work)} if getattr(generator, "parts", ()) else {}
        cache.commit(draft, work.key, generator.render(heard, draft, facts, progress, **parts), notes)


def _made(work: Work, task: Task, progress: Callable[[float, str], None]) -> list[Path]:
    """The files of a part that a generator asks for while it renders ``work``: from the cache, or rendered now."""
    item, cache = plan_tasks({work.id: task}).items[0], Cache(work.cache)
    if item.key not in cache:
        part = replace(work, key=item.key, task=task, checkpoints=item.checkpoints, notes=item.notes)
        with collect(edit=partial(without_names, task)) as notes:
            _render(part, task, progress, notes)
    for sentence in cache.notes(item.key):
        note(sentence)
    return cache.files(item.key)


@lru_cache(maxsize=4)
def _generator(kind: str, checkpoints: tuple[str, ...], device: str):
    """The generators loaded last; items of one group come together, and a scene takes turns with its parts'."""
    return registry.get("generator", kind).from_pretrained(*checkpoints, device=device)


class _Run:
    """The state of one run: what each item waits for, what is ready, what has come of it."""

    def __init__(
        self, plan: Plan, out: Path, cache: Cache, report: Callable[[Event], None], device: str, clash: str
    ):  # fmt: skip
        self.out, self.cache, self.report, self.device, self.clash = out, cache, report, device, clash
        self.items = {item.id: item for item in plan.items}
        self.skipped = [id for id in self.items if clash == "skip" and id in plan.wanted and self._there(id)]
        self.wanted = plan.wanted.difference(self.skipped)
        self.rank = {id: place for place, id in enumerate(self.items)}
        self.states: dict[str, str] = {}
        self.waits: dict[str, set[str]] = {}
        self.followers: dict[str, list[str]] = defaultdict(list)
        self.ready: list[tuple[int, str]] = []
        self.suspects: deque[Item] = deque()  # in flight when a worker died: each goes alone once more
        self.accused: set[str] = set()

    def go(self, executor: Callable[[], Executor], workers: int) -> dict[str, str]:
        self.cache.sweep()
        for item in (self.items[id] for id in self.skipped):
            self.report(Event(item.id, "skipped", item.name))
        self._line_up()
        flying: dict[Future, Item] = {}
        pool = None
        while True:
            while len(flying) < (1 if self.suspects else workers) and (item := self._next()):
                pool = pool or executor()
                flying[self._submit(pool, item)] = item
            if not flying:
                break
            if self._land(flying):
                pool.shutdown(wait=False)
                pool = None
        if pool:
            pool.shutdown()
        return self.states | dict.fromkeys(self.skipped, "skipped")

    def _there(self, id: str) -> bool:
        """Whether the output folder has a result of this name."""
        place = self.out / self.items[id].name
        beside = place.parent.glob(f"{glob.escape(place.name)}.*")
        return any(place.glob("*")) or any(path.suffix != ".json" for path in beside)

    def _line_up(self) -> None:
        """Find the items to do: the wanted, and what those of them need that are not cached."""
        todo: dict[str, Item] = {}
        needed = set(self.wanted)
        for item in reversed(self.items.values()):
            if item.id in needed:
                todo[item.id] = item
                needed.update(() if item.key in self.cache else item.needs)
        first: dict[str, str] = {}
        for item in reversed(todo.values()):
            twin = first.setdefault(item.key, item.id)  # equal items wait for the first of them
            self.waits[item.id] = ({*item.needs, twin} & todo.keys()) - {item.id}
            if item.key in self.cache:
                self.waits[item.id] = set()
            for need in self.waits[item.id]:
                self.followers[need].append(item.id)
            if not self.waits[item.id]:
                heapq.heappush(self.ready, (self.rank[item.id], item.id))

    def _next(self) -> Item | None:
        """The next item to render; those that are cached are finished on the way."""
        if self.suspects:
            return self.suspects.popleft()
        while self.ready:
            item = self.items[heapq.heappop(self.ready)[1]]
            if item.key not in self.cache:
                return item
            self._finish(item, "cached")
        return None

    def _submit(self, pool: Executor, item: Item) -> Future:
        def made(path: Path) -> Path:
            if not is_reference(path):
                return path
            return self.cache.files(self.items[str(path).removeprefix(REFERENCE)].key)[0]

        task = with_paths(item.task, made)
        work = Work(item.id, item.key, task, item.checkpoints, self.device, self.cache.root, item.notes)
        progress = partial(self._progress, item) if isinstance(pool, executors.InProcess) else silent
        try:
            return pool.submit(attempt, work, progress)
        except BrokenExecutor as error:  # a worker died while it had nothing to do
            future: Future = Future()
            future.set_exception(error)
            return future

    def _land(self, flying: dict[Future, Item]) -> bool:
        """Settle the items that are done; whether the pool broke, which takes all in flight with it."""
        done, _ = wait(flying, return_when=FIRST_COMPLETED)
        if broken := any(isinstance(future.exception(), BrokenExecutor) for future in done):
            done, _ = wait(flying)
        for future in done:
            item, error = flying.pop(future), future.exception()
            if error is None:
                self._settle(item, future.result())
            elif isinstance(error, BrokenExecutor) and item.id not in self.accused:
                self.accused.add(item.id)
                self.suspects.append(item)
            elif isinstance(error, BrokenExecutor):
                self._fail(item, "its worker died twice; it was killed, or ran out of memory", repr(error))
            else:
                self._fail(item, f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))
        return broken

    def _settle(self, item: Item, outcome: Outcome) -> None:
        if outcome.error:
            self._note(item, outcome.notes)
            self._fail(item, outcome.error, outcome.details, outcome.seconds)
        else:
            self._finish(item, "rendered", outcome.seconds)

    def _finish(self, item: Item, state: str, seconds: float = 0.0) -> None:
        files: list[Path] = []
        notes = self.cache.notes(item.key)
        self._note(item, notes)
        try:
            if item.id in self.wanted:
                with collect() as said:
                    files = self.cache.publish(item.key, self.out, item.name, self.clash)
                self._note(item, said)
                self._error_file(item).unlink(missing_ok=True)
            self.states[item.id] = state
            self.report(Event(item.id, state, item.name, seconds=seconds, files=tuple(files), notes=notes))
        except InputError as error:  # its name is taken; what needs it finds it in the cache
            self._lose(item, str(error), "", seconds, "failed")
        for id in self.followers[item.id]:
            self.waits[id].discard(item.id)
            if not self.waits[id] and id not in self.states:
                heapq.heappush(self.ready, (self.rank[id], id))

    def _fail(self, item: Item, message: str, details: str = "", seconds: float = 0.0) -> None:
        """Let the items know that wait for this one: an equal twin fails as it does, what needs either is blocked."""
        lost = deque([(item, message, details, seconds, "failed")])
        while lost:
            item, message, details, seconds, state = lost.popleft()
            if item.id in self.states:
                continue
            self._lose(item, message, details, seconds, state)
            for other in (self.items[id] for id in self.followers[item.id]):
                if item.id in other.needs:
                    lost.append((other, f"needs {item.id}, which failed", "", 0.0, "blocked"))
                else:
                    lost.append((other, message, details, 0.0, state))

    def _lose(self, item: Item, message: str, details: str, seconds: float, state: str) -> None:
        """Write ``<name>.error.json``."""
        path = self._error_file(item)
        facts = {"id": item.id, "kind": item.task.kind, "state": state, "error": message, "details": details}
        with hidden(path) as draft:
            draft.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        self.states[item.id] = state
        self.report(Event(item.id, state, item.name, message=message, seconds=seconds, files=(path,)))

    def _error_file(self, item: Item) -> Path:
        return self.out / f"{item.name}.error.json"

    def _note(self, item: Item, notes: Sequence[str]) -> None:
        for sentence in notes:
            self.report(Event(item.id, "note", item.name, message=sentence))

    def _progress(self, item: Item, fraction: float, message: str) -> None:
        self.report(Event(item.id, "progress", item.name, fraction, message))
