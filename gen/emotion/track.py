"""A curve sampled at given times, as numbers and as a path through the shared embedding: the input of conditioners.

t times, e = 256 width of the embedding. For words, mixes and points the embedding is that of the priors
(:class:`gen.emotion.embedding.priors.Priors`): analytic, and continuous in mix and intensity. For clips and
user-defined emotions the path goes through their own embeddings.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gen.emotion import lexicon
from gen.emotion.spec import Embedding, Emotion, EmotionCurve
from gen.notes import note

FAINT = 0.25  # intensity below which an embedding's difference from its prior is not scaled up further


class EmotionTrack(NamedTuple):
    """float32 arrays; ``vad`` is the point at intensity 1, ``embedding`` the embedding at the emotion's intensity."""

    weights: np.ndarray  # (t, 8) over CANONICAL
    vad: np.ndarray  # (t, 3)
    intensity: np.ndarray  # (t,)
    embedding: np.ndarray  # (t, e)
    known: np.ndarray  # (t,) share of the embedding that comes from clips or user-defined emotions

    def part(self, rows: slice | np.ndarray) -> "EmotionTrack":
        """The track at some of its times."""
        return EmotionTrack(*(values[rows] for values in self))

    def at_intensity(self, intensity: np.ndarray) -> "EmotionTrack":
        """The track at other intensities (t,): the embedding moves along the line through neutral."""
        from gen.emotion.embedding.priors import shared

        neutral = shared().mean[0].numpy()
        ratio = np.divide(intensity, self.intensity, out=np.zeros(len(intensity)), where=self.intensity > 0)
        embedding = (neutral + ratio[:, None] * (self.embedding - neutral)).astype(np.float32)
        return self._replace(intensity=np.asarray(intensity, np.float32), embedding=embedding)

    def nearer(self, share: np.ndarray | float) -> "EmotionTrack":
        """The track whose embedding differs from the prior of its numbers by a ``share`` (t,) of the difference, where
        a clip's own manner would mislead. Unchanged where the difference is 0."""
        missing = (1 - np.broadcast_to(share, self.intensity.shape))[:, None]
        return self._replace(embedding=(self.embedding - missing * self.beyond()).astype(np.float32))

    def restated(self, vad: np.ndarray) -> "EmotionTrack":
        """The track with the numbers of points (t, 3) at intensity 1; the embedding's difference from the prior of its
        numbers is kept."""
        found = plain(lexicon.posterior(vad), np.ones(len(vad)), vad)
        return found._replace(embedding=found.embedding + self.beyond(), known=self.known)

    def opposite(self) -> "EmotionTrack":
        """The mirror image through neutral, at intensity 1, for negative guidance. Neutral's opposite is neutral."""
        mirrored = self.restated(-np.clip(self.vad * self.intensity[:, None], -1, 1))
        return mirrored._replace(embedding=mirrored.embedding - 2 * self.beyond())

    def in_numbers(self) -> "EmotionTrack":
        """The track for conditioners that use only numbers: the point moves by the embedding's difference from its
        prior, through the inverse of the priors' slope over points, and the weights move as the points' posteriors do.
        Where the point is out of range at this intensity, the intensity rises. Unchanged where the difference is 0.
        """
        if not np.any(self.known):
            return self
        from gen.emotion.embedding.priors import shared

        moved = self.beyond() @ np.linalg.pinv(shared().slope.numpy())
        unit = self.vad + moved / np.maximum(self.intensity, FAINT)[:, None]
        most = 1 / np.clip(self.intensity, FAINT, 1)
        over = np.clip(np.abs(unit).max(1), 1, most)  # beyond the range of points at intensity 1
        vad = np.clip(unit / over[:, None], -1, 1).astype(np.float32)
        weights = self.weights + (lexicon.posterior(vad) - lexicon.posterior(self.vad))
        intensity = (self.intensity * over).astype(np.float32)
        return self._replace(weights=weights.astype(np.float32), vad=vad, intensity=intensity)

    def beyond(self) -> np.ndarray:
        """(t, e) difference of the embedding from the prior of its numbers; exactly 0 where ``known`` is 0."""
        here = self.known > 0
        if not here.any():
            return np.broadcast_to(np.zeros(1, np.float32), self.embedding.shape)
        gap = self.embedding - _prior(self.weights, self.vad, self.intensity)
        return np.where(here[:, None], gap, np.float32(0))


def track(curve: EmotionCurve, times: Sequence[float]) -> EmotionTrack:
    """Samples a resolved curve (:func:`gen.emotion.resolve.resolve`) at ``times`` (t,) in its own unit.

    Raises ``ValueError`` for an unresolved curve of a file.
    """
    steady = len(curve.keyframes) == 1
    numbers = curve.sample(times[:1] if steady else times)
    known = np.zeros(len(numbers.intensity), np.float32)
    found = EmotionTrack(*numbers, _prior(*numbers), known)
    if any(key.embedding for key in curve.keyframes):
        beyond = [_beyond(key.emotion, key.embedding) for key in curve.keyframes]
        share = np.array([key.embedding.known if key.embedding else 0.0 for key in curve.keyframes])
        here = times[:1] if steady else times
        moved = found.embedding + found.intensity[:, None] * curve.interpolate(np.stack(beyond), here)
        found = found._replace(embedding=moved, known=curve.interpolate(share, here))
    if steady:
        return EmotionTrack(*(np.broadcast_to(x[:1], (len(times), *x.shape[1:])) for x in found))
    return found


def note_unreached(curve: EmotionCurve, seconds: float) -> None:
    """Notes a last keyframe, given by the user, that is after the end of a recording."""
    last = curve.keyframes[-1]
    if last.at > seconds and not last.embedding:
        note(f"the recording ends at {seconds:.1f} s: the keyframe at {last.at:g} s is not reached")


def plain(weights: np.ndarray, intensity: np.ndarray, vad: np.ndarray | None = None) -> EmotionTrack:
    """A track of numbers only: weights (t, 8), intensity (t,), and points (t, 3) if they differ from the weights'."""
    weights, intensity = np.asarray(weights, np.float32), np.asarray(intensity, np.float32)
    vad = (weights @ lexicon.canonical()[0] if vad is None else np.asarray(vad)).astype(np.float32)
    return EmotionTrack(weights, vad, intensity, _prior(weights, vad, intensity), np.zeros_like(intensity))


def _beyond(emotion: Emotion, embedding: Embedding | None) -> np.ndarray:
    """(e,) difference of a keyframe's embedding from its emotion's prior, at intensity 1."""
    prior = unit_prior(emotion)
    return np.zeros_like(prior) if embedding is None else np.asarray(embedding.mean, np.float32) - prior


def unit_prior(emotion: Emotion) -> np.ndarray:
    """(e,) prior of an emotion at intensity 1."""
    return _prior(*(np.asarray(x, np.float32)[None] for x in (emotion.weights(), emotion.point(), 1.0)))[0]


def _prior(weights: np.ndarray, vad: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    import torch

    from gen.emotion.embedding.priors import shared

    if not len(weights):
        return np.zeros((0, shared().mean.shape[1]), np.float32)
    inputs = (torch.as_tensor(np.array(x, np.float32)) for x in (weights, vad, intensity))
    return shared()(*inputs).numpy()
