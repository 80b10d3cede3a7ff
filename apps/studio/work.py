"""Rendering for the browser: the same plan, cache and runner as everywhere, in a queue, with progress and a stop."""

import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import gradio as gr

from apps.studio.files import uploads
from apps.studio.form import spelled
from apps.studio.words import STOPPED, plain
from gen import checkpoints
from gen.errors import AffektError, RenderError
from gen.jobs.cache import Cache, default_root
from gen.jobs.inputs import slug
from gen.jobs.plan import plan_tasks
from gen.jobs.run import Event, run
from gen.jobs.schema import Task
from gen.provenance import sidecar

PICTURE = (".png", ".jpg", ".gif")  # that a page shows
ESTIMATED = 0.2  # share that has to be done before a time is told
Tell = Callable[[float, str], None]


class Stopped(BaseException):
    """Stop was pressed; passes through the runner like Ctrl-C, without leaving partial files."""


class Result(NamedTuple):
    """The result of a task: its files, the manifest of the first, a sentence, and further facts."""

    files: list[Path]
    manifest: dict
    summary: str
    details: str

    def first(self, endings: tuple[str, ...]) -> str | None:
        return next((str(path) for path in self.files if path.suffix in endings), None)


class Steady:
    """Passes progress on; it never goes back, and a time is told once a fifth is done, which does not grow."""

    def __init__(self, tell: Tell):
        self.tell, self.share, self.rest, self.start = tell, 0.0, float("inf"), 0.0

    def __call__(self, share: float, text: str) -> None:
        now = time.monotonic()
        self.start = self.start or now
        self.share = max(self.share, share)
        left = ""
        if ESTIMATED <= self.share < 1:
            self.rest = min(self.rest, (now - self.start) * (1 / self.share - 1))
            left = f", about {self.rest:.0f} s left" if self.rest < 90 else f", about {self.rest / 60:.0f} min left"
        self.tell(self.share, f"{text}{left}")


class Renderer:
    """Renders tasks for browsers and for assistants, one at a time, first come, first served."""

    def __init__(self, device: str = "auto"):
        self.device = device
        self.line: list[threading.Event] = []  # the stops of those who wait; the first has its turn
        self.stops: dict[str, list[threading.Event]] = defaultdict(list)
        self.jobs: dict[str, Job] = {}  # the last of each browser

    def halt(self, session: str) -> None:
        """Stop what a session renders and waits for."""
        for stop in [*self.stops[session]]:
            stop.set()

    def stop(self, request: gr.Request) -> str:
        """Stop what this session renders."""
        self.halt(request.session_hash)
        return STOPPED

    def render(self, task: Task, session: str, tell: Tell, out: Path | None = None) -> Result:
        """Renders a task; raises an error that the user can fix, or :class:`Stopped`."""
        stop = threading.Event()
        self.stops[session].append(stop)
        self.line.append(stop)
        try:
            while self.line[0] is not stop:
                if stop.is_set():
                    raise Stopped
                before = self.line.index(stop)
                tell(0.0, f"waiting for {before} other rendering{'s' * (before > 1)}")
                time.sleep(0.1)
            return self._rendered(task, stop, Steady(tell), out or uploads() / "results" / uuid4().hex)
        finally:
            self.line.remove(stop)
            self.stops[session].remove(stop)

    def _rendered(self, task: Task, stop: threading.Event, tell: Steady, out: Path) -> Result:
        start, failed, found = time.monotonic(), [], []

        def report(event: Event) -> None:
            if event.state == "progress":
                if stop.is_set():
                    raise Stopped
                tell(event.fraction, event.message)
            elif event.state in ("failed", "blocked"):
                failed.append(event.message)
            elif event.state != "note":  # the event that ends an item has its notes
                found.append(event)

        if stop.is_set():
            raise Stopped
        tell.tell(0.0, "getting ready")
        run(plan_tasks({name(task): task}), out, Cache(default_root()), report, device=self.device, clash="number")
        if failed:
            raise RenderError(failed[0])
        return result(task, found[0], time.monotonic() - start)

    def begin(self, task: Task, owner: str, out: Path, done: Callable[[Result], None]) -> "Job":
        """Render in the background, for a browser that may be closed and opened again meanwhile."""
        self.jobs[owner] = job = Job()
        threading.Thread(target=job.work, args=(self, task, owner, out, done), daemon=True).start()
        return job


class Job:
    """A rendering in the background: how far it is, and what came of it."""

    def __init__(self):
        self.share, self.text, self.error, self.ended = 0.0, "getting ready", "", False

    def tell(self, share: float, text: str) -> None:
        self.share, self.text = share, text

    def work(self, renderer: Renderer, task: Task, owner: str, out: Path, done: Callable[[Result], None]) -> None:
        self.error = "Something went wrong: see what the terminal says."  # unless it ends in one of the known ways
        try:
            done(renderer.render(task, owner, self.tell, out))
            self.error = ""
        except Stopped:
            self.error = STOPPED
        except AffektError as error:
            self.error = plain(str(error))
        finally:
            self.ended = True

    def follow(self) -> Iterator[tuple[float, str]]:
        """Its progress whenever that changes, until it has ended."""
        last = None
        while not self.ended:
            if (now := (self.share, self.text)) != last:
                yield (last := now)
            time.sleep(0.05)


def name(task: Task) -> str:
    """The names of a task's files: from its picture or recording, and its emotion."""
    given = next((path for field in ("portrait", "source", "midi") if (path := getattr(task, field, None))), None)
    said = slug(spelled(task.emotion)) if getattr(task, "emotion", None) else ""
    parts = [slug(given.stem)[:60] if given else "piano" if task.kind == "music" else task.kind, said[:60]]
    parts += ["scene"] if task.kind == "scene" else [str(task.seed)] if given is None else []
    return re.sub(r"-+", "-", "-".join(part for part in parts if part)).strip("-.")


def result(task: Task, event: Event, seconds: float) -> Result:
    """The files that an item left, without the manifests beside them."""
    notes = {sidecar(path) for path in event.files}
    files = [path for path in event.files if path not in notes]
    note = sidecar(files[0])
    facts = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    how = "Ready, from the cache." if event.state == "cached" else f"Done in {seconds:.0f} s."
    bound = licences(facts)
    summary = f"{how} Non-commercial use only." if bound else how
    models = ", ".join(facts.get("checkpoints", {})) or "none"
    details = [plain(sentence) for sentence in event.notes]
    details += [
        f"{len(files)} file{'s' * (len(files) > 1)}. Seed {task.seed}. Model: {models}. "
        f"Made on {facts.get('device', '?')}."
    ]
    details += [f"Not for commercial use: weights of {', '.join(bound)}."] if bound else []
    return Result(files, facts, summary, "\n".join(details))


def licences(facts: dict) -> list[str]:
    """The weights of a result whose licences forbid commercial use."""
    index = checkpoints.index()
    return [name for name in facts.get("checkpoints", {}) if index.get(name, {}).get("non_commercial")]


@contextmanager
def said() -> Iterator[None]:
    """A user's mistake becomes a message in the page, in which files have their names and no folders."""
    try:
        yield
    except Stopped:
        raise gr.Error(STOPPED, title="Stopped") from None
    except AffektError as error:
        raise gr.Error(plain(str(error)), title="This cannot be rendered", duration=20) from None
