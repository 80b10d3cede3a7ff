"""Speech over music: loudness as broadcasters measure it (ITU-R BS.1770-4), ducking, and the mix.

Sound is float (2, n) at RATE here.
"""

from typing import NamedTuple

import numpy as np

RATE = 44100
TARGET = -16.0  # LUFS, what podcasts and films for the web are delivered at
BLOCK, STEP = 0.4, 0.1  # seconds: BS.1770's gating block, and how far the next one is (75 % overlap)
SILENT = -70.0  # LUFS: the absolute gate
RELATIVE = -10.0  # LU below the loudness of what passed the absolute gate: the relative gate
FRAME = 0.01  # seconds of the envelopes
HEARD = 25.0  # dB below the loud parts of speech at which it still counts as speech
PAUSE = 0.9  # seconds: shorter pauses do not let the music rise
BEFORE, AFTER = 0.25, 0.25  # seconds by which the music is down before the first word, and stays after the last
RAMP = 0.35  # seconds over which it moves
FADE_IN, FADE_OUT = 0.05, 1.2  # seconds, of the music


class Mix(NamedTuple):
    """The parts as they sound in the whole, (2, n) each, and the gain of the music (frames,) in dB."""

    whole: np.ndarray
    speech: np.ndarray
    music: np.ndarray
    gain: np.ndarray


# ---------------------------------------------------------------- loudness


def weighted(samples: np.ndarray, rate: int) -> np.ndarray:
    """K-weighting: BS.1770's two filters, a shelf for the head and a high-pass, designed for this rate."""
    from scipy.signal import lfilter

    for shelf, hertz, quality in ((3.999843853973347, 1681.974450955533, 0.7071752369554196),
                                  (None, 38.13547087602444, 0.5003270373238773)):  # fmt: skip
        turn = np.tan(np.pi * hertz / rate)
        unit = 1 + turn / quality + turn**2
        back = [1, 2 * (turn**2 - 1) / unit, (1 - turn / quality + turn**2) / unit]
        forth = [1.0, -2.0, 1.0]
        if shelf is not None:
            high, middle = 10 ** (shelf / 20), 10 ** (shelf / 20 * 0.4996667741545416)
            slope = middle * turn / quality
            forth = [(high + slope + turn**2) / unit, 2 * (turn**2 - high) / unit, (high - slope + turn**2) / unit]
        samples = lfilter(forth, back, samples, axis=-1)
    return samples


def momentary(samples: np.ndarray, rate: int) -> np.ndarray:
    """(blocks,) LUFS of each 0.4 s, a block every 0.1 s; of samples (c, n)."""
    power = np.square(weighted(samples.astype(float), rate)).sum(0)
    size, step = round(BLOCK * rate), round(STEP * rate)
    sums = np.concatenate(([0.0], np.cumsum(power)))
    starts = np.arange(0, max(1, len(power) - size + 1), step)
    means = (sums[np.minimum(starts + size, len(power))] - sums[starts]) / size
    return -0.691 + 10 * np.log10(means + 1e-12)


def gated(blocks: np.ndarray) -> float:
    """Integrated loudness in LUFS of momentary ones: BS.1770's mean over the blocks that pass both gates."""
    mean = lambda kept: 10 * np.log10(np.mean(10 ** (kept / 10)))
    blocks = blocks[blocks > SILENT]
    if not len(blocks):
        return -np.inf
    return float(mean(blocks[blocks > mean(blocks) + RELATIVE]))


def loudness(samples: np.ndarray, rate: int = RATE) -> float:
    """Integrated loudness in LUFS of samples (c, n)."""
    return gated(momentary(np.atleast_2d(samples), rate))


# ---------------------------------------------------------------- ducking


def spoken(speech: np.ndarray) -> np.ndarray:
    """(frames,) bool: where speech (2, n) sounds; the pauses between its words count as speech."""
    from scipy.ndimage import binary_closing

    level = envelope(speech)
    heard = level > np.percentile(level[level > SILENT], 95) - HEARD if (level > SILENT).any() else level > 0
    reach = round(PAUSE / FRAME / 2)
    return binary_closing(np.pad(heard, reach), np.ones(2 * reach + 1))[reach:-reach]


def envelope(samples: np.ndarray) -> np.ndarray:
    """(frames,) dB of each hundredth of a second."""
    size = round(FRAME * RATE)
    power = np.square(samples).mean(0)
    power = np.pad(power, (0, -len(power) % size)).reshape(-1, size).mean(1)
    return 10 * np.log10(power + 1e-12)


def ducked(active: np.ndarray, depth: float) -> np.ndarray:
    """(frames,) dB: 0 where nobody speaks, -depth where somebody does, a smooth way between."""
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    early, late, ramp = (round(seconds / FRAME) for seconds in (BEFORE + RAMP, AFTER + RAMP, RAMP))
    held = maximum_filter1d(active.astype(float), early + late + 1, origin=(late - early) // 2)
    return -depth * uniform_filter1d(uniform_filter1d(held, ramp), ramp)


# ---------------------------------------------------------------- the mix


def mixed(speech: np.ndarray | None, music: np.ndarray | None, under: float, swell: float) -> Mix:
    """The speech (2, n) with the music (2, n) ``under`` dB below it, rising by ``swell`` dB where nobody speaks, as
    loud as TARGET and under the limiter's ceiling; either may be None."""
    from music.synth import limit

    some = speech if speech is not None else music
    voice = np.zeros_like(some) if speech is None else speech * _gain(TARGET - loudness(speech))
    gain = np.zeros(-(-some.shape[1] // round(FRAME * RATE)))
    bed = np.zeros_like(some) if music is None else faded(music)
    if speech is not None and music is not None:
        active = spoken(voice)
        gain = ducked(active, swell)
        bed = bed * 10 ** (at_samples(gain, bed.shape[1]) / 20)
        bed = bed * _gain(TARGET - under - loudness_where(bed, active))
    whole = voice + bed
    for _ in range(3):  # the limiter takes a little of the loudness away
        by = _gain(TARGET - loudness(whole))
        voice, bed = voice * by, bed * by
        whole = limit((voice + bed).T, RATE).T
    return Mix(whole.astype(np.float32), voice.astype(np.float32), bed.astype(np.float32), gain)


def loudness_where(samples: np.ndarray, active: np.ndarray) -> float:
    """Integrated loudness of the parts that are marked (frames,)."""
    kept = at_samples(active.astype(float), samples.shape[1]) > 0.5
    return loudness(samples[:, kept] if kept.sum() > BLOCK * RATE else samples)


def faded(music: np.ndarray) -> np.ndarray:
    """The music with a soft beginning and end."""
    rise, fall = round(FADE_IN * RATE), min(round(FADE_OUT * RATE), music.shape[1])
    shape = np.ones(music.shape[1])
    shape[:rise] = np.linspace(0, 1, rise)[: len(shape)]
    shape[len(shape) - fall :] *= np.cos(np.linspace(0, np.pi / 2, fall)) ** 2
    return music * shape


def _gain(decibels: float) -> float:
    return float(10 ** (decibels / 20)) if np.isfinite(decibels) else 0.0


def at_samples(frames: np.ndarray, count: int) -> np.ndarray:
    """(frames,) at the rate of samples: (count,)."""
    return np.interp(np.arange(count) / (FRAME * RATE), np.arange(len(frames)) + 0.5, frames)
