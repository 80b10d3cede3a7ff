"""The task of the voice: its fields and their limits."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from gen.emotion.spec import Emotion, EmotionCurve
from gen.jobs.formats import OF_SOUND, Sound
from gen.jobs.schema import Task

NEUTRAL = EmotionCurve.constant(Emotion.parse("neutral"))
CANDIDATES = 32


class VoiceTask(Task):
    """A recording with its words and its speaker, in another emotion: one WAV."""

    kind: Literal["voice"] = "voice"
    source: Path = Field(description="the recording; on the command line several, folders or patterns")
    emotion: EmotionCurve | None = Field(
        None, description='an emotion, or a curve over the seconds of the recording: "0: sad, 4: angry @ 1.4"'
    )
    reference: Path | None = Field(None, description="a recording whose emotion and melody are taken over")
    intensity: float = Field(1.0, ge=0, le=2, description="multiplies the emotion's own; 0 changes nothing")
    spoken: EmotionCurve = Field(NEUTRAL, description="the emotion that the recording has")
    performer: Annotated[str, BeforeValidator(str)] = Field(
        "auto", pattern=r"^(auto|[1-9][0-9]*)$",
        description='whose performances are laid on: a number of the model\'s card, or "auto", who fits best',
    )  # fmt: skip
    candidates: int = Field(CANDIDATES, ge=1, le=64, description="performances that are tried for each phrase")
    chooser: Literal["own", "whisper"] = Field(
        "own", description="what listens to them: the voice's own small network, or the embedding's ear on Whisper "
        "base, which hears better and has to be pulled (affekt checkpoints pull whisper-base)",
    )  # fmt: skip
    separate: Literal["auto", "always", "never"] = Field(
        "auto", description="take music or noise under the voice apart and leave it as it is; auto: where it is heard "
        "in the pauses and the extra `separate` is installed",
    )  # fmt: skip
    refine: bool = Field(
        True, description="a small network says how the sound changes, as the speaker's own would; else the performance"
    )
    keep_tempo: bool = Field(False, description="leave the pace as it is")
    format: Sound = Field("wav", description=OF_SOUND)
    plot: bool = Field(False, description="draw spectrogram, pitch, pace and loudness of source and result as well")
    vocoder: str = Field(
        "recording", description='what sounds: the "recording", filtered, or a checkpoint with a HiFi-GAN'
    )
    steps: int = Field(30, ge=1, le=1000, description="steps of a DiffVC's diffusion; 6 are fast")
    model: str = Field("voice-compact", description="checkpoint")

    @model_validator(mode="after")
    def _one_aim(self):
        if (self.emotion is None) == (self.reference is None):
            raise ValueError("give either an emotion or a reference recording that has it")
        return self

    def aim(self) -> EmotionCurve:
        """The emotion asked for, from the reference where that is what was given, at the task's intensity."""
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
