"""Output of a run: a progress bar with the finished files or JSON lines, both context managers; and its report."""

import csv
import json
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from gen.jobs.cache import hidden
from gen.jobs.plan import Plan
from gen.jobs.run import Event
from gen.provenance import sidecar

NAMES = {".mid": "score", ".wav": "sound", ".flac": "sound", ".mp4": "video", ".png": "picture", ".json": "data"}

COLUMNS = ("index", "id", "kind", "name", "state", "seconds", "seed", "emotion", "files", "notes", "error")


@contextmanager
def json_lines(total: int) -> Generator[Callable[[Event], None]]:
    """Prints each event as one line of JSON on stdout; redirects the output of libraries to stderr."""
    lines = sys.stdout

    def show(event: Event) -> None:
        facts = {"event": event.state, "id": event.id, "name": event.name, "fraction": round(event.fraction, 3)}
        facts |= {"message": event.message, "seconds": round(event.seconds, 3), "files": list(map(str, event.files))}
        facts |= {"notes": event.notes} if event.state != "progress" else {}
        lines.write(json.dumps(facts) + "\n")
        lines.flush()

    with redirect_stdout(sys.stderr):
        yield show


@contextmanager
def bar(total: int) -> Generator[Callable[[Event], None]]:
    """Shows a progress bar on stderr if it is a terminal, each finished file on stdout, and each distinct note once on
    stderr."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    form = "{percentage:3.0f}% |{bar:30}| {desc}"
    with logging_redirect_tqdm(), tqdm(total=total, bar_format=form, leave=False, disable=None) as line:
        done: dict[str, float] = {}
        said: set[str] = set()
        line.set_description_str("loading")

        def show(event: Event) -> None:
            if event.state == "note":
                if event.message not in said:
                    said.add(event.message)
                    tqdm.write(f"affekt: {event.name}: {' '.join(event.message.split())}", file=sys.stderr)
                return
            done[event.id] = event.fraction
            line.n = min(sum(done.values()), total)
            line.set_description_str(f"{event.name}: {event.message or event.state}")
            if event.state in ("failed", "blocked"):
                tqdm.write(f"affekt: {event.name}: {' '.join(event.message.split())}", file=sys.stderr)
            elif event.files:
                tqdm.write("\n".join(_lines(event)), file=sys.stdout)

        yield show


def write_report(path: Path, plan: Plan, ends: Mapping[str, Event]) -> None:
    """Writes the state of each wanted item as CSV or JSON; ``ends`` has its final event, by id."""
    rows: list[dict[str, str | float | list[str]]] = []
    for number, item in enumerate((item for item in plan.items if item.id in plan.wanted), start=1):
        end = ends.get(item.id) or Event(item.id, "not reached", item.name)
        notes = {sidecar(path) for path in end.files}
        emotion = str(getattr(item.task, "emotion", None) or "")
        files = [] if end.message else [str(path) for path in end.files if path not in notes]
        facts = number, item.id, item.task.kind, item.name, end.state, round(end.seconds, 3), item.task.seed, emotion
        rows.append(dict(zip(COLUMNS, (*facts, files, [*end.notes], end.message), strict=True)))
    with hidden(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".json":
            json.dump(rows, file, indent=1, ensure_ascii=False)
        else:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            for row in rows:
                table.writerow("; ".join(value) if isinstance(value, list) else value for value in row.values())


def _lines(event: Event) -> list[str]:
    """The result files of an item, without the manifests beside them."""
    notes = {sidecar(path) for path in event.files}
    return [f"{path}  {NAMES.get(path.suffix, path.suffix)}" for path in event.files if path not in notes]
