"""The map from the intensity that is asked for to the strength that the networks are told.

Strength 1 is how strongly acted speech has the emotion, as the networks learned it; more is not always heard as more.
The map is fitted on speakers that nothing that converts was trained on: what a judge hears rises evenly up to an
intensity of 1, and slower up to 2, where it is the most that any strength gives.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen.emotion.spec import EmotionCurve, Samples

if TYPE_CHECKING:
    from voice_conversion.corpus import Clip, Corpus
    from voice_conversion.judge import Judge
    from voice_conversion.pipeline import VoiceGenerator

TRIED = (0.0, 0.3, 0.6, 1.0, 1.5, 2.0)  # strengths; 0 is the recording
INTENSITIES = tuple(np.arange(9) / 4)
RISE = (0.0, 0.85, 1.0)  # how much of what can be heard is, at intensities 0, 1 and 2
FILE = "dial.json"


class Dial:
    """The strengths (9,) at INTENSITIES, rising from 0."""

    def __init__(self, strengths: np.ndarray):
        self.strengths = strengths

    @classmethod
    def plain(cls) -> Dial:
        """Strength is intensity."""
        return cls(np.array(INTENSITIES))

    @classmethod
    def fit(cls, tried: np.ndarray, heard: np.ndarray) -> Dial:
        """From the judge's mean share of the emotion asked for (m,) at some strengths (m,), made to rise first."""
        import torch

        from gen.emotion.embedding.mixture import isotonic

        most = int(np.argmax(heard)) or len(heard) - 1
        tried = np.array(tried[: most + 1])
        curve = isotonic(torch.as_tensor(heard[: most + 1])).numpy() + 1e-3 * tried
        shares = np.interp(INTENSITIES, range(3), RISE)
        return cls(np.interp(curve[0] + shares * (curve[-1] - curve[0]), curve, tried))

    def __call__(self, asked: Samples) -> Samples:
        """The same samples with strengths in place of intensities."""
        return asked._replace(intensity=np.interp(asked.intensity, INTENSITIES, self.strengths).astype(np.float32))

    def save(self, folder: Path) -> None:
        facts = {"intensity": INTENSITIES, "strength": self.strengths.round(3).tolist()}
        (folder / FILE).write_text(json.dumps(facts) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Dial:
        """What is in a checkpoint's folder; the plain one where there is none."""
        if not (folder / FILE).is_file():
            return cls.plain()
        return cls(np.array(json.loads((folder / FILE).read_text(encoding="utf-8"))["strength"]))


def turns(clips: list[Clip], random: np.random.Generator) -> list[Clip]:
    """The clips in random order, speakers taking turns."""
    queues = [[c for c in clips if c.speaker == speaker] for speaker in sorted({c.speaker for c in clips})]
    queues = [[queue[i] for i in random.permutation(len(queue))] for queue in queues]
    longest = max(map(len, queues), default=0)
    return [queue[i] for i in range(longest) for queue in queues if i < len(queue)]


def heard(corpus: Corpus, clips: list[Clip], speaks: VoiceGenerator, judge: Judge) -> np.ndarray:
    """(m,) the judge's mean share of the emotion asked for, over emotions and neutral ``clips``, at each of TRIED."""
    from voice_conversion.judge import EMOTIONS

    shares = np.zeros((len(EMOTIONS) - 1, len(clips), len(TRIED)))
    for i, clip in enumerate(clips):
        samples = corpus.samples(clip)
        shares[:, i, 0] = judge.hear(samples)[1:]
        for k, name in enumerate(EMOTIONS[1:]):
            for at, strength in enumerate(TRIED[1:], 1):
                made = speaks.convert(samples, EmotionCurve.parse(f"{name} @ {strength:g}"))
                shares[k, i, at] = judge.hear(made)[k + 1]
    return shares.mean((0, 1))
