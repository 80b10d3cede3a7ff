"""What a judge hears at some strengths of an emotion: what a calibration (:mod:`gen.emotion.calibration`) is fitted on.

Strength 1 is how strongly acted speech has the emotion, as the networks learned it; more is not always heard as more.
It is measured on speakers that nothing that converts was trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen.emotion.spec import EmotionCurve

if TYPE_CHECKING:
    from voice_conversion.corpus import Clip, Corpus
    from voice_conversion.judge import Judge
    from voice_conversion.pipeline import VoiceGenerator

TRIED = (0.0, 0.3, 0.6, 1.0, 1.5, 2.0)  # strengths; 0 is the recording


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
