"""The task of the voice: its fields and their limits."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from gen.emotion.spec import Emotion, EmotionCurve
from gen.jobs.formats import OF_SOUND, Sound
from gen.jobs.schema import Task

NEUTRAL = EmotionCurve.constant(Emotion.parse("neutral"))
CANDIDATES = 32
LEAST = 0.02  # intensity below which nothing is changed


class VoiceTask(Task):
    """Converts a recording to another emotion, keeping words and speaker: one sound file."""

    kind: Literal["voice"] = "voice"
    source: Path = Field(description="a recording; on the command line also several, folders or patterns")
    emotion: EmotionCurve | None = Field(
        None, description='an emotion, or a curve over the seconds of the recording: "0: sad, 4: angry @ 1.4"'
    )
    reference: Path | None = Field(None, description="a recording whose emotion and pitch contour are copied")
    intensity: float = Field(1.0, ge=0, le=2, description="scale of the emotion's intensity; 0: no change")
    spoken: EmotionCurve = Field(NEUTRAL, description="the emotion of the recording")
    performer: Annotated[str, BeforeValidator(str)] = Field(
        "auto",
        pattern=r"^(auto|[1-9][0-9]*)$",
        description='performer whose performances are transferred: a number from the model card, or "auto"',
    )
    candidates: int = Field(CANDIDATES, ge=1, le=64, description="performances tried for each phrase")
    chooser: Literal["own", "whisper"] = Field(
        "own",
        description="network that rates the candidates: a small one, or the embedding's Whisper encoder, which "
        "is more accurate (needs affekt checkpoints pull whisper-base)",
    )
    separate: Literal["auto", "always", "never"] = Field(
        "auto",
        description="separate music or noise from the voice and keep it unchanged; auto: if the pauses have "
        "some and the extra `separate` is installed",
    )
    refine: bool = Field(
        True, description="predict the spectral change for the speaker by a network, instead of copying a performance's"
    )
    keep_tempo: bool = Field(False, description="keep the tempo of the recording")
    format: Sound = Field("wav", description=OF_SOUND)
    plot: bool = Field(False, description="also plot spectrogram, pitch, tempo and loudness of source and result")
    vocoder: str = Field(
        "recording", description='synthesis: "recording" (filtered recording), or a checkpoint with a HiFi-GAN'
    )
    steps: int = Field(30, ge=1, le=1000, description="sampling steps of a DiffVC model; 6 is fast")
    model: str = Field("voice-compact", description="checkpoint")

    @model_validator(mode="after")
    def _one_aim(self):
        if (self.emotion is None) == (self.reference is None):
            raise ValueError("give either an emotion or a reference recording")
        return self

    def aim(self) -> EmotionCurve:
        """The target emotion, from ``emotion`` or ``reference``, at the task's intensity."""
        from gen.emotion.resolve import resolve

        curve = EmotionCurve(source=self.reference) if self.emotion is None else self.emotion
        return scaled(resolve(curve), self.intensity)


def scaled(curve: EmotionCurve, by: float) -> EmotionCurve:
    """The curve at ``by`` times its intensity, at most 2."""
    keys = tuple(
        key.model_copy(
            update={"emotion": key.emotion.model_copy(update={"intensity": min(2.0, key.emotion.intensity * by)})}
        )
        for key in curve.keyframes
    )
    return curve.model_copy(update={"keyframes": keys})
