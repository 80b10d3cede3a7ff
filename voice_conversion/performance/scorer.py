"""The small recogniser that chooses among performances: what emotion a changed recording is heard as.

Its encoder is that of the embedding's voices (:mod:`gen.emotion.embedding.voice`), taught anew on renderings of
performances by a recogniser on Whisper's blocks (:mod:`voice_conversion.training.scorer`): one that has heard
recordings only is fooled by renderings.

b batch, n rows of 20 ms, s samples, k recordings, v width of a vector.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor, nn

from gen.emotion.embedding import features
from gen.emotion.embedding.network import collate
from gen.emotion.embedding.recogniser import SEVEN
from gen.emotion.embedding.voice import VoiceEncoder
from voice_conversion.eight_bits import packed, unpacked

FILE = "scorer.safetensors"


class Scorer(nn.Module):
    """An encoder of voices and a head that compares a recording with a neutral one of the same speaker."""

    def __init__(self, out: int = 192, dropout: float = 0.1, hidden: int = 128):
        super().__init__()
        self.encoder = VoiceEncoder(out=out, dropout=dropout)
        self.head = nn.Sequential(
            nn.LayerNorm(2 * out),
            nn.Dropout(2 * dropout),
            nn.Linear(2 * out, hidden),
            nn.GELU(),
            nn.Dropout(2 * dropout),
            nn.Linear(hidden, len(SEVEN)),
        )

    def save(self, folder: Path) -> None:
        """Write ``scorer.safetensors``, matrices in 8 bits."""
        from safetensors.torch import save_file

        save_file(packed(self.state_dict()), folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Scorer:
        """Read the file of :meth:`save`."""
        from safetensors.torch import load_file

        model = cls()
        model.load_state_dict(unpacked(load_file(folder / FILE)))
        return model.eval()

    def forward(self, vectors: Tensor, reference: Tensor) -> Tensor:
        """Vectors (b v) and those of the speakers' neutral speech (b v) -> logits (b 7) over SEVEN."""
        return self.head(torch.cat((vectors, vectors - reference), -1))

    def vectors(self, rows: list[Tensor]) -> Tensor:
        """Rows (n 68) of each -> (b v)"""
        return self.encoder(*collate(rows))[1]

    @torch.inference_mode()
    def reference(self, samples: np.ndarray, rate: int) -> Tensor:
        """Vector of a speaker's neutral speech: (s,) -> (v,)"""
        return self.vectors([rows(samples, rate)])[0]

    @torch.inference_mode()
    def shares(self, recordings: list[np.ndarray], reference: Tensor, rate: int) -> np.ndarray:
        """Recordings (s,) against a reference -> shares (k, 7) over SEVEN."""
        heard = self.vectors([rows(own, rate) for own in recordings])
        return self(heard, reference.expand_as(heard)).softmax(1).numpy()


def rows(samples: np.ndarray, rate: int) -> Tensor:
    """(s,) -> (n, 68)"""
    at = samples if rate == features.RATE else soxr.resample(samples, rate, features.RATE)
    return torch.from_numpy(features.voice(at))
