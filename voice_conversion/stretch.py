"""Speech faster or slower at its own pitch: overlap-add of stretches that fit each other (WSOLA, ICASSP 1993)."""

import numpy as np

from voice_conversion.features import HOP

SIZE = 4 * HOP  # samples of a stretch
SEEK = 220  # samples to either side: a period of 100 Hz in all


def places(pace: np.ndarray) -> np.ndarray:
    """Speed at each frame (n,) -> the frame of the source (m,), fractional, that each frame of the result is at."""
    ends = np.concatenate(([0.0], np.cumsum(1 / pace)))
    return np.interp(np.arange(round(ends[-1])) + 0.5, ends, np.arange(len(pace) + 1)) - 0.5


def stretch(samples: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(n HOP,) samples -> (m HOP,), frame j being taken from about frame ``at[j]``."""
    margin = SIZE + SEEK
    padded = np.pad(samples, margin, mode="reflect")
    window = np.hanning(SIZE + 1)[:-1].astype(np.float32)
    step = SIZE // 2  # stretches overlap by a half: the windows add up to 1
    frames = np.append(at, at[-1:] + 1)
    count = len(at) * HOP // step + 2
    wanted = np.interp(np.arange(count) * step / HOP - 0.5, np.arange(len(frames)), frames) + 0.5
    out = np.zeros(count * step + SIZE, np.float32)
    before = None
    for j, place in enumerate((wanted * HOP).astype(int) - step + margin):
        place = min(max(place, SEEK), len(padded) - SIZE - SEEK)
        if before is not None:
            follow = padded[before + step : before + step + SIZE]
            around = padded[place - SEEK : place + SEEK + SIZE]
            place += _best(around, follow) - SEEK
        out[j * step : j * step + SIZE] += window * padded[place : place + SIZE]
        before = min(place, len(padded) - SIZE - step)
    return out[step : step + len(at) * HOP]


def _best(around: np.ndarray, follow: np.ndarray) -> int:
    """Where in ``around`` the stretch most like ``follow`` begins."""
    likeness = np.correlate(around[: len(follow) + 2 * SEEK], follow, "valid")
    power = np.convolve(np.square(around), np.ones(len(follow)), "valid")
    return int((likeness / np.sqrt(power + 1e-6)).argmax())
