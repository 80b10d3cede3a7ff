"""How a run is told: a progress bar with the finished files, or JSON lines. Both are context managers."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gen.jobs.run import Event
from gen.provenance import sidecar

NAMES = {".mid": "score", ".wav": "sound", ".flac": "sound", ".mp4": "video", ".png": "picture", ".json": "data"}


@contextmanager
def json_lines(total: int) -> Iterator[Callable[[Event], None]]:
    """Each event as one line of JSON on stdout."""

    def tell(event: Event) -> None:
        facts = {"event": event.state, "id": event.id, "name": event.name, "fraction": round(event.fraction, 3)}
        facts |= {"message": event.message, "seconds": round(event.seconds, 3), "files": list(map(str, event.files))}
        facts |= {"notes": event.notes} if event.state != "progress" else {}
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()

    yield tell


@contextmanager
def bar(total: int) -> Iterator[Callable[[Event], None]]:
    """A bar on stderr, where that is a terminal; on stdout each finished file and what it is, on stderr each note, once
    for all items that it is of."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    form = "{percentage:3.0f}% |{bar:30}| {desc}"
    with logging_redirect_tqdm(), tqdm(total=total, bar_format=form, leave=False, disable=None) as line:
        done: dict[str, float] = {}
        said: set[str] = set()
        line.set_description_str("loading")

        def tell(event: Event) -> None:
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
            elif event.state != "progress":
                tqdm.write("\n".join(_lines(event)), file=sys.stdout)

        yield tell


def _lines(event: Event) -> list[str]:
    """The results of an item; the manifests beside them go without saying."""
    notes = {sidecar(path) for path in event.files}
    return [f"{path}  {NAMES.get(path.suffix, path.suffix)}" for path in event.files if path not in notes]
