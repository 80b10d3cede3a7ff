"""The task of a scene."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gen.emotion.spec import EmotionCurve
from gen.jobs.formats import OF_CODEC, OF_FILM, Codec, Film, together
from gen.jobs.schema import Task
from music.task import MusicTask
from talking_head.task import SIZES, Aspect, Crop, TalkTask, no_half_colour, sized
from voice_conversion.task import VoiceTask

BEHIND = "^(keep|#[0-9a-fA-F]{6})$"
FILMS = (".mp4", ".mov", ".webm", ".mkv")


def _model(cls: type[Task]) -> str:
    return cls.model_fields["model"].default


def opaque(background: str | Path) -> str | Path:
    """Checks that the background is opaque. Raises ``ValueError``."""
    if str(background) == "none":
        raise ValueError("a scene has no transparent background: give a colour or a picture")
    return no_half_colour(background)


class SceneTask(Task):
    """A portrait speaks in an emotion, over piano music in the same emotion: one MP4.

    Any part can be given, also as another job's output: ``voice`` is finished speech, ``music`` a sound or a score, and
    a film as ``portrait`` provides the pictures.
    """

    kind: Literal["scene"] = "scene"
    portrait: Path = Field(description="a picture with a frontal face, or a film")
    audio: Path | None = Field(None, description="a recording of the speech, converted to the emotion")
    text: str | None = Field(
        None, max_length=2000, description="the spoken text; synthesised if there is no recording; used for captions"
    )
    voice: Path | None = Field(None, description="finished speech, not converted")
    music: Path | None = Field(None, description="a sound or a MIDI file instead of generated music")
    emotion: EmotionCurve = Field(
        default_factory=lambda: EmotionCurve.parse("neutral"),
        description='an emotion, or a curve whose times are seconds of the speech: "0: sad, 4: happy @ 1.3"',
    )
    mute: tuple[Literal["voice", "face", "music"], ...] = Field((), description="parts to leave out: voice face music")
    captions: bool = Field(False, description="draw `text` into the picture as captions, and write an SRT file")
    subtitles: bool = Field(False, description="write `text` as a subtitle track, and as SRT and VTT files")
    format: Film = Field("auto", description=f"{OF_FILM}, else mp4")
    codec: Codec = Field("auto", description=OF_CODEC)
    stems: bool = Field(False, description="also write the speech and the music of the mix")
    parts: bool = Field(False, description="also write the voice, the face and the piano as they were made")
    size: Annotated[int, AfterValidator(sized)] = Field(
        512,
        le=1024,
        json_schema_extra=SIZES,
        description="side of the square picture, from 256; 0: the uncropped picture; a film keeps its size",
    )
    aspect: Aspect = Field("1:1", description="aspect ratio of the frame (pictures only)")
    crop: Crop = Field("head", description="crop around the person (pictures only)")
    background: Annotated[Annotated[str, Field(pattern=BEHIND)] | Path, AfterValidator(opaque)] = Field(
        "keep", description='background of a picture: keep, a colour as "#00ff00", a picture'
    )
    lead: float = Field(1.2, ge=0, le=20, description="seconds of music before the first word")
    tail: float = Field(2.5, ge=0, le=20, description="seconds of music after the last word")
    under: float = Field(14.0, ge=10, le=40, description="level of the music below the speech in dB")
    swell: float = Field(10.0, ge=0, le=20, description="gain of the music in speech pauses in dB")
    label: bool = Field(True, description="add a small visible AI-generated label")
    voice_model: str = Field(_model(VoiceTask), description="voice checkpoint")
    face_model: str = Field(_model(TalkTask), description="face checkpoint")
    music_model: str = Field(_model(MusicTask), description="music checkpoint")
    voice_seed: int | None = Field(None, ge=0, lt=2**32, description="seed of the voice alone")
    face_seed: int | None = Field(None, ge=0, lt=2**32, description="seed of the face alone")
    music_seed: int | None = Field(None, ge=0, lt=2**32, description="seed of the piano alone")

    @model_validator(mode="after")
    def _one_speech(self):
        if self.audio and self.voice:
            raise ValueError("give either a recording to convert (audio) or finished speech (voice), not both")
        if not (self.audio or self.voice or self.text):
            raise ValueError("give a recording (audio), finished speech (voice) or a text")
        if (self.captions or self.subtitles) and not self.text:
            raise ValueError("captions need the spoken text: give it as text")
        if self.subtitles and self.ending in ("gif", "png"):
            raise ValueError(f"{self.ending} cannot hold subtitles: use captions, or another format")
        together(self.ending, self.codec)
        if len({"voice", "music"} - {*self.mute}) == 0:
            raise ValueError("voice and music cannot both be muted: the film would be silent")
        return self

    def shared(self, part: Literal["voice", "face", "music"]) -> dict:
        """Fields that a part shares with the scene; its seed is its own where it has one."""
        own = getattr(self, f"{part}_seed")
        return {"seed": self.seed if own is None else own, "consent": self.consent}

    @property
    def ending(self) -> str:
        """The extension of the film."""
        return "mp4" if self.format == "auto" else self.format

    @property
    def drawn(self) -> bool:
        """True if the face is rendered; False if the portrait is a film."""
        return self.portrait.suffix.lower() not in FILMS
