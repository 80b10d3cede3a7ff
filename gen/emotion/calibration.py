"""Intensity calibration of a checkpoint: maps the requested intensity to the conditioning strength of its networks.

A stronger condition does not always produce a stronger expression, and the useful range differs between emotions. A
calibration is measured: a judge's responses at several strengths are made monotone and inverted, so that the response
rises linearly up to intensity 1 and more slowly up to 2. It is stored as ``calibration.json`` in the checkpoint's
folder; without it, strength equals intensity.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen.emotion.spec import CANONICAL
from gen.emotion.track import EmotionTrack

FILE = "calibration.json"
INTENSITIES = np.arange(9) / 4
RISE = (0.0, 0.85, 1.0)  # target response, as a share of the strongest one, at intensities 0, 1 and 2
SLOPE = 1e-3  # minimum slope of the response over the strength, so that it can be inverted


class Calibration:
    """Strengths (8, 9) of the canonical emotions at INTENSITIES, rising from 0; neutral has the mean of the others."""

    def __init__(self, strengths: np.ndarray):
        self.strengths: np.ndarray = np.asarray(strengths, float)

    @classmethod
    def linear(cls, gain: float = 1.0) -> "Calibration":
        """Strength is ``gain`` times intensity, for every emotion."""
        return cls(np.tile(gain * INTENSITIES, (len(CANONICAL), 1)))

    @classmethod
    def fit(cls, tried: Sequence[float], responses: Mapping[str, Sequence[float]]) -> "Calibration":
        """Fits a judge's responses (m,) to each emotion at the strengths ``tried`` (m,), of which the first is 0.

        Strengths beyond the strongest response are dropped, and the rest is made monotone. Emotions without responses
        get the mean of the others.
        """
        rows = {name: _fitted(np.asarray(tried, float), np.asarray(heard)) for name, heard in responses.items()}
        mean: np.ndarray = np.stack([*rows.values()]).mean(0)
        return cls(np.stack([rows.get(name, mean) if name != "neutral" else mean for name in CANONICAL]))

    def __call__(self, track: EmotionTrack) -> EmotionTrack:
        """The track at the calibrated strengths; a mix uses the weighted mean of its emotions' strengths."""
        shares = np.abs(track.weights)
        each: list[np.ndarray] = [np.interp(track.intensity, INTENSITIES, row) for row in self.strengths]
        return track.at_intensity((shares * np.stack(each, -1)).sum(-1) / shares.sum(-1))

    def save(self, folder: Path) -> None:
        rows = dict(zip(CANONICAL, self.strengths.round(4).tolist()))
        facts = json.dumps({"intensity": INTENSITIES.tolist(), "strength": rows}, indent=1)
        (Path(folder) / FILE).write_text(facts + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Calibration":
        """Loads the calibration of a checkpoint's folder; the identity if there is none."""
        path = Path(folder) / FILE
        if not path.is_file():
            return cls.linear()
        rows = json.loads(path.read_text(encoding="utf-8"))["strength"]
        return cls(np.array([rows[name] for name in CANONICAL]))


def _fitted(tried: NDArray[np.float64], response: np.ndarray) -> np.ndarray:
    """(9,) strengths at which the monotone response reaches its targets."""
    from scipy.optimize import isotonic_regression  # pyright: ignore[reportMissingTypeStubs]

    most = int(np.argmax(response)) or len(response) - 1
    tried = tried[: most + 1]
    rising: Any = isotonic_regression(response[: most + 1])
    curve: NDArray[np.float64] = rising.x + SLOPE * tried
    targets: NDArray[np.float64] = curve[0] + np.interp(INTENSITIES, range(3), RISE) * (curve[-1] - curve[0])
    return np.interp(targets, curve, tried)
