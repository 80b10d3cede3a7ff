"""A performance laid on a phrase that its performer never said: pitch, pace and sound for every frame.

n frames of the phrase, K performances.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from voice_conversion.features import PITCH
from voice_conversion.performance.bank import Bank, predicted, seen
from voice_conversion.performance.phrase import Phrase, basis, smooth
from voice_conversion.performance.warp import align, resampled, sampled

PACE = (np.log(0.72), np.log(1.4))  # limits of the mean stretch of a phrase, and
LOCAL = (np.log(0.8), np.log(1.3))  # of what is local about it: beyond them words are lost
QUIET = (-5.5, -3.5)  # nepers below the loud frames: between them the sound's change fades in
HIGHEST = 1.8  # octaves above the speaker's median: upper limit of the pitch
WIDE = 1.0  # frames over which contours are smoothed, and
LOUDEST = 3.0  # nepers that no band is moved beyond
SOFT = 2.0  # changes of the sound, and
EVEN = 4.0  # the change of pitch, which leaves the speaker's own small movements


class Change(NamedTuple):
    """Changes of a phrase, frame by frame."""

    octave: np.ndarray  # (n,) log2 Hz that is to be heard
    stretch: np.ndarray  # (n,) seconds for a second
    bands: np.ndarray  # (n, 80) nepers


class Contours(NamedTuple):
    """A performance along a phrase, as strong as it was."""

    pitch: np.ndarray  # (n,) octaves above the speaker's median
    stretch: np.ndarray  # (n,) logarithm of seconds for a second
    change: np.ndarray  # (n, 20) cepstra


def sung(laid: Contours, own: Phrase, reading: np.ndarray, melody: np.ndarray) -> Contours:
    """The contours with another melody (m,) in octaves, whose sounds have the cepstra (m, 13); its height stays."""
    way = align(own.cepstra, [reading])[0]
    pitch = smooth(_along(way, melody), WIDE)
    return laid._replace(pitch=pitch - np.median(pitch) + np.median(laid.pitch))


def contours(bank: Bank, which: list[int], own: Phrase, median: float) -> list[Contours]:
    """Performances ``which`` of the bank along a phrase whose speaker's pitch has the ``median`` (log2 Hz)."""
    parts = [bank.performances[i] for i in which]
    step = bank.step
    heard = resampled(own.cepstra, max(len(own.hz) // step, 4))
    unique = sorted({part.reading for part in parts})
    ways = align(heard, [bank.readings[reading] for reading in unique], width=3.0 * 2 / step)
    found = []
    for part in parts:
        way = ways[unique.index(part.reading)]
        way = np.interp(np.linspace(0, len(way) - 1, len(own.hz)), np.arange(len(way)), way)
        along = partial(_along, way)
        pitch, stretch = smooth(along(part.pitch), WIDE), smooth(along(part.stretch), 3 * WIDE)
        stretch = paced(stretch)
        change = predicted(part.map, seen(own, pitch, median, stretch)) + along(part.rest)
        pitch = taken(pitch, own, median, *(bank.shares or {}).get(part.emotion, (1.0, 1.0)))
        pitch = own.octave - median + smooth(pitch - own.octave + median, EVEN)
        found.append(Contours(pitch, stretch, smooth(change, SOFT)))
    return found


def taken(pitch: np.ndarray, own: Phrase, median: float, lift: float, movement: float) -> np.ndarray:
    """A performance's pitch (n,) of which a share of the ``lift`` above the phrase's own height, and of the
    ``movement`` about its mean, is taken over.

    A voice that is lifted without the effort of a lifted voice is heard as afraid, whatever else is done to it."""
    voiced = own.hz > 0 if (own.hz > 0).any() else np.ones(len(own.hz), bool)
    mean, height = pitch[voiced].mean(), own.octave[voiced].mean() - median
    return height + lift * (mean - height) + movement * (pitch - mean)


def paced(stretch: np.ndarray) -> np.ndarray:
    """Logarithms of a stretch (n,) within the limits."""
    mean = stretch.mean()
    return np.clip(mean, *PACE) + np.clip(stretch - mean, *LOCAL)


def _along(way: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A curve (m, ...) at the places ``way`` (n,), 0 to 1."""
    return sampled(x, way * (len(x) - 1))


def changed(own: Phrase, median: float, laid: Contours, intensity: np.ndarray | float) -> Change:
    """The change that a performance makes to a phrase at an intensity (n,) or one: the voice keeps its power,
    sounds without a voice their spectrum."""
    intensity = np.broadcast_to(np.asarray(intensity, float), (len(own.hz),))
    octave = own.octave + intensity * (median + laid.pitch - own.octave)
    octave = np.clip(octave, np.log2(PITCH[0]), np.minimum(np.log2(PITCH[1]), median + HIGHEST))
    stretch = np.exp(paced(intensity * laid.stretch))
    bands = (intensity[:, None] * laid.change) @ basis().T
    bands = LOUDEST * np.tanh(bands / LOUDEST)
    voiced = smooth((own.hz > 0).astype(float), 1.0)[:, None] * np.interp(own.level, QUIET, (0.0, 1.0))[:, None]
    before = np.exp(2 * own.mel)
    power = float((voiced * before).sum()), float((voiced * before * np.exp(2 * bands)).sum())
    bands = bands - 0.5 * np.log(max(power[1], 1e-12) / max(power[0], 1e-12))
    return Change(octave.astype(np.float32), stretch, (voiced * bands).astype(np.float32))
