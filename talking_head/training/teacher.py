"""Labels of lip motion for voices without video: a ridge regression on features of Whisper.

The lower blocks of Whisper base (MIT, ``affekt checkpoints pull whisper-base``) depend little on the voice, so that the
regression generalises from one filmed speaker to other people better than a network trained on the same speaker. Its
labels train the network; none of Whisper's weights are kept. t frames, f = 1025 features.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gen import checkpoints
from gen.whisper import Whisper
from talking_head.motion.expression import SPEECH
from talking_head.motion.speech import FRAME, RATE

BLOCKS = (1, 2)  # of Whisper's encoder, from 0; higher ones generalise worse to other people
AROUND = (-2, 0, 2)  # frames
PIECE = 20 * RATE  # samples per call of Whisper
LOUD = 0.06  # root mean square of a recording's loud parts
RIDGE = 3e4
MOST = 1.6  # largest factor of the amplitude, which a regression makes too small


class Ears:
    """Features per motion frame: Whisper's lower blocks and the level."""

    def __init__(self, name: str | Path = "whisper-base"):
        self.whisper = Whisper(checkpoints.folder(name) / "model.bin", max(BLOCKS) + 1)

    def __call__(self, samples: np.ndarray, count: int) -> np.ndarray:
        """Mono samples at 16 kHz -> (count, f), each row from the 40 ms of its frame."""
        samples = np.pad(samples, (0, max(0, count * FRAME - len(samples))))[: count * FRAME]
        size = np.abs(samples)
        samples = samples * np.float32(LOUD / np.sqrt(np.square(samples[size >= 0.02 * size.max()]).mean() + 1e-9))
        heard = []
        for at in range(0, len(samples), PIECE):
            blocks = self.whisper(samples[at : at + PIECE])
            heard.append(np.concatenate([blocks[i] for i in BLOCKS], 1))
        fine = np.concatenate(heard)
        fine = np.pad(fine, ((0, max(0, 2 * count - len(fine))), (0, 0)), mode="edge")[: 2 * count]
        level = 10 * np.log10(np.square(samples).reshape(count, FRAME).mean(1) + 1e-6)
        return np.concatenate((fine.reshape(count, 2, -1).mean(1), level[:, None]), 1).astype(np.float32)


def spread(values: np.ndarray) -> np.ndarray:
    """(t, f) -> (t, 3 f): each frame with its neighbours."""
    most = max(AROUND)
    padded = np.pad(values, ((most, most), (0, 0)), mode="edge")
    return np.concatenate([padded[most + k : most + k + len(values)] for k in AROUND], 1)


class Teacher:
    """Fitted on recordings with motion; predicts the coefficients that speech moves, the others are at rest."""

    def __init__(self, ears: Ears, lessons: Iterable[tuple[np.ndarray, np.ndarray]]):
        """``lessons``: samples at 16 kHz and motion (t, 52)."""
        self.ears = ears
        heard, motion = zip(*((spread(ears(samples, len(moved))), moved) for samples, moved in lessons))
        seen, wanted = np.concatenate(heard), np.concatenate(motion).astype(np.float32) * SPEECH
        self.mean, self.scale = seen.mean(0), seen.std(0) + 1e-3
        seen -= self.mean
        seen /= self.scale
        self.rest = wanted.mean(0)
        even = RIDGE * np.eye(seen.shape[1], dtype=np.float32)
        self.weights = np.linalg.solve(seen.T @ seen + even, seen.T @ (wanted - self.rest))
        made = (seen @ self.weights).std(0)
        self.weights *= np.clip(wanted.std(0) / np.maximum(made, 1e-4), 1, MOST) * SPEECH

    def __call__(self, samples: np.ndarray, count: int) -> np.ndarray:
        """Mono samples at 16 kHz -> (count, 52)."""
        seen = (spread(self.ears(samples, count)) - self.mean) / self.scale
        return (self.rest + seen @ self.weights).astype(np.float32)
