"""The embedding's perception of voices, batched: samples -> shares of the emotions and an embedding."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import soxr
import torch
from torch import Tensor

from gen.emotion.embedding import features
from gen.emotion.embedding.ear import embedder
from gen.emotion.embedding.network import TERMS, EmotionEmbedder, Reference, collate
from gen.emotion.spec import EMBEDDING

SEVEN = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
TOGETHER = 32  # recordings per batch


class Heard(NamedTuple):
    """The perception of n recordings."""

    probabilities: np.ndarray  # (n, 7) over SEVEN, calibrated, summing to 1
    terms: np.ndarray  # (n, 10) over all terms: the seven, contempt, calm and bored
    mu: np.ndarray  # (n, e) mean in the embedding
    log_var: np.ndarray  # (n, e)
    known: np.ndarray  # (n,) 0..1 probability of speech, against music, a song or noise


class Recogniser:
    """An embedder applied to voices."""

    def __init__(self, model: EmotionEmbedder):
        self.model = model

    @classmethod
    @lru_cache(maxsize=2)
    def load(cls, name: str = EMBEDDING, ear: str = "compact") -> "Recogniser":
        """Loads one of :data:`gen.emotion.embedding.ear.EARS`: "whisper" needs the checkpoint whisper-base."""
        return cls(embedder(name, ear))

    def reference(self, recordings: Sequence[np.ndarray], rate: int = features.RATE) -> Reference:
        """A speaker's baseline from recordings (s,), such as the neutral recording to be converted."""
        return Reference(self.vectors(recordings, rate).mean(0, keepdim=True), torch.tensor([len(recordings)]))

    @torch.inference_mode()
    def vectors(self, recordings: Sequence[np.ndarray], rate: int = features.RATE) -> Tensor:
        """The voice encoder's outputs for recordings (s,): (n, v)."""
        rows = [torch.from_numpy(self.model.voice.rows(_at_rate(own, rate))) for own in recordings]
        parts = [collate(rows[i : i + TOGETHER]) for i in range(0, len(rows), TOGETHER)]
        return torch.cat([self.model.voice(*part)[1] for part in parts])

    @torch.inference_mode()
    def __call__(
        self, recordings: Sequence[np.ndarray], reference: Reference | None = None, rate: int = features.RATE
    ) -> Heard:
        """Perceives recordings (s,) at ``rate`` Hz, mono, any level, all of the speaker of ``reference``. Raises
        :class:`InputError` if one is silent.
        """
        heard = self.vectors(recordings, rate)
        known = reference and Reference(*(own.expand(len(heard), *own.shape[1:]) for own in reference))
        place = self.model(known, heard)
        terms = self.model.probabilities(self.model.read(place.mu), reference is not None)[0].numpy()
        seven = terms[:, [TERMS.index(name) for name in SEVEN]]
        return Heard(
            seven / seven.sum(1, keepdims=True),
            terms,
            place.mu.numpy(),
            place.log_var.numpy(),
            self.model.known(heard).numpy(),
        )


def _at_rate(samples: np.ndarray, rate: int) -> np.ndarray:
    return samples if rate == features.RATE else soxr.resample(samples, rate, features.RATE)
