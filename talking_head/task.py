"""The task of a talking portrait."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gen.emotion.resolve import resolve
from gen.emotion.spec import EmotionCurve
from gen.jobs.formats import OF_CODEC, OF_FILM, Codec, Film, together
from gen.jobs.schema import Task

SIZES = {"anyOf": [{"const": 0}, {"minimum": 256}]}  # the values allowed by :func:`sized`


def sized(pixels: int) -> int:
    """Checks the number of pixels of a frame's side. Raises ``ValueError``."""
    if pixels and pixels < 256:
        raise ValueError(f"give 0 for the whole picture, or at least 256 pixels, not {pixels}")
    return pixels


Aspect = Literal["1:1", "9:16", "16:9", "source"]
Crop = Literal["head", "shoulders", "whole"]
BEHIND = "^(keep|none|#[0-9a-fA-F]{6})$"


def no_half_colour(background: str | Path) -> str | Path:
    """Checks the background; raises ``ValueError`` for an incomplete colour."""
    if isinstance(background, Path) and background.name.startswith("#") and not background.suffix:
        raise ValueError(f'give a colour with six digits, such as "#00ff00", not {background}')
    return background


def chapters(curve: EmotionCurve) -> list[tuple[float, str]]:
    """(seconds, title) of a film's chapters: the given keyframes, if there are several."""
    keys = () if curve.source else curve.keyframes
    return [(key.at, str(key.emotion)) for key in keys] if len(keys) > 1 else []


class TalkTask(Task):
    """A photograph speaks a recording with an emotion: an MP4 exactly as long as the recording."""

    kind: Literal["talk"] = "talk"
    portrait: Path = Field(description="a picture with a frontal face")
    audio: Path = Field(description="a speech recording of any length")
    emotion: EmotionCurve = Field(
        default_factory=lambda: EmotionCurve.parse("neutral"),
        description='an emotion, or a curve whose times are seconds: "0: sad, 4: happy @ 1.3"',
    )
    emotion_from: Path | None = Field(None, description="a voice, clip or text whose emotion is used instead")
    emotion_scale: float = Field(
        1.0, ge=0, le=4, description="scale of the dice models' expressions; lips are unchanged"
    )
    size: Annotated[int, AfterValidator(sized)] = Field(
        512,
        le=2160,
        json_schema_extra=SIZES,
        description="shorter side of the frame, from 256; 0: the uncropped picture",
    )
    aspect: Aspect = Field("1:1", description="aspect ratio of the frame")
    crop: Crop = Field("head", description="crop around the person")
    background: Annotated[Annotated[str, Field(pattern=BEHIND)] | Path, AfterValidator(no_half_colour)] = Field(
        "keep", description='background: keep, none (a WebM with transparency), a colour as "#00ff00", a picture'
    )
    fps: Literal[25, 30, 60] = Field(25, description="frames per second: 25 30 60")
    format: Film = Field("auto", description=f"{OF_FILM}, else mp4, or webm without a background")
    codec: Codec = Field("auto", description=OF_CODEC)
    head_motion: float = Field(0.6, ge=0, le=1.5, description="scale of head motion; 0: still")
    mouth: float = Field(1.0, ge=0.5, le=1.5, description="scale of mouth opening; timing is unchanged")
    blinks: bool = Field(True, description="add blinks and eye movements")
    face: int | None = Field(None, ge=1, description="index of the face if there are several, 1: the largest")
    export: tuple[Literal["arkit", "json", "glb", "mesh", "bvh"], ...] = Field(
        (), description="also export the motion: arkit json glb mesh bvh"
    )
    flame: str | None = Field(None, description="your converted FLAME: also export its expression and jaw")
    label: bool = Field(True, description="add a small visible AI-generated label")
    model: str = Field("emote-compact", description="emote, dice, dice-video, or a checkpoint")
    steps: int = Field(0, ge=0, le=100, description="sampling steps of the dice models; 0: the default (8 or 25)")
    vram: Literal[4, 6, 8, 12, 16, 24] = Field(24, description="GPU memory limit of dice-video in GB: 4 6 8 12 16 24")

    @model_validator(mode="after")
    def _one_film(self):
        together(self.ending, self.codec, self.background == "none")
        return self

    @property
    def ending(self) -> str:
        """The extension of the film."""
        usual = "webm" if self.background == "none" else "mp4"
        return usual if self.format == "auto" else self.format

    def felt(self) -> EmotionCurve:
        """The emotion over seconds, resolved from its file if given."""
        if self.emotion_from is None:
            return resolve(self.emotion)
        return resolve(EmotionCurve.parse({"from": self.emotion_from}))
