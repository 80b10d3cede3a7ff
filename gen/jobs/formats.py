"""The kinds of files that sounds and films can be written as: the types of the tasks' fields."""

from pathlib import Path
from typing import Literal

from gen.errors import InputError
from gen.jobs.schema import choices, task_class

Sound = Literal["wav", "flac", "mp3", "opus"]
Film = Literal["auto", "mp4", "mov", "webm", "gif", "png"]
Codec = Literal["auto", "h264", "hevc", "av1"]
HOLDS = {"mp4": ("h264", "hevc", "av1"), "mov": ("h264", "hevc"), "webm": ("av1",), "gif": (), "png": ()}
OF_FILM = "mp4, mov, webm, gif, or png for a folder of numbered pictures and a sound; the ending of --out says it, too"
OF_SOUND = "of the sound; the ending of --out says it, too"
OF_CODEC = "of the pictures: h264 hevc av1; usually h264, in a WebM VP9, in a MOV with transparency ProRes 4444"


def together(film: str, codec: str, clear: bool = False) -> None:
    """Raise ``ValueError`` where a kind of film, a codec and transparency do not go together."""
    if codec != "auto" and codec not in HOLDS.get(film, ()):
        fit = ", ".join(HOLDS[film]) or "no codec of choice"
        raise ValueError(f"{film} does not hold {codec}: it holds {fit}")
    if clear and (film == "mp4" or codec != "auto"):
        raise ValueError("transparency needs the format webm, mov, gif or png, and no codec")


def formats(kind: str) -> list[str]:
    """What the results of a kind can be written as, without the points of their endings."""
    field = task_class(kind).model_fields.get("format")
    return [one for one in choices(field.annotation) if one != "auto"] if field else []


def told(kind: str, out: str | Path, given: dict) -> dict:
    """The fields ``given`` of a task and the format that the name of its result says. Raises ``InputError`` where the
    two differ."""
    ending = Path(out).suffix.lower().removeprefix(".")
    if ending not in formats(kind):
        return given
    if given.get("format", "auto") not in ("auto", ending):
        raise InputError(f"{Path(out).name} ends in .{ending}, but its format is {given['format']}: give one of them")
    return given | {"format": ending}
