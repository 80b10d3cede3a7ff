"""What intensity means for one checkpoint: the map from what is asked for to how strongly its networks are told.

More told is not always more seen or heard, and each emotion has its own end. A calibration is measured: a judge's
responses at some strengths, made to rise, are spread so that what can be felt rises evenly up to an intensity of 1 and
slower up to 2. It is kept as ``calibration.json`` in the checkpoint's folder; without one, strength is intensity.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gen.emotion.spec import CANONICAL
from gen.emotion.track import EmotionTrack

FILE = "calibration.json"
INTENSITIES = np.arange(9) / 4
RISE = (0.0, 0.85, 1.0)  # how much of what can be felt is, at intensities 0, 1 and 2
SLOPE = 1e-3  # of a response with the strength, at least: so that it can be inverted


class Calibration:
    """For each canonical emotion the strengths (8, 9) at INTENSITIES, rising from 0; neutral's is the others' mean."""

    def __init__(self, strengths: np.ndarray):
        self.strengths = np.asarray(strengths, float)

    @classmethod
    def linear(cls, gain: float = 1.0) -> "Calibration":
        """Strength is ``gain`` times intensity, for every emotion."""
        return cls(np.tile(gain * INTENSITIES, (len(CANONICAL), 1)))

    @classmethod
    def fit(cls, tried: Sequence[float], responses: Mapping[str, Sequence[float]]) -> "Calibration":
        """From the responses (m,) of a judge to each emotion at the strengths ``tried`` (m,), the first of them 0.

        What lies beyond the strongest response is left out, and the rest made to rise. Emotions without responses get
        the mean of the others.
        """
        rows = {name: _fitted(np.asarray(tried, float), np.asarray(heard)) for name, heard in responses.items()}
        mean = np.mean([*rows.values()], 0)
        return cls(np.stack([rows.get(name, mean) if name != "neutral" else mean for name in CANONICAL]))

    def __call__(self, track: EmotionTrack) -> EmotionTrack:
        """The track at the strengths that its intensities ask for; a mix has the weighted mean of its emotions'."""
        shares = np.abs(track.weights)
        each = np.stack([np.interp(track.intensity, INTENSITIES, row) for row in self.strengths], -1)  # (t, 8)
        return track.at_intensity((shares * each).sum(-1) / shares.sum(-1))

    def save(self, folder: Path) -> None:
        rows = dict(zip(CANONICAL, self.strengths.round(4).tolist()))
        facts = json.dumps({"intensity": INTENSITIES.tolist(), "strength": rows}, indent=1)
        (Path(folder) / FILE).write_text(facts + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Calibration":
        """What is in a checkpoint's folder; the linear one where there is none."""
        path = Path(folder) / FILE
        if not path.is_file():
            return cls.linear()
        rows = json.loads(path.read_text(encoding="utf-8"))["strength"]
        return cls(np.array([rows[name] for name in CANONICAL]))


def _fitted(tried: np.ndarray, response: np.ndarray) -> np.ndarray:
    """(9,) the strengths at which the risen response reaches its shares."""
    from scipy.optimize import isotonic_regression

    most = int(np.argmax(response)) or len(response) - 1
    tried = tried[: most + 1]
    curve = isotonic_regression(response[: most + 1]).x + SLOPE * tried
    shares = np.interp(INTENSITIES, range(3), RISE)
    return np.interp(curve[0] + shares * (curve[-1] - curve[0]), curve, tried)
