"""EMOPIA's labelled clips, the one split that training, judge and evaluation share, and variations of clips."""

import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Clip(NamedTuple):
    """One labelled EMOPIA clip: its file, song, quadrant (1..4) and part of the split."""

    path: Path
    song: str
    quadrant: int
    part: str


def part_of_song(song: str) -> str:
    """The split by song: 15 % test, 8 % valid, the rest train; a pure function of the song's name."""
    bucket = int(hashlib.sha256(song.encode()).hexdigest(), 16) % 100
    return "test" if bucket < 15 else "valid" if bucket < 23 else "train"


def emopia(data: Path) -> list[Clip]:
    """All EMOPIA clips under ``data`` (the folder that holds ``emopia/labels.csv``)."""
    with open(data / "emopia" / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Clip(data / "emopia" / row["file"], row["song"], int(row["quadrant"][1]), part_of_song(row["song"]))
        for row in rows
    ]


def vary(notes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same emotion played otherwise: transposed, faster, louder, only a part, every second time on a grid."""
    moved = notes.copy()
    moved[:, 2] = np.clip(moved[:, 2] + rng.integers(-5, 6), 21, 108)
    moved[:, :2] *= np.exp(rng.uniform(-0.08, 0.08))
    moved[:, 3] = np.clip(moved[:, 3] + rng.normal(0, 4), 1, 127)
    length, first, last = rng.uniform(15, 45), moved[0, 0], moved[-1, 0]
    begin = rng.uniform(first - 5, max(first + 1, last - length + 5))
    part = moved[(moved[:, 0] >= begin) & (moved[:, 0] < begin + length)]
    part = part if len(part) >= 24 else moved[:1200]
    return snap(part, 15 / rng.uniform(70, 160)) if rng.random() < 0.5 else part


def snap(notes: np.ndarray, step: float) -> np.ndarray:
    """Notes on a grid of ``step`` seconds, at most 16 steps long, velocities in threes, as tokens have them."""
    start = np.rint(notes[:, 0] / step)
    length = np.clip(np.rint((notes[:, 1] - notes[:, 0]) / step), 1, 16)
    loud = np.rint(notes[:, 3] / 3) * 3
    snapped = np.stack([start * step, (start + length) * step, notes[:, 2], loud], axis=1)
    return snapped[np.lexsort((-snapped[:, 2], snapped[:, 0]))]
