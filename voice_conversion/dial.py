"""The map from the intensity that is asked for to the strength that the networks are told.

Fitted on speakers that nothing was trained on, so that what a judge hears rises evenly with intensity, and reaches at 1
what it hears in real acted speech.
"""

import json
from pathlib import Path

import numpy as np

from gen.emotion.spec import CANONICAL, Samples

INTENSITIES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
FILE = "dial.json"


class Dial:
    """For each canonical emotion the strengths (8, k) at INTENSITIES (k,), rising from 0."""

    def __init__(self, strengths: np.ndarray):
        self.strengths = strengths

    @classmethod
    def plain(cls) -> "Dial":
        """Strength is intensity."""
        return cls(np.tile(INTENSITIES, (len(CANONICAL), 1)))

    @classmethod
    def fit(cls, tried: np.ndarray, heard: np.ndarray, aim: np.ndarray) -> "Dial":
        """``tried`` (m,) strengths, ``heard`` (8, m) the judge's mean share of the emotion at each, rows of nan where it
        knows no such emotion; ``aim`` (8,) its mean share in real speech of that emotion.

        What is heard is made to rise first (isotonic regression); an emotion without a row gets the others' mean.
        """
        rows = np.full((len(CANONICAL), len(INTENSITIES)), np.nan)
        for index in np.flatnonzero(np.isfinite(heard).all(1)):
            curve = rising(heard[index]) + 1e-4 * np.arange(len(tried))
            wanted = curve[0] + np.array(INTENSITIES) * max(aim[index] - curve[0], 0.02)
            rows[index] = np.interp(wanted, curve, tried)
        rows[np.isnan(rows).any(1)] = np.nanmean(rows, 0)
        return cls(rows)

    def __call__(self, asked: Samples) -> Samples:
        """The same samples with strengths in place of intensities; a mixture has the mean of its parts' maps."""
        each = np.stack([np.interp(asked.intensity, INTENSITIES, row) for row in self.strengths], 1)
        total = asked.weights.sum(1, keepdims=True)
        shares = np.where(total > 1e-6, asked.weights / np.maximum(total, 1e-6), 1 / len(CANONICAL))
        return asked._replace(intensity=(each * shares).sum(1).astype(np.float32))

    def save(self, folder: Path) -> None:
        facts = {"intensity": INTENSITIES} | dict(zip(CANONICAL, self.strengths.round(3).tolist()))
        (folder / FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Dial":
        """What is in a checkpoint's folder; the plain one where there is none."""
        if not (folder / FILE).is_file():
            return cls.plain()
        facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return cls(np.array([facts[name] for name in CANONICAL]))


def rising(values: np.ndarray) -> np.ndarray:
    """The nearest values (m,) that never fall (pool adjacent violators)."""
    blocks: list[list[float]] = []
    for value in values:
        blocks.append([float(value), 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            before, size = blocks.pop()
            blocks.append([(mean * count + before * size) / (count + size), count + size])
    return np.repeat([mean for mean, _ in blocks], [size for _, size in blocks])
