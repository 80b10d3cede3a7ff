"""The task of a talking portrait."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gen.emotion.resolve import resolve
from gen.emotion.spec import EmotionCurve
from gen.jobs.formats import OF_CODEC, OF_FILM, Codec, Film, together
from gen.jobs.schema import Task

SIZES = {"anyOf": [{"const": 0}, {"minimum": 256}]}  # what :func:`sized` says


def sized(pixels: int) -> int:
    """A number of pixels that a frame's side may have. Raises ``ValueError``."""
    if pixels and pixels < 256:
        raise ValueError(f"give 0 for the whole picture, or at least 256 pixels, not {pixels}")
    return pixels


Aspect = Literal["1:1", "9:16", "16:9", "source"]
Crop = Literal["head", "shoulders", "whole"]
BEHIND = "^(keep|none|#[0-9a-fA-F]{6})$"


def no_half_colour(background: str | Path) -> str | Path:
    """Return a valid background. Raises ``ValueError`` for an incomplete colour."""
    if isinstance(background, Path) and background.name.startswith("#") and not background.suffix:
        raise ValueError(f'a colour has six digits, as "#00ff00", not {background}')
    return background


def chapters(curve: EmotionCurve) -> list[tuple[float, str]]:
    """Chapters (seconds, title) of a film: the keyframes of the curve, if it has several."""
    keys = () if curve.source else curve.keyframes
    return [(key.at, str(key.emotion)) for key in keys] if len(keys) > 1 else []


class TalkTask(Task):
    """A photograph speaks a recording, in an emotion: an MP4 as long as the recording, to the frame."""

    kind: Literal["talk"] = "talk"
    portrait: Path = Field(description="a picture with a face seen from the front")
    audio: Path = Field(description="what is said: a recording of any length")
    emotion: EmotionCurve = Field(
        default_factory=lambda: EmotionCurve.parse("neutral"),
        description='an emotion, or a curve whose times are seconds: "0: sad, 4: happy @ 1.3"',
    )
    emotion_from: Path | None = Field(None, description="a voice, clip or text whose emotion is taken instead")
    emotion_scale: float = Field(
        1.0, ge=0, le=4, description="how much further expressions of the dice models go, with the same lips"
    )
    size: Annotated[int, AfterValidator(sized)] = Field(
        512,
        le=2160,
        json_schema_extra=SIZES,
        description="shorter side of the frame, from 256; 0 for the whole picture as it is",
    )
    aspect: Aspect = Field("1:1", description="width to height of the frame")
    crop: Crop = Field("head", description="how much of the person the frame shows")
    background: Annotated[Annotated[str, Field(pattern=BEHIND)] | Path, AfterValidator(no_half_colour)] = Field(
        "keep", description='behind the person: keep, none (a WebM with transparency), a colour as "#00ff00", a picture'
    )
    fps: Literal[25, 30, 60] = Field(25, description="frames a second: 25 30 60")
    format: Film = Field("auto", description=f"{OF_FILM}, else mp4, or webm without a background")
    codec: Codec = Field("auto", description=OF_CODEC)
    head_motion: float = Field(0.6, ge=0, le=1.5, description="how much the head moves; 0 keeps it still")
    mouth: float = Field(1.0, ge=0.5, le=1.5, description="how far speech moves the mouth; the timing is kept")
    blinks: bool = Field(True, description="whether the eyes blink and look about")
    face: int | None = Field(None, ge=1, description="which face of several, 1 for the largest")
    export: tuple[Literal["arkit", "json", "glb", "mesh", "bvh"], ...] = Field(
        (), description="also write the motion: arkit json glb mesh bvh"
    )
    flame: str | None = Field(None, description="your converted FLAME: also write its expression and jaw")
    label: bool = Field(True, description="a small visible note that the video is generated")
    model: str = Field("emote-compact", description="emote, dice, dice-video, or a checkpoint")
    steps: int = Field(0, ge=0, le=100, description="of sampling, for the dice models; 0 for the usual 8 or 25")
    vram: Literal[4, 6, 8, 12, 16, 24] = Field(
        24, description="GB of the GPU that dice-video has to fit into: 4 6 8 12 16 24"
    )

    @model_validator(mode="after")
    def _one_film(self):
        together(self.ending, self.codec, self.background == "none")
        return self

    @property
    def ending(self) -> str:
        """The kind of film that is written."""
        usual = "webm" if self.background == "none" else "mp4"
        return usual if self.format == "auto" else self.format

    def felt(self) -> EmotionCurve:
        """The emotion over seconds, read from the file that it is taken from."""
        if self.emotion_from is None:
            return resolve(self.emotion)
        return resolve(EmotionCurve.parse({"from": self.emotion_from}))
