"""What can be asked of a voice."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from gen.emotion.resolve import resolve
from gen.emotion.spec import Emotion, EmotionCurve
from gen.jobs.schema import Task

NEUTRAL = EmotionCurve.constant(Emotion.parse("neutral"))
GUIDANCE = 3.0  # by the emotion, as validation speakers were heard best


class VoiceTask(Task):
    """A recording with its words and its speaker, in another emotion: one WAV."""

    kind: Literal["voice"] = "voice"
    source: Path = Field(description="the recording; on the command line several, folders or patterns")
    emotion: EmotionCurve | None = Field(
        None, description='an emotion, or a curve over the seconds of the recording: "0: sad, 4: angry @ 1.4"'
    )
    reference: Path | None = Field(None, description="a recording that has the emotion, in place of --emotion")
    intensity: float = Field(1.0, ge=0, le=2, description="multiplies the emotion's own; 0 changes nothing")
    spoken: EmotionCurve = Field(NEUTRAL, description="the emotion that the recording has")
    tempo: Literal["auto", "keep"] = Field("auto", description="whether the emotion changes the pace")
    steps: int = Field(10, ge=1, le=200, description="of the diffusion")
    solver: Literal["ml", "em", "pf"] = Field("pf", description="of the diffusion")
    guidance: float = Field(
        GUIDANCE, ge=0, le=5, description="how strictly the network follows the emotion; 1 is unguided"
    )
    vocoder: str = Field(
        "recording",
        description='what sounds: the "recording", filtered; the model\'s "network"; or a checkpoint with a HiFi-GAN',
    )
    model: str = Field("voice-compact", description="checkpoint")

    @model_validator(mode="after")
    def _one_aim(self):
        if (self.emotion is None) == (self.reference is None):
            raise ValueError("give either an emotion or a reference recording that has it")
        return self

    def aim(self) -> EmotionCurve:
        """The emotion asked for, from the reference where that is what was given."""
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
