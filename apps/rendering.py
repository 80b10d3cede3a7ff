"""Rendering for the browser: the same plan, cache and runner as everywhere, with progress, an estimate and a stop."""

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
from gradio.utils import get_upload_folder

from apps.form import spelled
from gen import checkpoints
from gen.errors import AffektError, RenderError
from gen.jobs.cache import Cache, default_root
from gen.jobs.inputs import slug
from gen.jobs.plan import plan_tasks
from gen.jobs.run import Event, run
from gen.jobs.schema import Task
from gen.provenance import sidecar

KEPT = 100  # sessions whose stop is remembered
PICTURE = (".png", ".jpg", ".gif")  # that a page shows


class Stopped(BaseException):
    """Someone pressed Stop; like Ctrl-C it passes through the runner, which leaves nothing half-written."""


class Result(NamedTuple):
    """What a task came to: its files, the manifest of the first, and a sentence."""

    files: list[Path]
    manifest: dict
    summary: str

    def first(self, endings: tuple[str, ...]) -> str | None:
        return next((str(path) for path in self.files if path.suffix in endings), None)


class Renderer:
    """Renders tasks for sessions of the browser and for assistants, one at a time."""

    def __init__(self, device: str = "auto"):
        self.device = device
        self.stops: dict[str, threading.Event] = defaultdict(threading.Event)
        self.turn = threading.Lock()

    def halt(self, session: str) -> None:
        """Stop what a session renders."""
        self.stops[session].set()

    def stop(self, request: gr.Request) -> str:
        """Stop what this session renders."""
        self.halt(request.session_hash)
        return "Stopped. What is finished is kept; nothing half-written is left."

    def render(self, task: Task, session: str, tell: Callable[[float, str], None]) -> Result:
        """Render a task; raises an error that the user can mend, or :class:`Stopped`."""
        stop, start = self.stops[session], time.monotonic()
        stop.clear()
        for old in list(self.stops)[:-KEPT]:
            del self.stops[old]
        failed: list[str] = []
        found: list[Event] = []

        def report(event: Event) -> None:
            if event.state == "progress":
                if stop.is_set():
                    raise Stopped
                tell(event.fraction, f"{event.message}{left(time.monotonic() - start, event.fraction)}")
            elif event.state in ("failed", "blocked"):
                failed.append(event.message)
            elif event.state != "note":  # the event that ends an item has its notes
                found.append(event)

        with self.turn:
            if stop.is_set():
                raise Stopped
            tell(0.0, "loading the model")
            out = uploads() / "results" / uuid4().hex
            run(plan_tasks({name(task): task}), out, Cache(default_root()), report, device=self.device)
        if failed:
            raise RenderError(failed[0])
        return result(task, found[0], time.monotonic() - start)


def uploads() -> Path:
    """The folder that files are served from."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def left(seconds: float, fraction: float) -> str:
    """How long it will go on, once that can be told."""
    if fraction < 0.05 or fraction >= 1:
        return ""
    rest = seconds / fraction - seconds
    return f", about {rest:.0f} s left" if rest < 90 else f", about {rest / 60:.0f} min left"


def name(task: Task) -> str:
    """What the files of a task are called."""
    said = slug(spelled(task.emotion)) if getattr(task, "emotion", None) else ""
    return re.sub(r"-+", "-", f"{task.kind}-{said}"[:60]).strip("-.") + f"-{task.seed}"


def result(task: Task, event: Event, seconds: float) -> Result:
    """The files that an item left, without the manifests beside them."""
    notes = {sidecar(path) for path in event.files}
    files = [path for path in event.files if path not in notes]
    note = sidecar(files[0])
    facts = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    how = "from the cache" if event.state == "cached" else f"made in {seconds:.0f} s on {facts.get('device', '?')}"
    models = ", ".join(facts.get("checkpoints", {}))
    count = f"{len(files)} file{'s' * (len(files) > 1)}"
    said = "".join(f"\n{without_folders(sentence)}" for sentence in event.notes)
    return Result(files, facts, f"{count}, {how}. Seed {task.seed}. Model: {models}. {licences(facts)}{said}")


def licences(facts: dict) -> str:
    """What the licences of a result's weights forbid."""
    index = checkpoints.index()
    bound = [name for name in facts.get("checkpoints", {}) if index.get(name, {}).get("non_commercial")]
    return f"Not for commercial use (weights of {', '.join(bound)})." if bound else ""


@contextmanager
def said() -> Iterator[None]:
    """A user's mistake becomes a message in the page, in which files have their names and no folders."""
    try:
        yield
    except Stopped:
        raise gr.Error("Stopped. Nothing half-written is left; render again to start anew.", title="Stopped") from None
    except AffektError as error:
        raise gr.Error(without_folders(str(error)), title="This cannot be rendered", duration=20) from None


def without_folders(message: str) -> str:
    """A message with the folders of this machine taken out of its paths."""
    return re.sub(r"(?<![\w.])/(?:[^\s/:;,'\"()]+/)+(?=[^\s/])", "", message)
