"""File input: one control for pictures, films, sounds and scores, which are checked on upload.

Its value is a dict: ``path``, ``name``, ``url``, ``sort`` (picture, film, sound, file), ``seconds`` where it sounds,
``still`` (a film's first frame, for what needs a photograph) and ``notes``, sentences on what was found or changed.
"""

import json
import threading
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from apps.studio.files import address, fresh, uploaded
from apps.studio.form import FILMS, Place, takes
from apps.studio.words import plain
from gen import media
from gen.errors import AffektError
from gen.jobs.inputs import PICTURES, SCORES, SOUNDS
from gen.notes import collect

ASSETS = Path(__file__).parent / "assets"
LARGEST = 4096  # pixels of a picture's longer side: more only takes time
SHOWN = (".png", ".jpg", ".jpeg", ".webp", ".gif")  # that every browser shows
SILENT = 1e-3  # peak of a recording in which nothing is heard
LONG = 600.0  # seconds of sound that are listened to for silence
TURNS = (1, 3, 2)  # quarter turns that are tried on a picture without an upright face
FACE = threading.Lock()


def control(place: Place, elem_id: str, classes: list[str] | None = None, render: bool = True) -> gr.HTML:
    """The control for a field that holds a file."""
    kinds = takes(place.name)
    facts = {
        "LABEL": place.label,
        "INFO": place.info,
        "FIELD": place.name,
        "ACCEPT": accepted(kinds),
        "SOUND": kinds[:1] == SOUNDS[:1],
        "CAMERA": place.name == "portrait",
        "REQUIRED": place.field.is_required(),
    }
    known = "\n".join(f"const {name} = {json.dumps(fact)};" for name, fact in facts.items())
    return gr.HTML(
        None,
        html_template="<div class='intake'></div>",
        elem_id=elem_id,
        elem_classes=classes,
        server_functions=[taken, looked],
        css_template=(ASSETS / "intake.css").read_text("utf-8"),
        label=place.label,
        js_on_load=f"{known}\n{(ASSETS / 'intake.js').read_text('utf-8')}",
        apply_default_css=False,
        render=render,
    )


def accepted(kinds: tuple[str, ...]) -> str:
    """The file types of a file chooser: by media kind, since phones do not filter by extension."""
    groups = ((PICTURES, "image/*"), (SOUNDS, "audio/*,video/*"), (FILMS, "video/*"), (SCORES, "audio/midi"))
    found = [kind for one, kind in groups if set(one) & set(kinds)]
    return ",".join(dict.fromkeys([*found, *kinds]))


def taken(given: Any) -> dict:
    """A file as a value of the control, or the sentence that is ``wrong`` with it. ``given`` comes from a browser:
    ``path`` of an upload, ``name`` and ``field``."""
    try:
        path = uploaded(given["path"])
        with collect() as notes:
            found = checked(path, str(given.get("name") or path.name), takes(str(given.get("field"))))
        return found | {"notes": [plain(note) for note in dict.fromkeys([*found["notes"], *notes])]}
    except AffektError as error:
        return {"wrong": plain(str(error))}
    except (KeyError, TypeError, AttributeError):
        return {"wrong": "Please upload the file again."}


def value(path: Path, field: str) -> dict:
    """The control's value for a file of ours."""
    return checked(path, path.name, takes(field))


def checked(path: Path, name: str, kinds: tuple[str, ...]) -> dict:
    """Opens a file that a field of these endings takes. Raises ``InputError`` where it is none."""
    ending = path.suffix.lower()
    found = {"path": str(path), "name": name, "url": address(path), "notes": []}
    if set(PICTURES) & set(kinds) and ending not in FILMS:
        return found | {"sort": "picture"} | picture(path)
    if set(PICTURES) & set(kinds):
        still = fresh(f"{path.stem}.png")
        media.write_image(still, next(media.read_video(path)[0]))
        return found | {"sort": "film", "still": str(still), "seconds": media.length(path)}
    if ending in SCORES:
        media.read_midi(path)
    elif set(SOUNDS) & set(kinds):
        return found | {"sort": "sound"} | sound(path)
    return found | {"sort": "file"}


def picture(path: Path) -> dict:
    """A picture that a browser can show and that is no larger than is of use; the file itself where it is that."""
    pixels = media.read_image(path)
    height, width = pixels.shape[:2]
    if max(width, height) <= LARGEST and path.suffix.lower() in SHOWN:
        return {}
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    smaller = fresh(f"{path.stem}.jpg")
    image.save(smaller, quality=95)
    said = f"The picture was reduced from {width} x {height} to {image.width} x {image.height} pixels."
    return {"path": str(smaller), "url": address(smaller), "notes": [said] if image.size != (width, height) else []}


def sound(path: Path) -> dict:
    """The duration of a recording, and whether it is silent."""
    seconds = media.length(path)
    silent = seconds < LONG and np.abs(media.read_audio(path)[0]).max(initial=0) < SILENT
    return {"seconds": seconds, "notes": ["This recording is silent: the mouth stays closed."] if silent else []}


def looked(given: Any) -> dict:
    """A portrait looked at: turned upright where its face lies on its side; notes on what is found."""
    try:
        shown = uploaded(given.get("still") or given["path"])
        pixels, notes = media.read_image(shown), []
        turn = upright(pixels)
        if turn is None:
            return {"notes": ["No face found. Use a photo with the face seen from the front."]}
        if turn:
            path = fresh(f"{shown.stem}.png")
            media.write_image(path, np.rot90(pixels, turn))
            notes = ["The face lay on its side: the picture was turned."]
            return {"path": str(path), "url": address(path), "still": None, "sort": "picture", "notes": notes}
        return {"notes": notes}
    except AffektError as error:
        return {"notes": [plain(str(error))]}


@cache
def tracker():
    from talking_head.face.tracker import FaceTracker

    return FaceTracker.load()


def upright(pixels: np.ndarray) -> int | None:
    """Quarter turns to the left that set the largest face upright; None where there is no face."""
    from PIL import Image

    small = Image.fromarray(pixels)
    small.thumbnail((1024, 1024))
    small = np.asarray(small)
    with FACE:
        for turn in (0, *TURNS):
            for face in tracker().faces(np.ascontiguousarray(np.rot90(small, turn)))[:1]:
                across, down = (face.landmarks[263] - face.landmarks[33])[:2]
                if across > abs(down):
                    return turn
    return None
