"""Renders a plan: skips cached items, continues when an item fails, reports events.

A killed run leaves only finished items in the cache; the next run resumes from there.
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
from typing import Any

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
FULL = 1_000_000  # bytes: below this, a failure is reported as a full disk


@dataclass(frozen=True)
class Event:
    """An event of an item: ``state`` is progress, note, cached, rendered, skipped, failed or blocked.

    A note's text is its ``message``; the final event of an item has all its ``notes``.
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
    """The input of a worker for one item."""

    id: str
    key: str
    task: Task
    checkpoints: tuple[str, ...]
    device: str
    cache: Path
    notes: tuple[str, ...] = ()  # recorded while planning


@dataclass(frozen=True)
class Outcome:
    """The result of an item; errors are plain text, since not every exception can be pickled."""

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
    """Renders a plan into ``out`` and returns the state of each wanted item (see :class:`Event`).

    ``clash`` decides what happens if a result's name exists in ``out``: "skip" keeps the file and skips the item, the
    others are those of :meth:`Cache.publish`.
    """
    for place, option in ((out, "--out"), (cache.root, "--cache")):
        writable(place, option)
    credentials.ready()
    if on == "local" and device not in ("auto", "cpu"):
        executors.pick_device(device)  # fails before the first item instead of in each
    states = _Run(plan, out, cache, report, device, clash).go(partial(executors.make, on, workers), workers)
    return {id: state for id, state in states.items() if id in plan.wanted}


def attempt(work: Work, progress: Callable[[float, str], None]) -> Outcome:
    """Renders one item in this process and retries once after a transient failure."""
    start = time.perf_counter()
    with collect(edit=partial(without_names, work.task)) as notes:
        try:
            try:
                _render(work, work.task, progress, notes)
            except (OSError, MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not _out_of_memory(error):
                    raise
                log.warning("%s: %s; retrying once", work.id, error)
                notes.clear()
                _render(work, work.task.smaller() or work.task, progress, notes)
        except Exception as error:  # noqa: BLE001 - one item's failure must not stop the others
            message = str(error) if isinstance(error, AffektError) else f"{type(error).__name__}: {error}"
            if not isinstance(error, AffektError) and shutil.disk_usage(work.cache).free < FULL:
                message = f"the disk of {work.cache} is full: free space, or give another --cache"
            return Outcome(time.perf_counter() - start, message, traceback.format_exc(), tuple(notes))
    return Outcome(time.perf_counter() - start, notes=tuple(notes))


def files_of(task: Task, device: str = "auto", root: Path | None = None) -> list[Path]:
    """The files of one task, the main one first, from the cache in ``root`` (default: the usual cache); rendered
    into it if they are missing. Raises RenderError.
    """
    item, cache = plan_tasks({task.kind: task}).items[0], Cache(root or default_root())
    if item.key not in cache:
        credentials.ready()
        work = Work(item.id, item.key, item.task, item.checkpoints, device, cache.root, tuple(item.notes))
        outcome = attempt(work, silent)
        if outcome.error:
            raise RenderError(outcome.error)
    return cache.files(item.key)


def silent(fraction: float, message: str) -> None:
    """Ignores the progress of an item in another process."""


def _out_of_memory(error: RuntimeError) -> bool:
    """True for PyTorch's ``OutOfMemoryError``, checked by name so that plain generators need no PyTorch."""
    return type(error).__name__ == "OutOfMemoryError"


def _render(work: Work, task: Task, progress: Callable[[float, str], None], notes: list[str]) -> None:
    """Renders into the cache; the list ``notes`` is still being collected and goes into the manifests."""
    for sentence in work.notes:
        note(sentence)
    device = executors.pick_device(work.device)
    renders = generator(task.kind, work.checkpoints, device)
    facts = manifest(work.task, task.seed, device.split(":")[0], work.checkpoints, notes)
    cache = Cache(work.cache)
    with cache.draft() as draft:
        heard = curves(task, resolve)
        parts = {"make": partial(_made, work)} if getattr(renders, "parts", ()) else {}
        cache.commit(draft, work.key, renders.render(heard, draft, facts, progress, **parts), notes)


def _made(work: Work, task: Task, progress: Callable[[float, str], None]) -> list[Path]:
    """The files of a part that a generator requests while it renders ``work``: from the cache, or rendered now."""
    item, cache = plan_tasks({work.id: task}).items[0], Cache(work.cache)
    if item.key not in cache:
        part = replace(work, key=item.key, task=task, checkpoints=item.checkpoints, notes=item.notes)
        with collect(edit=partial(without_names, task)) as notes:
            _render(part, task, progress, notes)
    for sentence in cache.notes(item.key):
        note(sentence)
    return cache.files(item.key)


@lru_cache(maxsize=4)
def generator(kind: str, checkpoints: tuple[str, ...], device: str) -> Any:
    """Keeps the last generators loaded; items of one group are adjacent, and a scene alternates with its parts."""
    return registry.get("generator", kind).from_pretrained(*checkpoints, device=device)


class _Run:
    """The state of one run: dependencies, ready items, results."""

    def __init__(self, plan: Plan, out: Path, cache: Cache, report: Callable[[Event], None], device: str, clash: str):
        self.out, self.cache, self.report, self.device, self.clash = out, cache, report, device, clash
        self.items = {item.id: item for item in plan.items}
        self.skipped = [id for id in self.items if clash == "skip" and id in plan.wanted and self._exists(id)]
        self.wanted = plan.wanted.difference(self.skipped)
        self.rank = {id: place for place, id in enumerate(self.items)}
        self.states: dict[str, str] = {}
        self.waits: dict[str, set[str]] = {}
        self.followers: dict[str, list[str]] = defaultdict(list)
        self.ready: list[tuple[int, str]] = []
        self.suspects: deque[Item] = deque()  # running when a worker died: each is retried alone
        self.retried: set[str] = set()

    def go(self, executor: Callable[[], Executor], workers: int) -> dict[str, str]:
        self.cache.sweep()
        for item in (self.items[id] for id in self.skipped):
            self.report(Event(item.id, "skipped", item.name))
        self._schedule()
        running: dict[Future[Outcome], Item] = {}
        pool: Executor | None = None
        while True:
            while len(running) < (1 if self.suspects else workers) and (item := self._next()):
                pool = pool or executor()
                running[self._submit(pool, item)] = item
            if not running:
                break
            if self._collect_done(running) and pool:
                pool.shutdown(wait=False)
                pool = None
        if pool:
            pool.shutdown()
        return self.states | dict.fromkeys(self.skipped, "skipped")

    def _exists(self, id: str) -> bool:
        """True if the output folder has a result of this name."""
        place = self.out / self.items[id].name
        beside = place.parent.glob(f"{glob.escape(place.name)}.*")
        return any(place.glob("*")) or any(path.suffix != ".json" for path in beside)

    def _schedule(self) -> None:
        """Finds the items to do: those wanted, and their dependencies that are not cached."""
        todo: dict[str, Item] = {}
        needed = set(self.wanted)
        for item in reversed(self.items.values()):
            if item.id in needed:
                todo[item.id] = item
                needed.update(() if item.key in self.cache else item.needs)
        first: dict[str, str] = {}
        for item in reversed(todo.values()):
            twin = first.setdefault(item.key, item.id)  # equal items wait for the first one
            self.waits[item.id] = ({*item.needs, twin} & todo.keys()) - {item.id}
            if item.key in self.cache:
                self.waits[item.id] = set()
            for need in self.waits[item.id]:
                self.followers[need].append(item.id)
            if not self.waits[item.id]:
                heapq.heappush(self.ready, (self.rank[item.id], item.id))

    def _next(self) -> Item | None:
        """The next item to render; finishes cached items on the way."""
        if self.suspects:
            return self.suspects.popleft()
        while self.ready:
            item = self.items[heapq.heappop(self.ready)[1]]
            if item.key not in self.cache:
                return item
            self._finish(item, "cached")
        return None

    def _submit(self, pool: Executor, item: Item) -> Future[Outcome]:
        def made(path: Path) -> Path:
            if not is_reference(path):
                return path
            return self.cache.files(self.items[str(path).removeprefix(REFERENCE)].key)[0]

        task = with_paths(item.task, made)
        work = Work(item.id, item.key, task, item.checkpoints, self.device, self.cache.root, item.notes)
        progress = partial(self._progress, item) if isinstance(pool, executors.InProcess) else silent
        try:
            return pool.submit(attempt, work, progress)
        except BrokenExecutor as error:  # an idle worker died
            future = Future[Outcome]()
            future.set_exception(error)
            return future

    def _collect_done(self, running: dict[Future[Outcome], Item]) -> bool:
        """Handles the items that are done; returns True if the pool broke, which fails all running items."""
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        if broken := any(isinstance(future.exception(), BrokenExecutor) for future in done):
            done, _ = wait(running)
        for future in done:
            item, error = running.pop(future), future.exception()
            if error is None:
                self._handle_outcome(item, future.result())
            elif isinstance(error, BrokenExecutor) and item.id not in self.retried:
                self.retried.add(item.id)
                self.suspects.append(item)
            elif isinstance(error, BrokenExecutor):
                self._fail(item, "its worker died twice; it was killed, or ran out of memory", repr(error))
            else:
                self._fail(item, f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))
        return broken

    def _handle_outcome(self, item: Item, outcome: Outcome) -> None:
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
                with collect() as notes_of_copy:
                    files = self.cache.publish(item.key, self.out, item.name, self.clash)
                self._note(item, notes_of_copy)
                self._error_file(item).unlink(missing_ok=True)
            self.states[item.id] = state
            self.report(Event(item.id, state, item.name, seconds=seconds, files=tuple(files), notes=notes))
        except InputError as error:  # its name is taken; dependent items use the cache
            self._record_failure(item, str(error), "", seconds, "failed")
        for id in self.followers[item.id]:
            self.waits[id].discard(item.id)
            if not self.waits[id] and id not in self.states:
                heapq.heappush(self.ready, (self.rank[id], id))

    def _fail(self, item: Item, message: str, details: str = "", seconds: float = 0.0) -> None:
        """Fails an item, its twins (with the same message) and the items that depend on either (as blocked)."""
        lost = deque([(item, message, details, seconds, "failed")])
        while lost:
            item, message, details, seconds, state = lost.popleft()
            if item.id in self.states:
                continue
            self._record_failure(item, message, details, seconds, state)
            for other in (self.items[id] for id in self.followers[item.id]):
                if item.id in other.needs:
                    lost.append((other, f"needs {item.id}, which failed", "", 0.0, "blocked"))
                else:
                    lost.append((other, message, details, 0.0, state))

    def _record_failure(self, item: Item, message: str, details: str, seconds: float, state: str) -> None:
        """Writes ``<name>.error.json`` and reports the failure."""
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
