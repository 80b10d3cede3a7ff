"""Reads piano music for the emotion embedding (``affekt.reader``): rows of numbers, one per second.

n notes as (n, 4): start s, end s, pitch, velocity. Nothing tells the key.
"""

from pathlib import Path

import numpy as np

from gen.emotion.embedding.features import HARMONY, PLAIN
from gen.errors import InputError
from gen.generator import Readable
from gen.media import read_midi
from music.keys import MAJOR, MINOR

LEAST = 1.0  # seconds
FEW = 3  # notes that say nothing


def read(path: Path) -> Readable:
    """The notes of a MIDI file without drums. Raises InputError if it has none."""
    notes = notes_of(path)

    def part(start: float, end: float) -> np.ndarray | None:
        own = notes[(notes[:, 0] >= start) & (notes[:, 0] < end)]
        return rows(own) if len(own) > FEW and np.ptp(own[:, :2]) >= LEAST else None

    return Readable(float(notes[:, 1].max()), part)


def notes_of(path: Path) -> np.ndarray:
    """Notes of a MIDI file as (n, 4): start s, end s, pitch, velocity; by start, then high to low; no drums."""
    score = read_midi(path).to("second")
    found = [(n.start, n.end, n.pitch, n.velocity) for t in score.tracks if not t.is_drum for n in t.notes]
    if not found:
        raise InputError(f"{path} holds nothing but drums: give music with pitched notes")
    notes = np.array(found, float)
    return notes[np.lexsort((-notes[:, 2], notes[:, 0]))]


def rows(notes: np.ndarray) -> np.ndarray:
    """Notes (n, 4) as start s, end s, pitch, velocity -> (seconds, 83) float32: what the notes that begin in each
    second are like: mean and spread of their height, loudness, timing and the whole's pace; pitch classes that sound
    along, within about two seconds, and in the whole, counted from each note itself; how many they are; and the
    harmony of the whole.
    """
    at = (notes[:, 0] - notes[:, 0].min()).astype(int)
    own, count = _note_rows(notes), np.bincount(at)
    total, square = np.zeros((len(count), own.shape[1])), np.zeros((len(count), PLAIN))
    np.add.at(total, at, own)
    mean = total / np.maximum(count, 1)[:, None]
    np.add.at(square, at, np.square(own[:, :PLAIN] - mean[at, :PLAIN]))
    spread = np.sqrt(square / np.maximum(count, 1)[:, None])
    whole = np.broadcast_to(_harmony(notes), (len(count), HARMONY))
    return np.concatenate([mean, spread, np.log1p(count)[:, None] / 2, whole], 1).astype(np.float32)


def _harmony(notes: np.ndarray) -> np.ndarray:
    """(n, 4) -> (22,): how well the best major and minor keys fit, and their difference; pitch classes above the
    tonic; which intervals sound together.
    """
    start, end, pitch, loud = notes[:600].T
    own = pitch.astype(int) % 12
    profile = np.bincount(own, np.clip(end - start, 0.03, 2) * loud, 12)
    profile = profile / profile.sum()
    uneven, keys = profile - 1 / 12, np.array([[np.roll(key, k) for k in range(12)] for key in (MAJOR, MINOR)])
    keys = keys - keys.mean(-1, keepdims=True)
    fit = keys @ uneven / np.linalg.norm(keys, axis=-1) / (np.linalg.norm(uneven) + 1e-6)  # a correlation
    degrees = np.roll(profile, -int(fit.max(0).argmax()))
    low, high = np.nonzero(np.triu((start < end[:, None]) & (end > start[:, None]), 1))
    apart = (own[low] - own[high]) % 12
    intervals = np.bincount(np.minimum(apart, 12 - apart), minlength=7) / max(len(low), 1)
    major, minor = fit.max(1)
    return np.concatenate([[major, minor, 2 * (major - minor)], 3 * np.sqrt(degrees), 2 * np.sqrt(intervals)])


def _note_rows(notes: np.ndarray) -> np.ndarray:
    """(n, 4) -> (n, PLAIN + 36)."""
    start, end, _, loud = notes.T
    span = max(end.max() - start.min(), 1.0)
    onsets = 1 + (np.diff(start) > 0.04).sum()
    held = np.clip(end - start, 0.03, 4.0).sum()
    whole = np.log(len(notes) / span), np.log(onsets / span), held / span / 3, (loud.mean() - 70) / 15
    features = note_features(notes)
    return np.insert(features, [features.shape[1] - 36] * len(whole), whole, axis=1)


def note_features(notes: np.ndarray) -> np.ndarray:
    """(n, 4) -> (n, 44): height, loudness, timing, and the pitch classes around, counted from the note itself.

    The surroundings are those that sound with the note, those within about two seconds, and the whole piece.
    """
    start, end, pitch, loud = notes.T
    held = np.clip(end - start, 0.03, 4.0)
    wait = np.clip(np.diff(start, prepend=start[0], append=start[-1]), 0.0, 4.0)
    apart = np.abs(start[:, None] - start)
    together = np.minimum(end[:, None], end) > np.maximum(start[:, None], start) - 0.03
    bass = np.where(apart < 0.6, pitch, 128).min(1)
    plain = (
        (pitch - 62) / 12,
        (loud - 75) / 20,
        (loud - loud.mean()) / 12,
        np.log(held) + 1,
        np.log(wait[:-1] + 0.03) + 2,
        np.log(wait[1:] + 0.03) + 2,
        np.diff(pitch, prepend=pitch[0]) / 12,
        (pitch - bass) / 12,
    )
    own = pitch.astype(int) % 12
    classes = np.eye(12)[own] * np.minimum(held, 1.5)[:, None]
    turned = (own[:, None] + np.arange(12)) % 12
    around = []
    for weight in (together, np.exp(-np.square(apart / 2)), np.ones((1, len(notes)))):
        total = weight @ classes
        share = np.sqrt(total / total.sum(1, keepdims=True))
        around.append(np.take_along_axis(np.broadcast_to(share, classes.shape), turned, axis=1))
    return np.concatenate([np.stack(plain, 1), *around], 1)
