"""A custom generator in 40 lines: a heartbeat whose rate and force follow the arousal of the emotion.

Render with it:  python examples/my_generator.py heartbeat --emotion "0: calm, 10: fear @ 1.3" --out out
"""

from typing import Literal

import numpy as np
from pydantic import Field

from gen.emotion.spec import Emotion, EmotionCurve
from gen.jobs.schema import Task
from gen.media import write_audio
from gen.registry import register

RATE = 16000


@register("task", "heartbeat")
class Heartbeat(Task):
    """Heartbeats in an emotion."""

    kind: Literal["heartbeat"] = "heartbeat"
    emotion: EmotionCurve = Field(description='an emotion, or a curve over seconds: "0: calm, 10: fear"')
    seconds: float = Field(10.0, gt=0, le=600, description="length")


@register("generator", "heartbeat")
class HeartbeatGenerator:
    """Two thuds per beat. It has no weights; other generators list theirs in ``checkpoints``, which the runner
    verifies."""

    @staticmethod
    def checkpoints(task: Heartbeat) -> tuple[str, ...]:
        return ()

    @classmethod
    def from_pretrained(cls, *names, device: str = "cpu") -> "HeartbeatGenerator":
        return cls()

    @staticmethod
    def reading(emotion: Emotion) -> str:
        return f"{70 + 50 * emotion.scaled()[1]:.0f} beats a minute"

    def render(self, task: Heartbeat, folder, manifest, progress):
        times = np.arange(round(task.seconds * RATE)) / RATE
        asked = task.emotion.sample(times)
        arousal = asked.vad[:, 1] * asked.intensity
        start = np.random.default_rng(task.seed).uniform()
        phase = (start + np.cumsum((70 + 50 * arousal) / 60 / RATE)) % 1  # of the beat
        thuds = sum(level * np.exp(-(((phase - at) / 0.05) ** 2)) for at, level in ((0.15, 1.0), (0.45, 0.6)))
        sound = 0.4 * (1 + 0.5 * arousal) * thuds * np.sin(2 * np.pi * 55 * times)
        write_audio(folder / "heartbeat.wav", sound.astype(np.float32), RATE, manifest)
        progress(1.0, "beating")
        return [folder / "heartbeat.wav"]


if __name__ == "__main__":
    from gen.cli import main

    raise SystemExit(main())
