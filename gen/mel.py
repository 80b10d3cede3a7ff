"""Mel filterbanks: triangular filters, evenly spaced on a mel scale."""

from functools import cache
from typing import Literal

import numpy as np

Scale = Literal["htk", "slaney"]
KNEE, STEP = 15.0, np.log(6.4) / 27  # Slaney's scale: linear up to 1 kHz, then logarithmic (Auditory Toolbox, 1998)


def mel(hz: np.ndarray | float, scale: Scale) -> np.ndarray:
    """Hz -> mel: O'Shaughnessy's (``htk``) or Slaney's."""
    hz = np.asarray(hz, float)
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    return np.where(hz < 1000, hz * 3 / 200, KNEE + np.log(np.maximum(hz, 1) / 1000) / STEP)


def hertz(mels: np.ndarray, scale: Scale) -> np.ndarray:
    """The inverse of :func:`mel`."""
    mels = np.asarray(mels, float)
    if scale == "htk":
        return 700 * (10 ** (mels / 2595) - 1)
    return np.where(mels < KNEE, mels * 200 / 3, 1000 * np.exp((mels - KNEE) * STEP))


def edges(bands: int, low: float, high: float, scale: Scale) -> np.ndarray:
    """(bands + 2,) band edges in Hz from ``low`` to ``high``."""
    return hertz(np.linspace(mel(low, scale), mel(high, scale), bands + 2), scale)


@cache
def filters(
    rate: int,
    fft: int,
    bands: int,
    low: float,
    high: float,
    scale: Scale,
    unit: Literal["sum", "area"],
) -> np.ndarray:
    """(fft / 2 + 1, bands) float32 triangles for spectra of ``fft`` samples at ``rate`` Hz, with unit sum or area."""
    at, hz = edges(bands, low, high, scale), np.arange(fft // 2 + 1)[:, None] * rate / fft
    up, down = (hz - at[:-2]) / (at[1:-1] - at[:-2]), (at[2:] - hz) / (at[2:] - at[1:-1])
    triangles = np.clip(np.minimum(up, down), 0, None)
    size = triangles.sum(0) if unit == "sum" else (at[2:] - at[:-2]) / 2
    return (triangles / size).astype(np.float32)
