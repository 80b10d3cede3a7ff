"""The stage: a result with its players, files and parts, another beside it, and those made before.

Results lie in a folder that stays, named after what they were made from. What each browser made is listed in
``.made/<browser>.jsonl`` there, so that a reload, also in the middle of a rendering, shows it again.
"""

import html
import json
import re
import shutil
import time
from pathlib import Path
from uuid import uuid4

import gradio as gr

from apps.page import roll
from apps.studio.files import address, fresh, served
from apps.studio.form import spelled
from apps.studio.words import TITLES
from apps.studio.work import PICTURE, Result
from gen.emotion.picture import INK
from gen.errors import InputError
from gen.jobs.schema import Task
from gen.media import MIDI, PLAYED, SOUND

ASSETS = Path(__file__).parent / "assets"
KEPT = 24  # results that are listed
PARTS = {"voice": "Voice", "face": "Face", "piano": "Piano"}  # of a scene: what its files are called


class Results:
    """The folder of results, and what each browser made."""

    def __init__(self, folder: Path):
        self.folder = folder.absolute()

    def add(self, owner: str, task: Task, made: Result, given: dict, before: str | None) -> None:
        """List a result; ``given`` is what the form held, to return to, and ``before`` a recording to compare with."""
        name = lambda path: Path(path).relative_to(self.folder).as_posix()
        entry = {
            "id": uuid4().hex,
            "kind": task.kind,
            "title": titled(task),
            "when": time.time(),
            "given": given,
            "files": [name(path) for path in made.files],
            "before": before,
            "summary": made.summary,
            "details": made.details,
        }
        path = self._list(owner)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def entries(self, owner: str) -> list[dict]:
        """The results of a browser, newest first, whose files still exist."""
        path = self._list(owner)
        lines = path.read_text(encoding="utf-8").splitlines()[-KEPT:] if path.is_file() else []
        found = [json.loads(line) for line in reversed(lines)]
        return [entry for entry in found if all((self.folder / name).is_file() for name in entry["files"])]

    def shown(self, owner: str, first: dict | None = None) -> dict:
        """The stage's value: the newest result, or ``first``, and the others to return to."""
        made = [seen(entry, self.folder) for entry in self.entries(owner)]
        return {"ready": first, "results": made}

    def kept(self, shown: dict, part: str) -> Path:
        """A copy of a part of a shown result among the uploads: of the piano its notes. Raises ``InputError``."""
        names = [file["name"] for file in shown["files"] if f".{part}." in file["name"]]
        name = next((one for one in names if one.endswith(MIDI)), *names[:1])
        found = next((path for path in self.folder.rglob(name) if path.name == name), None)
        if found is None:
            raise InputError("This part is no longer there: render the scene again.")
        return Path(shutil.copyfile(found, fresh(name)))

    def _list(self, owner: str) -> Path:
        return self.folder / ".made" / f"{owner if re.fullmatch('[0-9a-f]{32}', owner) else 'others'}.jsonl"


def titled(task: Task) -> str:
    emotion = getattr(task, "emotion", None)
    said = "" if emotion is None else "as in a file" if emotion.source else spelled(emotion)
    return f"{TITLES.get(task.kind, task.kind.capitalize())}: {said}" if said else TITLES.get(task.kind, task.kind)


def seen(entry: dict, folder: Path) -> dict:
    """An entry as the page shows it: addresses in place of files."""
    paths = [folder / name for name in entry["files"]]
    part = lambda path: path.name.split(".")[-2] if path.name.count(".") > 1 else ""
    whole = [path for path in paths if part(path) not in (*PARTS, "speech", "music")]
    first = lambda endings, some: next((address(path) for path in some if path.suffix in endings), None)
    score = next((path for path in whole if path.suffix in MIDI), None)
    parts = [
        {"part": name, "title": title, "url": address(path), "film": path.suffix in PLAYED}
        for name, title in PARTS.items()
        for path in paths
        if part(path) == name and path.suffix not in MIDI
    ]
    before = entry.get("before")
    film = first(PLAYED, whole)
    return {
        "id": entry["id"],
        "kind": entry["kind"],
        "title": entry["title"],
        "summary": entry["summary"],
        "details": entry["details"],
        "film": film,
        "sound": None if film else first(SOUND, whole),
        "picture": first(PICTURE, whole),
        "roll": svg(score) if score else None,
        "parts": parts,
        "before": address(before) if before and Path(before).is_file() else None,
        "files": [{"name": path.name, "url": address(path)} for path in paths],
    }


def svg(score: Path) -> str:
    """The piano roll of a score."""
    return roll(score, INK).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')


def ready(kind: str, title: str, files: list[Path], before: Path | None) -> dict:
    """A result that ships with the toolkit, as the page shows it."""
    entry = {
        "id": title,
        "kind": kind,
        "title": title,
        "summary": "A ready example. Press Render to make it yourself.",
        "details": "",
        "files": [str(served(path)) for path in files],
        "before": str(served(before)) if before else None,
    }
    return seen(entry, Path())


def component(elem_id: str = "stage") -> gr.HTML:
    """The stage; it triggers ``reuse``, ``another`` and ``keep``."""
    return gr.HTML(
        {"ready": None, "results": []},
        html_template="<div class='show'></div>",
        elem_id=elem_id,
        css_template=(ASSETS / "stage.css").read_text("utf-8"),
        label="Result",
        apply_default_css=False,
        js_on_load=(ASSETS / "stage.js").read_text("utf-8"),
    )


def progress(share: float | None, text: str) -> str:
    """The line that tells how far a rendering is; without a share what came of it."""
    far = f"value='{share:.3f}'" if share else ""
    bar = "" if share is None else f"<progress max='1' {far} aria-label='Progress'></progress>"
    return f"<div class='progress' role='status'>{bar}<span>{html.escape(text)}</span></div>"
