"""Measures of a conversion that need no judge: pitch leaps, sibilants, loudness."""

import numpy as np
import soxr
import torch

from gen.loudness import loudness
from voice_conversion import features
from voice_conversion.features import HOP, RATE

LEAP = 0.6  # octaves between neighbouring voiced frames
HIGH = 0.02  # seconds on either side
LOUD = 3.5  # nepers below the loud frames: quieter ones are no sibilants


def plain(samples: np.ndarray, rate: int) -> np.ndarray:
    """(c, s) or (s,) at any rate -> one channel at 22,050 Hz, whole frames."""
    return features.cut(soxr.resample(np.atleast_2d(samples).mean(0), rate, RATE).astype(np.float32))


def leaps(samples: np.ndarray) -> float:
    """Share of voiced frames (s,) at which the pitch leaps by about an octave and back within 0.2 s."""
    hz = features.track(samples)
    octave, voiced = features.filled(hz), hz > 0
    step = np.abs(np.diff(octave)) > LEAP
    inside = voiced[1:] & voiced[:-1] & step
    return float(inside.sum() / max(voiced.sum(), 1))


def sibilants(source: np.ndarray, made: np.ndarray) -> float:
    """dB by which the mean spectrum of loud frames without a voice changed above 2 kHz, of (s,) and (t,); nan where
    there are hardly any."""
    means = []
    for samples in (source, made):
        mel = features.mel(torch.from_numpy(samples)[None])[0].numpy()
        level = np.logaddexp.reduce(mel, axis=1)
        high = np.logaddexp.reduce(mel[:, 40:], axis=1)
        hiss = (high > np.logaddexp.reduce(mel[:, :40], axis=1)) & (level > np.quantile(level, 0.95) - LOUD)
        hiss &= features.track(samples) == 0
        if hiss.sum() < 4:
            return float("nan")
        means.append(high[hiss].mean())
    return float(8.686 * (means[1] - means[0]))


def louder(source: np.ndarray, made: np.ndarray, rate: int) -> float:
    """LU by which the integrated loudness changed, of (c, s) and (c, t)."""
    return float(loudness(np.atleast_2d(made), rate) - loudness(np.atleast_2d(source), rate))


def seconds(frames: int) -> float:
    return frames * HOP / RATE
