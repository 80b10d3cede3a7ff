"""What can be asked of a scene."""

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
    """What stands behind somebody in a scene. Raises ``ValueError``."""
    if str(background) == "none":
        raise ValueError("a scene has no transparent background: give a colour or a picture")
    return no_half_colour(background)


class SceneTask(Task):
    """A portrait speaks in an emotion, and a piano that feels the same plays under it: one MP4.

    Any part can come from elsewhere, also from another job: ``voice`` is finished speech, ``music`` a sound or a score,
    and a film in the place of the portrait lends its pictures.
    """

    kind: Literal["scene"] = "scene"
    portrait: Path = Field(description="a picture with a face seen from the front; or a film, whose pictures are used")
    audio: Path | None = Field(None, description="a recording of what is said; its voice is given the emotion")
    text: str | None = Field(
        None, max_length=2000, description="what is said: read aloud where there is no recording, shown as captions"
    )
    voice: Path | None = Field(None, description="finished speech, used as it is")
    music: Path | None = Field(None, description="a sound or a MIDI file in place of a piece composed for the scene")
    emotion: EmotionCurve = Field(
        default_factory=lambda: EmotionCurve.parse("neutral"),
        description='an emotion, or a curve whose times are seconds of the speech: "0: sad, 4: happy @ 1.3"',
    )
    mute: tuple[Literal["voice", "face", "music"], ...] = Field((), description="parts to leave out: voice face music")
    captions: bool = Field(False, description="show `text` in the picture as it is spoken, and write an SRT file")
    subtitles: bool = Field(False, description="`text` as a track that players can show, and as SRT and VTT files")
    format: Film = Field("auto", description=f"{OF_FILM}, else mp4")
    codec: Codec = Field("auto", description=OF_CODEC)
    stems: bool = Field(False, description="also write the speech and the music as they are in the mix")
    size: Annotated[int, AfterValidator(sized)] = Field(
        512,
        le=1024,
        json_schema_extra=SIZES,
        description="side of the square picture, from 256; 0 for the whole one; a film keeps its own size",
    )
    aspect: Aspect = Field("1:1", description="width to height of the frame, for a picture")
    crop: Crop = Field("head", description="how much of the person the frame shows, for a picture")
    background: Annotated[Annotated[str, Field(pattern=BEHIND)] | Path, AfterValidator(opaque)] = Field(
        "keep", description='behind the person of a picture: keep, a colour as "#00ff00", a picture'
    )
    lead: float = Field(1.2, ge=0, le=20, description="seconds of music before the first word")
    tail: float = Field(2.5, ge=0, le=20, description="seconds of music after the last word")
    under: float = Field(14.0, ge=10, le=40, description="dB by which the music lies under the speech")
    swell: float = Field(10.0, ge=0, le=20, description="dB by which the music rises where nobody speaks")
    label: bool = Field(True, description="a small visible note that the film is generated")
    voice_model: str = Field(_model(VoiceTask), description="checkpoint of the voice")
    face_model: str = Field(_model(TalkTask), description="checkpoint of the face")
    music_model: str = Field(_model(MusicTask), description="checkpoint of the piano")

    @model_validator(mode="after")
    def _one_speech(self):
        if self.audio and self.voice:
            raise ValueError("give either a recording to convert (audio) or finished speech (voice), not both")
        if not (self.audio or self.voice or self.text):
            raise ValueError("give a recording (audio), finished speech (voice) or a text")
        if (self.captions or self.subtitles) and not self.text:
            raise ValueError("captions show the text that is spoken: give it as text")
        if self.subtitles and self.ending in ("gif", "png"):
            raise ValueError(f"{self.ending} holds no subtitles: give captions, or another format")
        together(self.ending, self.codec)
        if len({"voice", "music"} - {*self.mute}) == 0:
            raise ValueError("voice and music cannot both be mute: nothing would be heard")
        return self

    @property
    def shared(self) -> dict:
        """What the parts have in common with the scene."""
        return {"seed": self.seed, "consent": self.consent}

    @property
    def ending(self) -> str:
        """The kind of film that is written."""
        return "mp4" if self.format == "auto" else self.format

    @property
    def drawn(self) -> bool:
        """Whether the face is drawn here; otherwise the pictures are those of a film."""
        return self.portrait.suffix.lower() not in FILMS
