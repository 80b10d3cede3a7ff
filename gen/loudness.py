"""Loudness (ITU-R BS.1770-4) and a limiter. Samples are (c, n), or (n,) for one channel."""

import numpy as np

BLOCK, STEP = 0.4, 0.1  # seconds: BS.1770's gating block and its hop (75 % overlap)
SILENT = -70.0  # LUFS: the absolute gate
RELATIVE = -10.0  # LU below the loudness after the absolute gate: the relative gate
CEILING = -1.5  # dBFS, maximum of all samples; leaves half a decibel for inter-sample peaks
LOOKAHEAD = 0.005  # s, the limiter's


def weighted(samples: np.ndarray, rate: int) -> np.ndarray:
    """K-weighting: BS.1770's two filters, a high shelf (head) and a high-pass, designed for this rate."""
    from scipy.signal import lfilter

    for shelf, hertz, quality in (
        (3.999843853973347, 1681.974450955533, 0.7071752369554196),
        (None, 38.13547087602444, 0.5003270373238773),
    ):
        turn = np.tan(np.pi * hertz / rate)
        unit = 1 + turn / quality + turn**2
        back = [1, 2 * (turn**2 - 1) / unit, (1 - turn / quality + turn**2) / unit]
        forth = [1.0, -2.0, 1.0]
        if shelf is not None:
            high, middle = 10 ** (shelf / 20), 10 ** (shelf / 20 * 0.4996667741545416)
            slope = middle * turn / quality
            forth = [(high + slope + turn**2) / unit, 2 * (turn**2 - high) / unit, (high - slope + turn**2) / unit]
        samples = np.asarray(lfilter(forth, back, samples, axis=-1))
    return samples


def momentary(samples: np.ndarray, rate: int) -> np.ndarray:
    """(blocks,) loudness in LUFS of 0.4 s blocks, one every 0.1 s; samples (c, n)."""
    power = np.square(weighted(samples.astype(float), rate)).sum(0)
    size, step = round(BLOCK * rate), round(STEP * rate)
    sums = np.concatenate(([0.0], np.cumsum(power)))
    starts = np.arange(0, max(1, len(power) - size + 1), step)
    means = (sums[np.minimum(starts + size, len(power))] - sums[starts]) / size
    return -0.691 + 10 * np.log10(means + 1e-12)


def gated(blocks: np.ndarray) -> float:
    """Integrated loudness in LUFS from momentary values: BS.1770's mean over the blocks that pass both gates."""
    mean = lambda kept: 10 * np.log10(np.mean(10 ** (kept / 10)))
    blocks = blocks[blocks > SILENT]
    if not len(blocks):
        return -np.inf
    return float(mean(blocks[blocks > mean(blocks) + RELATIVE]))


def loudness(samples: np.ndarray, rate: int = 44_100) -> float:
    """Integrated loudness in LUFS of samples (c, n)."""
    return gated(momentary(np.atleast_2d(samples), rate))


def limit(samples: np.ndarray, rate: int, ceiling: float = CEILING) -> np.ndarray:
    """Limits samples (c, n) to a ceiling in dB: the gain required by the loudest sample nearby, smoothed over
    LOOKAHEAD."""
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    need = np.minimum(1, 10 ** (ceiling / 20) / np.maximum(np.abs(samples).max(0), 1e-9))
    if need.min() == 1:
        return samples
    near = 2 * int(LOOKAHEAD * rate) + 1
    gain = minimum_filter1d(need, 2 * near + 1)
    return samples * uniform_filter1d(uniform_filter1d(gain, near), near)
