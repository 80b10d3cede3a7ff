"""Performance of a point of valence, arousal and dominance by an emotion.

Performances are of six emotions. A point, given as such or perceived in a clip, is performed by the emotion on whose
line from neutral it lies nearest, at the intensity of its foot on that line: the strength falls steadily towards
neutral, and calm, for which there are no performances, is neutral speech. Where words are perceived in a clip beside
its point, as in voices and faces, they count as well, and the intensity is that perceived.
"""

from __future__ import annotations

import numpy as np

from gen.emotion import lexicon
from gen.emotion.embedding.priors import shared
from gen.emotion.spec import CANONICAL, QUADRANTS, Embedding, Emotion, EmotionCurve, Keyframe
from gen.emotion.track import track, unit_prior
from gen.notes import note
from voice_conversion.performance.bank import Bank
from voice_conversion.task import LEAST

AXES = np.array([1.0, 1.0, 0.25])  # weights of squared distances: listeners tell dominance least
MOST = 2.0  # intensity
WORDS = 0.2  # squared distance that an emotion's whole share of the words perceived in a clip makes up for
FAR = 0.3  # from neutral: what is performed as neutral speech though it is farther away is noted
NEUTRAL = Emotion(mix={"neutral": 1.0})


def performed(curve: EmotionCurve, bank: Bank) -> EmotionCurve:
    """The resolved curve in which emotions of the bank stand for those that are given by a point or come from clips
    alone. Words and mixes stay as they are."""
    return curve.model_copy(update={"keyframes": tuple(_performed(key, bank) for key in curve.keyframes)})


def nearest(point: np.ndarray, bank: Bank, words: np.ndarray | None = None) -> tuple[str, float]:
    """The emotion of the bank on whose line from neutral a point (3,) lies nearest, and the intensity of its foot.
    ``words``: weights (8,) over the canonical emotions that make their lines nearer."""
    names = sorted({one.emotion for one in bank.performances})
    which = [CANONICAL.index(name) for name in names]
    means = lexicon.canonical()[0][which]
    foot = np.clip((AXES * means * point).sum(1) / (AXES * means * means).sum(1), 0, MOST)
    apart = (AXES * (foot[:, None] * means - point) ** 2).sum(1)
    best = int((apart if words is None else apart - WORDS * words[which]).argmin())
    return names[best], float(foot[best])


def _performed(key: Keyframe, bank: Bank) -> Keyframe:
    given, embedding = key.emotion, key.embedding
    if given.vad is None and (embedding is None or embedding.known < 1):
        return key
    asked = track(EmotionCurve(keyframes=(key,)), [key.at]).in_numbers()
    point = asked.intensity[0] * asked.vad[0]
    worded = any(term not in QUADRANTS for term, _ in given.mix or ())
    name, intensity = nearest(point, bank, given.weights() if worded else None)
    if worded:
        intensity = float(asked.intensity[0] * (1 - given.weights()[0]))
    elif intensity < LEAST and np.hypot(*point[:2]) > FAR:
        note(f"no performances are near v={point[0]:.2f} a={point[1]:.2f}: the speech stays neutral there")
    emotion = Emotion(mix={name: 1.0}, intensity=round(np.clip(intensity, 0, MOST), 3))
    emotion = emotion if intensity >= LEAST else NEUTRAL
    placed = _placed(given, embedding, emotion) if embedding else None
    return key.model_copy(update={"emotion": emotion, "embedding": placed})


def _placed(given: Emotion, embedding: Embedding, emotion: Emotion) -> Embedding:
    """A clip's embedding relative to another emotion: what it has beyond the ``given`` words and its own point."""
    slope = shared().slope.numpy()
    beyond = np.array(embedding.mean) - unit_prior(given)
    beyond = beyond - beyond @ np.linalg.pinv(slope) @ slope
    return embedding.model_copy(update={"mean": tuple((unit_prior(emotion) + beyond).tolist())})
