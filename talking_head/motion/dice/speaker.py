"""The motion model in the place of EMOTE: the same call, the same options, for the same renderer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from gen.emotion.resolve import resolve
from gen.emotion.spec import EmotionCurve
from talking_head.face.basis import FaceBasis
from talking_head.motion import life
from talking_head.motion.dice.generate import FPS, SCALES, DiceMotion, How
from talking_head.motion.dice.hearing import Heard, hear, rows_of, whole
from talking_head.motion.expression import strength
from talking_head.motion.speaker import Motion, contact, loudness, recorded, sealed, steadied
from talking_head.motion.speech import ROWS

USUAL = 0.25  # head_motion at which heads move as drawn, which is little: who was filmed sat still for three seconds
TREMBLE = 0.7  # frames that lips are smoothed over


def how(emotion_scale: float = 1.0, steps: int = 8) -> How:
    """A way to draw motion with a guidance by emotion."""
    return How(steps, SCALES | {"emotion": emotion_scale})


class DiceSpeaker:
    """A trained motion model and the face basis that says where lips are."""

    def __init__(self, motion: DiceMotion, basis: FaceBasis):
        self.motion, self.basis = motion, basis

    @classmethod
    def load(cls, names: Sequence[str], basis: FaceBasis, device: str = "cpu") -> Self:
        """The speaker of the checkpoint ``names[0]``."""
        return cls(DiceMotion.load(names[0], device), basis)

    def speak(self, samples: np.ndarray, curve: EmotionCurve, **options) -> Motion:
        """Mono samples at 16 kHz -> round(seconds * 25) frames of motion; ``options`` as of :meth:`from_rows`."""
        return self.from_rows(recorded(samples), curve, **options)

    def from_rows(self, rows, curve: EmotionCurve, *, seed: int = 0, head_motion: float = 0.6, blinks: bool = True,
                  emotion_scale: float = 1.0, steps: int = 8,
                  progress: Callable[[float], None] = lambda done: None) -> Motion:  # fmt: skip
        """:meth:`speak` for log-mel rows (4 n, 80) of a whole recording."""
        heard = whole(self.motion.speech, torch.as_tensor(rows, dtype=torch.float32))
        curve = resolve(curve)
        made = self.motion.whole(heard.features, curve, seed, how(emotion_scale, steps), progress)
        level = loudness(heard.rows)
        coefs = self._met(made, heard, level)
        asked = curve.sample(np.arange(len(made)) / FPS)
        amount = strength(torch.from_numpy(asked.intensity)).numpy()[:, None] * asked.weights
        turns = head_motion / USUAL * self._turned(made) + head_motion * carried(amount)
        coefs = life.enliven(coefs, level, seed, blinks).clip(-0.1, 1.1)
        return Motion(coefs, turns.astype(np.float32), self._closed(heard, level))

    def stream(self, samples: Iterable[np.ndarray], curve: EmotionCurve, *, seed: int = 0, emotion_scale: float = 1.0,
               steps: int = 8) -> Iterator[Motion]:  # fmt: skip
        """Pieces of mono sound at 16 kHz as they come -> pieces of motion, without blinks, as soon as they are sure."""
        waiting: list[Heard] = []

        def features() -> Iterator[Tensor]:
            for piece in hear(self.motion.speech, rows_of(samples)):
                waiting.append(piece)
                yield piece.features

        for made in self.motion.stream(features(), curve, seed, how(emotion_scale, steps)):
            heard = Heard(*(torch.cat(parts) for parts in zip(*waiting, strict=True)))
            n = len(made)
            waiting[:] = [Heard(heard.features[n:], heard.closed[n:], heard.rows[n * ROWS :])]
            part = Heard(heard.features[:n], heard.closed[:n], heard.rows[: n * ROWS])
            level = loudness(part.rows)
            yield Motion(self._met(made, part, level), self._turned(made), self._closed(part, level))

    def _met(self, made: np.ndarray, heard: Heard, level: np.ndarray) -> np.ndarray:
        """Coefficients (n, 52) without trembling, whose lips meet where they must."""
        from scipy.ndimage import gaussian_filter1d

        calm = gaussian_filter1d(made[:, :52], TREMBLE, axis=0, mode="nearest")
        return sealed(steadied(calm), self._closed(heard, level), self.basis)

    def _closed(self, heard: Heard, level: np.ndarray) -> np.ndarray:
        return contact(heard.closed.numpy()) * (level > 0.05)

    def _turned(self, made: np.ndarray) -> np.ndarray:
        """(n, 3) rotation vectors of the head, without trembling."""
        from scipy.ndimage import gaussian_filter1d

        return gaussian_filter1d(made[:, 52:55], 1.5, axis=0, mode="nearest")


def carried(amount: np.ndarray) -> np.ndarray:
    """(n, 8) of the canonical emotions by strength -> (n, 3) how the head is held with them."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(amount @ life.CARRIAGE, 8, axis=0, mode="nearest")
