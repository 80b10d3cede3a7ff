"""Valence and arousal labels of passages for training: EMOPIA's labels, transferred to unlabelled music.

A ridge-regularised logistic regression on features of the notes gives each window two probabilities. On EMOPIA the
annotator's sign is kept and the probability gives only the degree; elsewhere features are standardised within their
corpus, so a label reads "for this repertoire". The judge of :mod:`music.evaluation.judge` does not use it.
"""

import json
from pathlib import Path

import numpy as np

from gen.emotion.spec import Emotion, EmotionCurve, Keyframe, Samples
from gen.emotion.track import EmotionTrack
from music.keys import MAJOR, MINOR

CORNER = 0.6  # of valence and arousal where a quadrant is named, Q1 to Q4


def features(notes: np.ndarray) -> np.ndarray:
    """(n, 4) notes in seconds -> (34,) of pace, loudness, register, length, texture, mode and intervals."""
    start, end, pitch, velocity = notes.T
    span = max(end.max() - start.min(), 1.0)
    onsets = start[np.concatenate(([True], np.diff(start) > 0.04))]
    gaps = np.log(np.diff(onsets).clip(0.04, 4)) if len(onsets) > 1 else np.zeros(1)
    length = np.log((end - start).clip(0.03, 8))
    profile = np.bincount(pitch.astype(int) % 12, weights=(end - start).clip(0, 2) * velocity, minlength=12)
    profile = profile / profile.sum()
    keys = np.array([[np.corrcoef(np.roll(t, k), profile)[0, 1] for k in range(12)] for t in (MAJOR, MINOR)])
    keys = np.nan_to_num(keys)
    major, minor = keys.max(1)
    tonic = np.argmax(keys.max(0))
    degrees = np.roll(profile, -tonic)
    together = (
        (start[None] < end[:, None]) & (end[None] > start[:, None]) if len(notes) < 600 else np.eye(len(notes)) > 0
    )
    low, high = np.nonzero(np.triu(together, 1))
    classes = np.abs(pitch[low] - pitch[high]).astype(int) % 12
    intervals = np.bincount(np.minimum(classes, 12 - classes), minlength=7)[:7] / max(len(low), 1)
    return np.array(
        [
            np.log(len(notes) / span),
            np.log(len(onsets) / span),
            gaps.mean(),
            gaps.std(),
            velocity.mean(),
            velocity.std(),
            np.percentile(velocity, 90),
            pitch.mean(),
            pitch.std(),
            np.percentile(pitch, 5),
            np.percentile(pitch, 95),
            (pitch < 48).mean(),
            (pitch > 76).mean(),
            length.mean(),
            length.std(),
            (end - start).sum() / span,
            major,
            minor,
            major - minor,
            -(profile * np.log(profile + 1e-9)).sum(),
            degrees[3] - degrees[4],
            degrees[8] - degrees[9],
            degrees[10] - degrees[11],
            degrees[1] + degrees[6],
            len(notes) / len(onsets),
            velocity[pitch < 55].mean() if (pitch < 55).any() else velocity.mean(),
            np.abs(np.diff(pitch)).mean() if len(pitch) > 1 else 0.0,
            *intervals,
        ]
    )


class Logistic:
    """Binary logistic regression with an L2 penalty, by Newton's method. x (n, f), y (n,) in {0, 1}."""

    def __init__(self, x: np.ndarray, y: np.ndarray, penalty: float = 10.0, steps: int = 20):
        x = np.column_stack((x, np.ones(len(x))))
        self.weight = np.zeros(x.shape[1])
        ridge = np.full(x.shape[1], penalty)
        ridge[-1] = 1e-6
        for _ in range(steps):
            p = 1 / (1 + np.exp(-x @ self.weight))
            slope = x.T @ (p - y) + ridge * self.weight
            curve = (x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge)
            self.weight = self.weight - np.linalg.solve(curve, slope)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, f) -> (n,) probabilities."""
        return 1 / (1 + np.exp(-(x @ self.weight[:-1] + self.weight[-1])))


class Labeller:
    """Valence and arousal in [-1, 1] from features; fitted on labelled clips, kept as JSON."""

    def __init__(self, x: np.ndarray, quadrant: np.ndarray):
        """x (n, f) features, quadrant (n,) in 1..4."""
        self.mean, self.spread = x.mean(0), x.std(0) + 1e-6
        z = (x - self.mean) / self.spread
        self.valence = Logistic(z, np.isin(quadrant, (1, 4)).astype(float))
        self.arousal = Logistic(z, np.isin(quadrant, (1, 2)).astype(float))
        self.gain = np.arctanh(np.median(np.abs(self(x)), axis=0).clip(0, 0.99)) / CORNER

    def save(self, path: Path) -> None:
        weights = {"valence": self.valence.weight, "arousal": self.arousal.weight}
        values = {"mean": self.mean, "spread": self.spread, "gain": self.gain} | weights
        path.write_text(json.dumps({name: value.tolist() for name, value in values.items()}))

    @classmethod
    def load(cls, path: Path) -> "Labeller":
        values = {name: np.array(value) for name, value in json.loads(path.read_text()).items()}
        self = cls.__new__(cls)
        self.mean, self.spread, self.gain = values["mean"], values["spread"], values["gain"]
        for name in ("valence", "arousal"):
            logistic = Logistic.__new__(Logistic)
            logistic.weight = values[name]
            setattr(self, name, logistic)
        return self

    def __call__(self, x: np.ndarray, scale: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
        """(n, f) -> (n, 2) valence, arousal; ``scale`` is the mean and spread of another repertoire than EMOPIA."""
        mean, spread = scale or (self.mean, self.spread)
        z = ((x - mean) / spread).clip(-4, 4)
        return np.column_stack((self.valence(z), self.arousal(z))) * 2 - 1

    def asked(self, points: np.ndarray) -> np.ndarray:
        """Valence and arousal (n, 2) as people name them -> the estimates (n, 2) that such music gets.

        A quadrant's corner comes to the median clip of training, whose estimates are near 1 for arousal.
        """
        return np.tanh(self.gain * points)


def anchored(estimate: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """(n, 2) estimates of labelled clips -> the same, in the half that the annotator chose: 0.3 at least, 1 at most."""
    return sign * (0.3 + 0.7 * (estimate * sign + 1) / 2)


def signs(quadrant: int) -> np.ndarray:
    """(2,) the signs of valence and arousal in a quadrant 1..4."""
    return np.array([1 if quadrant in (1, 4) else -1, 1 if quadrant in (1, 2) else -1])


def curve_of(feeling: np.ndarray, dominance: float = 0.0) -> EmotionCurve:
    """(bars, 2) valence and arousal -> a curve that holds each value until it changes."""
    changes = np.concatenate(([0], 1 + np.flatnonzero(np.any(np.diff(feeling, axis=0) != 0, axis=1))))
    points = [(float(bar), Emotion(vad=(*map(float, feeling[bar]), dominance))) for bar in changes]
    return EmotionCurve(
        keyframes=tuple(Keyframe(at=at, emotion=emotion, ease="hold") for at, emotion in points), unit="bars"
    )


def points_of(asked: Samples | EmotionTrack) -> np.ndarray:
    """(n, 2) the valence and arousal that is asked for in each of n bars."""
    return (asked.vad * asked.intensity[:, None])[:, :2].clip(-1, 1)
