"""What lips would do for voices without video: a ridge regression on what is alike in all voices.

It sees the kinds of sound the encoder tells, loudness and a coarse spectrum, each over two thirds of a second, and
learns from the one speaker who was filmed. Plain as it is, it carries over to other people better than the network
that learnt from the same speaker alone; so it teaches the network what to do for many voices.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from talking_head.motion.expression import SPEECH
from talking_head.motion.speech import BANDS, ROWS, SpeechEncoder
from talking_head.training.corpus import Clip, own_spectrum

AROUND = 8  # frames to either side
EDGES = (0, 8, 16, 24, 32, 44, 60, BANDS)  # of the coarse spectrum
RIDGE = 1e3
MOST = 1.6  # times that what it teaches is widened, since a regression is too tame


@torch.inference_mode()
def heard(encoder: SpeechEncoder, rows: np.ndarray) -> np.ndarray:
    """Rows (4 t, 80) of a whole clip -> (t, 23): shares of visemes, loudness, coarse spectrum."""
    rows = rows.astype(np.float32)
    usual = rows + encoder.mean_shift(*own_spectrum(rows)).numpy()
    shares = encoder(torch.from_numpy(usual)[None])[1][0].softmax(-1).numpy()
    level = rows.mean(1).reshape(-1, ROWS).mean(1)
    loud = ((level - np.percentile(level, 97) + 4) / 4).clip(-0.5, 1.3)
    fine = usual.reshape(-1, ROWS, BANDS).mean(1)
    coarse = np.stack([fine[:, a:b].mean(1) for a, b in pairwise(EDGES)], 1)
    return np.concatenate((shares, loud[:, None], coarse), 1)


def spread(values: np.ndarray) -> np.ndarray:
    """(t, f) -> (t, f (2 AROUND + 1)): each frame with its neighbours."""
    padded = np.pad(values, ((AROUND, AROUND), (0, 0)), mode="edge")
    return np.concatenate([padded[i : i + len(values)] for i in range(2 * AROUND + 1)], 1)


class Teacher:
    """Fitted on clips with motion; teaches the coefficients that speech moves, and leaves the others at rest."""

    def __init__(self, encoder: SpeechEncoder, clips: list[Clip]):
        self.encoder = encoder
        seen = np.concatenate([spread(heard(encoder, c.rows)) for c in clips]).astype(np.float32)
        wanted = np.concatenate([c.motion for c in clips]).astype(np.float32) * SPEECH
        self.mean, self.scale = seen.mean(0), seen.std(0) + 1e-3
        seen -= self.mean
        seen /= self.scale
        self.rest = wanted.mean(0)
        self.weights = np.linalg.solve(seen.T @ seen + RIDGE * np.eye(seen.shape[1]), seen.T @ (wanted - self.rest))
        made = (seen @ self.weights).std(0)
        self.weights *= np.clip(wanted.std(0) / np.maximum(made, 1e-4), 1, MOST) * SPEECH

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Rows of a whole clip -> (t, 52)."""
        seen = (spread(heard(self.encoder, rows)) - self.mean) / self.scale
        return (self.rest + seen @ self.weights).astype(np.float32)

    def taught(self, clip: Clip) -> Clip:
        return clip._replace(motion=self(clip.rows))
