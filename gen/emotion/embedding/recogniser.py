"""How voices sound to the embedding: from samples to shares of the emotions and a place in the space, many at once."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import soxr
import torch

from gen import checkpoints
from gen.emotion.embedding import features
from gen.emotion.embedding.network import TERMS, EmotionEmbedder, Reference, collate
from gen.emotion.spec import EMBEDDING

SEVEN = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
TOGETHER = 32  # recordings in a batch


class Heard(NamedTuple):
    """What is heard in n recordings."""

    probabilities: np.ndarray  # (n, 7) over SEVEN, calibrated, summing to 1
    terms: np.ndarray  # (n, 10) over all terms: the seven, contempt, calm and bored
    mu: np.ndarray  # (n, e) place in the embedding
    log_var: np.ndarray  # (n, e)


class Recogniser:
    """An embedder that reads voices."""

    def __init__(self, model: EmotionEmbedder):
        self.model = model

    @classmethod
    @lru_cache(maxsize=2)
    def load(cls, name: str = EMBEDDING) -> "Recogniser":
        return cls(checkpoints.load(name, EmotionEmbedder).float().eval())

    def reference(self, recordings: Sequence[np.ndarray], rate: int = features.RATE) -> Reference:
        """What is known of a speaker from recordings (s,), such as the neutral one that is to be changed."""
        means = [features.steps("voice", _rows(own, rate)).mean(0) for own in recordings]
        return Reference(torch.from_numpy(np.mean(means, 0))[None], torch.tensor([len(means)]))

    @torch.inference_mode()
    def __call__(self, recordings: Sequence[np.ndarray], reference: Reference | None = None,
                 rate: int = features.RATE) -> Heard:  # fmt: skip
        """Recordings (s,) at ``rate`` Hz, mono, any level, all of the speaker of ``reference``. Raises
        :class:`InputError` where one is silent.
        """
        steps = [torch.from_numpy(features.steps("voice", _rows(own, rate))) for own in recordings]
        found = []
        for start in range(0, len(steps), TOGETHER):
            part = steps[start : start + TOGETHER]
            known = reference and Reference(*(own.expand(len(part), *own.shape[1:]) for own in reference))
            place = self.model(known, voice=collate(part))
            terms = self.model.probabilities(self.model.read(place.mu), reference is not None)[0]
            found.append((terms, *place))
        terms, mu, log_var = (torch.cat(own).numpy() for own in zip(*found))
        seven = terms[:, [TERMS.index(name) for name in SEVEN]]
        return Heard(seven / seven.sum(1, keepdims=True), terms, mu, log_var)


def _rows(samples: np.ndarray, rate: int) -> np.ndarray:
    return features.voice(samples if rate == features.RATE else soxr.resample(samples, rate, features.RATE))
