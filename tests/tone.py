"""A real, tiny generator for the tests of the job runner: a sine whose loudness follows the emotion's intensity.

On request it fails: raises, fails once, or kills its process.
"""

import os
import signal
import time
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from gen.emotion.spec import EmotionCurve
from gen.errors import AffektError
from gen.jobs.schema import Task
from gen.media import read_audio, write_audio
from gen.notes import note

RATE = 8000


def noted(text: str) -> str:
    if text.startswith("read: "):
        note(text)
    return text


class Tone(Task):
    kind: Literal["tone"] = "tone"
    emotion: EmotionCurve = EmotionCurve.parse("neutral")
    frequency: float = Field(440.0, gt=0, description="in Hz")
    seconds: float = Field(0.05, gt=0, le=10)
    count: int = Field(1, ge=1, le=9)
    soft: bool = False
    voice: str | None = None
    before: Path | None = Field(None, alias="continue")
    pause: float = 0.0
    remark: Annotated[str, AfterValidator(noted)] = Field("", description='noted while rendering; "read: ..." before')
    fault: Literal["none", "raise", "mistake", "once", "memory", "die", "die once"] = "none"

    def smaller(self):
        return self.model_copy(update={"fault": "none"}) if self.fault == "memory" else None


class ToneGenerator:
    loaded = 0

    @staticmethod
    def checkpoints(task: Tone) -> tuple[str, ...]:
        return (task.voice,) if task.voice else ()

    @classmethod
    def from_pretrained(cls, *names, device="cpu"):
        cls.loaded += 1
        return cls()

    def render(self, task: Tone, folder: Path, manifest: dict, progress) -> list[Path]:
        if task.remark and not task.remark.startswith("read: "):
            note(task.remark.format(before=task.before, name=task.before and task.before.name))
        misbehave(task, folder.parent)
        times = np.arange(round(task.seconds * RATE)) / RATE
        loudness = task.emotion.sample(times).intensity * (0.1 if task.soft else 0.4)
        before = read_audio(task.before)[0] if task.before else np.zeros(0, np.float32)
        written = []
        for piece in range(1, task.count + 1):
            sine = loudness * np.sin(2 * np.pi * task.frequency * piece * times + task.seed)
            time.sleep(task.pause / 2)
            written.append(folder / ("tone.wav" if task.count == 1 else f"{piece}.wav"))
            write_audio(written[-1], np.concatenate([before, sine.astype(np.float32)]), RATE, manifest)
            time.sleep(task.pause / 2)
            progress(piece / task.count, f"piece {piece}")
        return written


def misbehave(task: Tone, drafts: Path) -> None:
    """``drafts`` is shared by the attempts, so that a fault happens only once."""
    mark = drafts / f"fault-{task.seed}"
    first = not mark.exists()
    if task.fault.endswith("once"):
        mark.touch()
    if task.fault == "raise":
        raise ZeroDivisionError("the oscillator is upset")
    if task.fault == "mistake":
        raise AffektError("turn the oscillator on")
    if task.fault == "memory":
        raise MemoryError("too large")
    if task.fault == "once" and first:
        raise OSError("the disk was away")
    if task.fault == "die" or (task.fault == "die once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
