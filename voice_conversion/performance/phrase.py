"""A recording as frames: what performances are measured on, and what they are laid on.

n frames of 256 samples at 22,050 Hz (86.1 a second), 80 mel bands, 13 cepstra to align by, 20 that a performance
changes.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from voice_conversion.features import BANDS, HOP, RATE

CEPSTRA = 13  # of a frame, that alignment and prediction see
CHANGED = 20  # of a frame, that a performance changes
FPS = RATE / HOP
ACTIVE = 4.0  # nepers below the loud frames: quieter frames are no speech
FAINT = 3.2  # nepers below the loud frames: a quieter pitch is taken for breath or noise
EDGE = 4  # frames kept before the first and after the last active one
CONSONANT = 14  # frames before the first and after the last voiced one that may belong to the speech
FOLD = 25  # frames of the running median that octave errors are measured against, and
LEAP = 0.85  # octaves away from it that make one


class Phrase(NamedTuple):
    """Frames of one stretch of speech."""

    mel: np.ndarray  # (n, 80) natural logarithm
    hz: np.ndarray  # (n,) 0 where there is no voice
    octave: np.ndarray  # (n,) log2 Hz, interpolated where there is no voice, without leaps of an octave
    cepstra: np.ndarray  # (n, 13) their mean over the active frames removed
    level: np.ndarray  # (n,) nepers against the loud frames

    def part(self, first: int, last: int) -> Phrase:
        return Phrase(*(value[first:last] for value in self))


@functools.cache
def basis() -> np.ndarray:
    """(80, 20) orthonormal cosines: a mel times this is its cepstra, changes of those times its transpose are bands."""
    place = (np.arange(BANDS)[:, None] + 0.5) * np.arange(CHANGED) * np.pi / BANDS
    found = np.cos(place) * np.sqrt(2 / BANDS)
    found[:, 0] /= np.sqrt(2)
    return found.astype(np.float32)


def phrase(mel: np.ndarray, hz: np.ndarray) -> Phrase:
    """Mel (n, 80) and pitch (n,) -> the frames of the whole."""
    mel = mel.astype(np.float32)
    level = np.logaddexp.reduce(mel, axis=1)
    level -= np.quantile(level, 0.95)
    hz = np.where(level > -FAINT, hz, 0).astype(np.float32)
    first, last = ends(level, hz)
    cepstra = mel @ basis()[:, :CEPSTRA]
    return Phrase(mel, hz, unfolded(hz), cepstra - cepstra[first:last].mean(0), level)


def ends(level: np.ndarray, hz: np.ndarray) -> tuple[int, int]:
    """First frame of speech, and the one after its last, with a few frames around: breath and noise before the first
    and after the last voice are left out."""
    active = level > -ACTIVE
    if (hz > 0).any():
        voiced = np.flatnonzero(hz > 0)
        active[: max(voiced[0] - CONSONANT, 0)] = active[voiced[-1] + CONSONANT + 1 :] = False
    active = np.flatnonzero(active)
    return max(int(active[0]) - EDGE, 0), min(int(active[-1]) + 1 + EDGE, len(level))


def unfolded(hz: np.ndarray) -> np.ndarray:
    """(n,) Hz or 0 -> log2 Hz everywhere; what leaps an octave from its surroundings is brought back."""
    from scipy.ndimage import median_filter

    from voice_conversion.features import filled

    voiced = hz > 0
    if voiced.sum() < 4:
        return filled(hz)
    octave = np.log2(hz[voiced])
    away = octave - median_filter(octave, min(FOLD, len(octave)), mode="nearest")
    octave = octave - np.where(np.abs(away) > LEAP, np.round(away), 0)
    fixed = hz.astype(np.float32).copy()
    fixed[voiced] = 2**octave
    return filled(fixed)


def smooth(x: np.ndarray, frames: float) -> np.ndarray:
    """Along the first axis, by a Gaussian of ``frames`` standard deviation."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(x, frames, axis=0, mode="nearest") if frames else x
