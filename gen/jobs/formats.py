"""The file formats of sounds and films, used as the types of task fields."""

from pathlib import Path
from typing import Any, Literal

from gen.errors import InputError
from gen.jobs.schema import choices, task_class

Sound = Literal["wav", "flac", "mp3", "opus"]
Film = Literal["auto", "mp4", "mov", "webm", "gif", "png"]
Codec = Literal["auto", "h264", "hevc", "av1"]
HOLDS = {"mp4": ("h264", "hevc", "av1"), "mov": ("h264", "hevc"), "webm": ("av1",), "gif": (), "png": ()}
OF_FILM = "mp4, mov, webm, gif, or png (a folder of numbered pictures and a sound); default: the extension of --out"
OF_SOUND = "sound format; default: the extension of --out"
OF_CODEC = "video codec: h264 hevc av1; default: h264, VP9 in WebM, ProRes 4444 in MOV with transparency"


def together(film: str, codec: str, clear: bool = False) -> None:
    """Raises ``ValueError`` if a film format, a codec and transparency cannot be combined."""
    if codec != "auto" and codec not in HOLDS.get(film, ()):
        fit = ", ".join(HOLDS[film]) or "no selectable codec"
        raise ValueError(f"{film} cannot hold {codec}: it holds {fit}")
    if clear and (film == "mp4" or codec != "auto"):
        raise ValueError("transparency needs the format webm, mov, gif or png, and no codec")


def formats(kind: str) -> list[str]:
    """The output formats of a kind: file extensions without the dot."""
    field = task_class(kind).model_fields.get("format")
    return [str(one) for one in choices(field.annotation) if one != "auto"] if field else []


def with_format(kind: str, out: str | Path, given: dict[str, Any]) -> dict[str, Any]:
    """Adds to the fields ``given`` the format implied by the result's extension. Raises ``InputError`` if the two
    differ."""
    extension = Path(out).suffix.lower().removeprefix(".")
    if extension not in formats(kind):
        return given
    if given.get("format", "auto") not in ("auto", extension):
        raise InputError(f"{Path(out).name} ends in .{extension}, but its format is {given['format']}: give only one")
    return given | {"format": extension}
