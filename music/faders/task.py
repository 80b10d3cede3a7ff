"""The task of the faders."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from gen.jobs.formats import OF_SOUND, Sound
from gen.jobs.schema import Task
from music.automation import automation

LIMITS = {"rhythm": (0.25, 4.0), "voices": (0.25, 12.0), "arousal": (-1.0, 1.0)}


class FadersTask(Task):
    """Changes rhythm, polyphony or arousal of the user's piece: a MIDI file, and a WAV if ``audio``. Numbers can be
    curves over bars: "0: 1, 8: 3"."""

    kind: Literal["faders"] = "faders"
    midi: Path = Field(description="a MIDI file in 4/4, or a performance without bars, which are then tracked")
    rhythm: str | None = Field(None, description="onsets per beat, 0.25 to 4; with a sign: relative")
    voices: str | None = Field(
        None, alias="notes", description="mean number of simultaneous notes, 0.25 to 12; with a sign: relative"
    )
    arousal: str | None = Field(None, description="arousal, -1 to 1")
    audio: bool = Field(True, description="also render the sound")
    format: Sound = Field("wav", description=OF_SOUND)
    candidates: int = Field(24, ge=1, le=128, description="versions of each bar sampled for the one kept")
    model: str = Field("faders-compact", description="checkpoint")

    @field_validator("rhythm", "voices", "arousal")
    @classmethod
    def _an_automation(cls, text: str | None, info) -> str | None:
        if text is None:
            return None
        found = automation(text, signed=info.field_name == "arousal")
        low, high = LIMITS[info.field_name]
        if not found.relative and not all(low <= value <= high for value in found.values):
            raise ValueError(f"give numbers from {low:g} to {high:g}, not {text}")
        return text

    @model_validator(mode="after")
    def _something(self):
        if self.rhythm is self.voices is self.arousal is None:
            raise ValueError("give at least one of rhythm, notes and arousal")
        return self
