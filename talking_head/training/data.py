"""Training windows: speech with motion and visemes, and motion alone."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talking_head.motion.emote.model import STYLES
from talking_head.motion.speech import BANDS, ROWS, SpeechEncoder
from talking_head.training.corpus import Clip, own_spectrum

FRAMES = 64  # of a window


class Batch(NamedTuple):
    """b windows of t frames; the last ``len(visemes)`` have visemes."""

    rows: Tensor  # (b, 4 t, 80)
    motion: Tensor  # (b, t, 52)
    visemes: Tensor  # (v, t, 15)
    style: Tensor  # (b,)


class Windows:
    """Endless random windows of the training clips.

    ``shares``: windows of each source in a batch; a source with visemes comes last.
    """

    def __init__(self, clips: list[Clip], encoder: SpeechEncoder, shares: dict[str, int], seed: int):
        self.random, self.shares = np.random.default_rng(seed), shares
        self.clips = {name: [c for c in clips if c.source == name and length(c) >= 24] for name in shares}
        self.weight = {name: np.array([length(c) for c in own], float) for name, own in self.clips.items()}
        self.shift = {}
        for own in self.clips.values():
            for clip in own:
                if len(clip.rows):
                    self.shift[clip.name] = encoder.mean_shift(*own_spectrum(clip.rows)).numpy()

    def batch(self, augment: bool = True) -> Batch:
        rows, motion, visemes, style = [], [], [], []
        for name, count in self.shares.items():
            for i in self.random.choice(len(self.clips[name]), count, p=self.weight[name] / self.weight[name].sum()):
                clip = self.clips[name][i]
                start = int(self.random.integers(0, max(1, length(clip) - FRAMES + 1)))
                part = slice(start, start + FRAMES)
                own = window(clip.rows[start * ROWS : (start + FRAMES) * ROWS], FRAMES * ROWS)
                own = own + self.shift[clip.name]
                rows.append(varied(own, self.random) if augment else own)
                motion.append(window(clip.motion[part], FRAMES))
                style.append(STYLES.index("grid") if name == "grid" and i % 2 else STYLES.index("voices"))
                if len(clip.visemes):
                    visemes.append(window(clip.visemes[part], FRAMES))
        as_tensor = lambda items: torch.from_numpy(np.stack(items).astype(np.float32))
        return Batch(as_tensor(rows), as_tensor(motion), as_tensor(visemes), torch.tensor(style))

    def motion(self, count: int) -> Tensor:
        """(count, t, 52) windows of motion, sources drawn by their shares."""
        names = [n for n in self.shares if len(self.clips[n][0].motion)]
        odds = np.array([self.shares[n] for n in names], float)
        picked = []
        for name in self.random.choice(names, count, p=odds / odds.sum()):
            clip = self.clips[name][self.random.choice(len(self.clips[name]))]
            start = int(self.random.integers(0, max(1, length(clip) - FRAMES + 1)))
            picked.append(window(clip.motion[start : start + FRAMES], FRAMES))
        return torch.from_numpy(np.stack(picked).astype(np.float32))


def length(clip: Clip) -> int:
    return max(len(clip.motion), len(clip.visemes))


def window(values: np.ndarray, size: int) -> np.ndarray:
    """The values, padded with their last row to ``size``."""
    return np.concatenate((values, np.repeat(values[-1:], size - len(values), 0))).astype(np.float32)


def varied(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Augmented log-mel rows: vocal tract length, tilt, echo, a lost treble, noise, gaps."""
    bands = np.arange(BANDS)
    if random.random() < 0.8:
        place = np.clip(bands * random.uniform(0.85, 1.18) + random.uniform(-1.5, 1.5), 0, BANDS - 1)
        low = np.minimum(place.astype(int), BANDS - 2)
        rows = rows[:, low] * (1 - (place - low)) + rows[:, low + 1] * (place - low)
    curve = np.interp(bands, np.linspace(0, BANDS - 1, 6), random.normal(0, 0.35, 6))
    rows = rows + curve + random.normal(0, 0.2)
    if random.random() < 0.3:
        rows = echoed(rows, random.uniform(0.04, 0.2), random.uniform(2.5, 5.0))
    if random.random() < 0.2:
        rows[:, random.integers(BANDS // 2, BANDS) :] -= random.uniform(1, 5)
    noise = random.uniform(-11.5, -6.0) + random.normal(0, 0.4, rows.shape) - 0.02 * bands * random.random()
    rows = np.logaddexp(rows, noise) if random.random() < 0.6 else rows
    if random.random() < 0.5:
        at, n = random.integers(0, BANDS - 10), random.integers(2, 10)
        rows[:, at : at + n] = rows.mean()
    return rows


def echoed(rows: np.ndarray, fall: float, below: float) -> np.ndarray:
    """Rows (n, 80) with a tail that falls by ``fall`` nepers a row and begins ``below`` nepers under each row."""
    made, tail = rows.copy(), rows[0] - fall
    for i in range(1, len(rows)):
        made[i] = np.logaddexp(rows[i], tail - below)
        tail = np.logaddexp(tail, rows[i]) - fall
    return made
