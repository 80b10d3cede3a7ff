"""Mixes channels of sound down to one or two: (c, n) in the channel order of WAV and FFmpeg."""

import numpy as np

from gen.loudness import limit
from gen.notes import note

HALF = np.sqrt(0.5)
# Share of left in each channel (ITU-R BS.775-3, table 2); right is the mirror image. The LFE channel is omitted.
LEFT = {
    3: (1, 0, HALF),  # left, right, centre
    4: (1, 0, HALF, 0),  # left, right, back left, back right
    5: (1, 0, HALF, HALF, 0),
    6: (1, 0, HALF, 0, HALF, 0),  # 5.1: left, right, centre, low, back left, back right
    7: (1, 0, HALF, 0, 0.5, HALF, 0),  # 6.1: one at the back, then the sides
    8: (1, 0, HALF, 0, HALF, 0, HALF, 0),  # 7.1
}
MIRROR = {
    3: (1, 0, 2),
    4: (1, 0, 3, 2),
    5: (1, 0, 2, 4, 3),
    6: (1, 0, 2, 3, 5, 4),
    7: (1, 0, 2, 3, 4, 6, 5),
    8: (1, 0, 2, 3, 5, 4, 7, 6),
}
CANCELLED = 0.3  # if the mean of two channels has less than this share of the louder one's power, they cancel


def stereo(samples: np.ndarray, rate: int, name: str) -> np.ndarray:
    """(2, n) from more than two channels, at equal loudness; one or two are unchanged. ``name`` is for the note."""
    count = len(samples)
    if count <= 2:
        return samples
    note(f"{name}: {count} channels mixed down to two.")
    return _as_loud(_two(samples), samples, rate)


def mono(samples: np.ndarray, rate: int, name: str) -> np.ndarray:
    """(n,): the mean of two channels, or the louder one if they cancel; more channels are mixed at equal loudness."""
    count = len(samples)
    if count == 1 or all(np.array_equal(samples[0], other) for other in samples[1:]):
        return samples[0]
    if count > 2:
        note(f"{name}: {count} channels mixed down to one.")
        return _as_loud(_two(samples).mean(0, keepdims=True), samples, rate)[0]
    found, which = middle(samples)
    if which is None:
        note(f"{name}: two channels mixed down to one.")
    else:
        power = np.square(samples).mean(1)
        why = "the other is silent" if power.min() < 1e-3 * power.max() else "the two cancel each other"
        note(f"{name}: only the {('left', 'right')[which]} channel is used, since {why}.")
    return found


def middle(samples: np.ndarray) -> tuple[np.ndarray, int | None]:
    """(c, n) -> (n,): the mean of the channels and None, or the loudest one if they cancel and its index."""
    power, mean = np.square(samples).mean(1), samples.mean(0, dtype=np.float32)
    which = int(power.argmax())
    return (mean, None) if np.square(mean).mean() >= CANCELLED * power[which] else (samples[which], which)


def _two(samples: np.ndarray) -> np.ndarray:
    count = len(samples)
    left = np.array(LEFT.get(count, [1.0] * count), np.float32)
    right = left[list(MIRROR[count])] if count in MIRROR else left
    return np.stack((left, right)) @ samples


def _as_loud(mixed: np.ndarray, samples: np.ndarray, rate: int) -> np.ndarray:
    """``mixed`` scaled to the total power of ``samples`` without the low-frequency channel; peaks are limited."""
    heard = np.delete(samples, 3, 0) if len(samples) >= 6 else samples
    wanted, found = (float(np.square(x).mean(1).sum()) for x in (heard, mixed))
    gain = np.sqrt(wanted / found) if found > 1e-12 else 1.0
    return limit(mixed * np.float32(gain), rate).astype(np.float32)
