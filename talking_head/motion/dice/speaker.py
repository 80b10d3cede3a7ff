"""Speech by diffused motion: lips, brows and head depend on the seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from gen import checkpoints
from gen.emotion.calibration import Calibration
from talking_head.face.basis import FaceBasis
from talking_head.motion.dice.generate import STEPS, DiceMotion
from talking_head.motion.dice.hearing import whole
from talking_head.motion.layer import Expression
from talking_head.motion.speaker import Said, Speaker

USUAL = 0.25  # head_motion at which the head moves as in the training clips, in which it moves little
TREMBLE = 0.7  # frames, deviation of the smoothing of the lips


class DiceSpeaker(Speaker):
    """A trained :class:`DiceMotion` with an expression layer."""

    def __init__(
        self,
        motion: DiceMotion,
        expression: Expression | None,
        basis: FaceBasis,
        calibration: Calibration | None = None,
    ):
        super().__init__(expression, basis, calibration or Calibration.linear())
        self.motion = motion

    @classmethod
    def load(cls, names: Sequence[str], basis: FaceBasis, device: str = "cpu") -> Self:
        """Load the checkpoint ``names[0]``."""
        expression = checkpoints.load(names[0], Expression, "expression").to(device)
        calibration = Calibration.load(checkpoints.folder(names[0]))
        return cls(DiceMotion.load(names[0], device), expression, basis, calibration)

    def _say(self, rows, told, samples, seed, progress, steps: int = STEPS) -> Said:
        heard = whole(self.motion.speech, rows)
        made = self.motion.whole(heard.features, seed, steps, progress)
        return Said(_calm(made[:, :52], TREMBLE), heard.closed.numpy(), _calm(made[:, 52:55], 1.5) / USUAL)


def _calm(values: np.ndarray, frames: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(values, frames, axis=0, mode="nearest")
