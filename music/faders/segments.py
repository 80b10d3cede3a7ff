"""Bars of a piece as sequences of notes, and their attributes: what the faders move.

n notes of a bar, high to low at each position. A row is (wait, pitch, length, velocity) as ids of :data:`FIELDS`;
``wait`` counts sixteenths since the onset before (from the bar line for the first), its last id ends the bar.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from music.keys import MAJOR, MINOR
from music.tokens import POSITIONS, Grid, apart

LOWEST, KEYS = 21, 88
LOUDNESS = 4  # velocities that share an id
FIELDS = (POSITIONS + 1, KEYS, POSITIONS + 1, 128 // LOUDNESS)  # ids of wait, pitch, length, velocity
END = POSITIONS  # the wait that ends a bar
MOST = 48  # notes of a bar
LEAST = 3
REST, ONSET, HOLD = range(3)  # rhythm of a sixteenth
VOICES = 16  # classes of how many notes sound in a sixteenth
AROUND = 2  # bars before and after that tell a bar's key


class Attributes(NamedTuple):
    """The faders' attributes of bars: (b,) onsets per beat, and (b,) mean number of simultaneous notes."""

    rhythm: np.ndarray
    notes: np.ndarray


def bars_of(grid: Grid) -> list[np.ndarray]:
    """The notes (n, 4) of each bar: position in the bar, pitch, length in sixteenths, velocity."""
    lines = np.searchsorted(grid.notes[:, 0], np.arange(len(grid.tempo) + 1) * POSITIONS)
    parts = [grid.notes[a:b].copy() for a, b in pairwise(lines)]
    for bar, notes in enumerate(parts):
        notes[:, 0] -= bar * POSITIONS
    return parts


def joined(bars: list[np.ndarray], grid: Grid) -> Grid:
    """Bars in a row, with tempo and chords of ``grid``; notes that sound on end where their pitch is struck again."""
    shifted = [notes + np.array([bar * POSITIONS, 0, 0, 0]) for bar, notes in enumerate(bars)]
    notes = np.concatenate(shifted) if shifted else np.zeros((0, 4))
    return grid._replace(notes=apart(notes[np.lexsort((-notes[:, 1], notes[:, 0]))]))


def rows_of(notes: np.ndarray) -> np.ndarray:
    """A bar's notes (n, 4) -> ids (n, 4); the end is not among them."""
    wait = np.diff(notes[:, 0], prepend=0)
    length = np.where(notes[:, 2] < 0.75, 0, notes[:, 2].round().clip(1, POSITIONS))
    columns = wait, (notes[:, 1] - LOWEST).clip(0, KEYS - 1), length, notes[:, 3] // LOUDNESS
    return np.stack(columns, 1).astype(np.int64)


def notes_of(rows: np.ndarray) -> np.ndarray:
    """Ids (n, 4), up to the first end -> a bar's notes (n, 4)."""
    ends = np.flatnonzero(rows[:, 0] == END)
    rows = rows[: ends[0]] if len(ends) else rows
    length = np.where(rows[:, 2] == 0, 0.5, rows[:, 2])
    velocity = rows[:, 3] * LOUDNESS + LOUDNESS // 2
    return np.stack((np.cumsum(rows[:, 0]), rows[:, 1] + LOWEST, length, velocity), 1).astype(float)


def roll(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids (b, n, 4) of bars -> onsets (b, 16) bool, and how many notes sound (b, 16), all within the bar."""
    b, n = rows.shape[:2]
    ended = np.cumsum(rows[..., 0] == END, 1) > 0
    start = np.cumsum(np.where(ended, 0, rows[..., 0]), 1).clip(0, POSITIONS - 1)
    stop = np.minimum(start + np.maximum(rows[..., 2], 1), POSITIONS)
    here = np.broadcast_to(np.arange(b)[:, None], (b, n))
    change, onset = np.zeros((b, POSITIONS + 1), int), np.zeros((b, POSITIONS), bool)
    np.add.at(change, (here[~ended], start[~ended]), 1)
    np.add.at(change, (here[~ended], stop[~ended]), -1)
    onset[here[~ended], start[~ended]] = True
    return onset, change.cumsum(1)[:, :POSITIONS]


def attributes(rows: np.ndarray) -> Attributes:
    """Ids (b, n, 4), padded with ends -> what the faders say."""
    onset, sounding = roll(rows)
    return Attributes(onset.mean(1) * 4, sounding.mean(1))


def rhythm(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids (b, n, 4) -> rhythm classes (b, 16) and note counts (b, 16) below VOICES: what the sub-decoders tell."""
    onset, sounding = roll(rows)
    return np.where(onset, ONSET, np.where(sounding > 0, HOLD, REST)), sounding.clip(0, VOICES - 1)


def padded(bars: list[np.ndarray], size: int = MOST) -> tuple[np.ndarray, np.ndarray]:
    """Ids (n_i, 4) of bars -> ids (b, size + 1, 4) with ends after them, and lengths (b,) with one end each."""
    rows = np.zeros((len(bars), size + 1, 4), np.int64)
    rows[..., 0] = END
    for at, bar in enumerate(bars):
        rows[at, : len(bar)] = bar
    return rows, np.array([len(bar) + 1 for bar in bars])


def keys_of(bars: list[np.ndarray]) -> np.ndarray:
    """Notes of each bar -> (b, 24) how well the music around fits the 12 major and 12 minor keys: the three best of
    Krumhansl's correlations, summing to 1 (as the paper keeps three of music21's)."""
    profile = np.array([np.bincount(x[:, 1].astype(int) % 12, weights=x[:, 2], minlength=12) for x in bars])
    near = np.array([profile[max(b - AROUND, 0) : b + AROUND + 1].sum(0) for b in range(len(bars))])
    near = near - near.mean(1, keepdims=True)
    scale = np.linalg.norm(near, axis=1, keepdims=True).clip(1e-9)
    templates = np.array(
        [np.roll(k - k.mean(), t) / np.linalg.norm(k - k.mean()) for k in (MAJOR, MINOR) for t in range(12)]
    )
    fit = (near / scale @ templates.T).clip(0)
    fit[fit < np.sort(fit, 1)[:, -3:-2]] = 0
    total = fit.sum(1, keepdims=True)
    return np.where(total > 0, fit / total.clip(1e-9), 1 / 24).astype(np.float32)


def may_be_moved(notes: np.ndarray) -> bool:
    """True if the faders can change a bar: bars with very few or very many notes are unchanged."""
    return LEAST <= len(notes) <= MOST
