"""What can be asked of the piano."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gen.emotion import lexicon
from gen.emotion.spec import EmotionCurve
from gen.jobs.schema import Task
from gen.notes import note

GUIDANCE, TEMPERATURE, CANDIDATES = 1.0, 1.0, 4  # how pieces are drawn unless one asks otherwise


def _in_bars(curve: EmotionCurve) -> EmotionCurve:
    points = [frame.emotion.vad for frame in curve.keyframes if frame.emotion.vad]
    if any(abs(d - lexicon.expected_dominance(v, a)) > 0.01 for v, a, d in points):
        note("The piano knows valence and arousal: the dominance of a point is left out.")
    return curve.model_copy(update={"unit": "bars"})


class MusicTask(Task):
    """Piano pieces in an emotion: one MIDI file, and a WAV unless ``audio`` is false, for each of ``count`` seeds."""

    kind: Literal["music"] = "music"
    emotion: Annotated[EmotionCurve, AfterValidator(_in_bars)] = Field(
        description='an emotion, or a curve whose times are bars: "0: sad, 8: happy @ 1.3"'
    )
    bars: int = Field(16, ge=1, le=512, description="length in 4/4 bars; the piece ends there")
    count: int = Field(1, ge=1, le=64, description="pieces, from seed, seed + 1, ...")
    audio: bool = Field(True, description="also render a WAV")
    continue_from: Path | None = Field(None, alias="continue", description="a MIDI file whose music goes on")
    guidance: float = Field(GUIDANCE, ge=0, le=10, description="how strictly the emotion is followed; 1 is unguided")
    temperature: float = Field(TEMPERATURE, gt=0, le=2, description="how adventurous the choice of what comes next is")
    candidates: int = Field(CANDIDATES, ge=1, le=16, description="pieces drawn for each one kept, which fits best")
    model: str = Field("muser-compact", description="checkpoint")
