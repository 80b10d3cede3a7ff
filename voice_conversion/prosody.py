"""Pitch, its range and pace of an emotion, as ratios to the same person's neutral reading of the same words.

Fitted to acted speech in which everybody says the same sentences in every emotion; t times, c = 8 canonical emotions.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen.emotion import lexicon
from gen.emotion.spec import CANONICAL, Samples
from voice_conversion.corpus import Clip, Corpus
from voice_conversion.features import HOP, PITCH, RATE, filled

MEASURES = ("height", "range", "pace")
RIDGE = 0.1
SPREAD = (0.5, 2.0)  # limits of the change in range, and
PACE = (0.75, 1.35)  # in pace


class Shift(NamedTuple):
    """How to change a reading; (t,) each."""

    height: np.ndarray  # octaves up
    range: np.ndarray  # factor on the distance from the median, in octaves
    pace: np.ndarray  # factor on the speed


def measure(hz: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """(n,) Hz and (n,) logarithm of the energy -> median log2 Hz, log2 of its spread, log2 of the seconds spoken."""
    voiced = np.log2(hz[hz > 0])
    if len(voiced) < 8:
        return np.full(3, np.nan)
    low, middle, high = np.quantile(voiced, [0.1, 0.5, 0.9])
    heard = np.flatnonzero(energy > np.quantile(energy, 0.95) - 3.5)
    return np.array([middle, np.log2(max(high - low, 0.03)), np.log2((heard[-1] - heard[0] + 1) * HOP / RATE)])


def measures(corpus: Corpus, clips: list[Clip]) -> np.ndarray:
    """(len(clips), 3) of :func:`measure`."""
    found = []
    for clip in clips:
        rows = corpus.rows(clip)
        energy = np.logaddexp.reduce(corpus.mel[rows].astype(np.float32), axis=1)
        found.append(measure(corpus.hz[rows], energy))
    return np.stack(found)


def shifts(corpus: Corpus, clips: list[Clip]) -> list[tuple[Clip, np.ndarray]]:
    """Every clip that is not neutral with its measures less those of its speaker's neutral readings of the words."""
    found, neutral = measures(corpus, clips), defaultdict(list)
    for clip, row in zip(clips, found):
        if clip.emotion == "neutral" and np.isfinite(row).all():
            neutral[clip.speaker, clip.text].append(row)
    return [
        (clip, row - np.mean(neutral[clip.speaker, clip.text], 0))
        for clip, row in zip(clips, found)
        if clip.emotion != "neutral" and (clip.speaker, clip.text) in neutral and np.isfinite(row).all()
    ]


class Prosody:
    """What each canonical emotion does at intensity 1, (8, 3): octaves, log2 of the range, log2 of the pace."""

    def __init__(self, table: np.ndarray):
        self.table = table
        points = lexicon.canonical()[0]
        gram = points.T @ points + RIDGE * np.eye(3)
        self.points, self.slope = points, np.linalg.solve(gram, points.T @ table)

    @classmethod
    def fit(cls, found: list[tuple[Clip, np.ndarray]]) -> "Prosody":
        """From :func:`shifts`: lines through zero, each corpus counting alike; what has no clips follows from VAD."""
        table, known = np.zeros((len(CANONICAL), 3)), [0]
        for index, name in enumerate(CANONICAL):
            slopes = []
            for group in sorted({clip.group for clip, _ in found}):
                own = [(c.level, d) for c, d in found if c.group == group and _canonical(c.emotion) == name]
                if own:
                    level, change = np.array([o[0] for o in own]), np.stack([o[1] for o in own])
                    slopes.append(level @ change / (level @ level))
            if slopes:
                table[index] = np.mean(slopes, 0) * np.array([1, 1, -1])  # seconds -> pace
                known.append(index)
        points = lexicon.canonical()[0]
        gram = points[known].T @ points[known] + RIDGE * np.eye(3)
        slope = np.linalg.solve(gram, points[known].T @ table[known])
        for index in set(range(len(CANONICAL))) - set(known):
            table[index] = points[index] @ slope
        return cls(table)

    def __call__(self, asked: Samples) -> Shift:
        """What a curve asks for at its times."""
        beyond = asked.vad - asked.weights @ self.points
        change = asked.intensity[:, None] * (asked.weights @ self.table + beyond @ self.slope)
        return Shift(change[:, 0], np.clip(2 ** change[:, 1], *SPREAD), np.clip(2 ** change[:, 2], *PACE))

    def save(self, path: Path) -> None:
        facts = {name: dict(zip(MEASURES, row.round(4).tolist())) for name, row in zip(CANONICAL, self.table)}
        path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Prosody":
        facts = json.loads(path.read_text(encoding="utf-8"))
        return cls(np.array([[facts[name][measure] for measure in MEASURES] for name in CANONICAL]))


def _canonical(emotion: str) -> str:
    return {"angry": "anger"}.get(emotion, emotion)


def moved(hz: np.ndarray, median: float, shift: Shift) -> np.ndarray:
    """A track (n,) in Hz, 0 unvoiced -> (n,) log2 Hz of the new one, also where there is no voice."""
    octave = filled(hz)
    new = median + shift.height + (octave - median) * shift.range
    return np.clip(new, np.log2(PITCH[0]), np.log2(PITCH[1])).astype(np.float32)
