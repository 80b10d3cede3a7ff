"""Mixes speech and music: loudness (ITU-R BS.1770-4), ducking, and the final mix.

Sound is float (2, n) at RATE.
"""

from typing import NamedTuple

import numpy as np

from gen.loudness import BLOCK, SILENT, limit, loudness

RATE = 44100
TARGET = -16.0  # LUFS, the usual level of podcasts and web videos
FRAME = 0.01  # seconds of the envelopes
HEARD = 25.0  # dB below the loud parts down to which speech is active
PAUSE = 0.9  # seconds: the music stays low in shorter pauses
BEFORE, AFTER = 0.25, 0.25  # seconds that the music is low before the first and after the last word
RAMP = 0.35  # seconds of a gain change
FADE_IN, FADE_OUT = 0.05, 1.2  # seconds, fades of the music


class Mix(NamedTuple):
    """The parts as mixed, (2, n) each, and the gain of the music (frames,) in dB."""

    whole: np.ndarray
    speech: np.ndarray
    music: np.ndarray
    gain: np.ndarray


# ---------------------------------------------------------------- ducking


def spoken(speech: np.ndarray) -> np.ndarray:
    """(frames,) bool: True where speech (2, n) is active; short pauses count as speech."""
    from scipy.ndimage import binary_closing

    level = envelope(speech)
    heard = level > np.percentile(level[level > SILENT], 95) - HEARD if (level > SILENT).any() else level > 0
    reach = round(PAUSE / FRAME / 2)
    return binary_closing(np.pad(heard, reach), np.ones(2 * reach + 1))[reach:-reach]


def envelope(samples: np.ndarray) -> np.ndarray:
    """(frames,) level in dB of each 10 ms frame."""
    size = round(FRAME * RATE)
    power = np.square(samples).mean(0)
    power = np.pad(power, (0, -len(power) % size)).reshape(-1, size).mean(1)
    return 10 * np.log10(power + 1e-12)


def ducked(active: np.ndarray, depth: float) -> np.ndarray:
    """(frames,) gain in dB: 0 without speech, -depth during speech, with smooth transitions."""
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    early, late, ramp = (round(seconds / FRAME) for seconds in (BEFORE + RAMP, AFTER + RAMP, RAMP))
    held = maximum_filter1d(active.astype(float), early + late + 1, origin=(late - early) // 2)
    return -depth * uniform_filter1d(uniform_filter1d(held, ramp), ramp)


# ---------------------------------------------------------------- the mix


def mixed(speech: np.ndarray | None, music: np.ndarray | None, under: float, swell: float) -> Mix:
    """Mixes speech (2, n) and music (2, n), the music ``under`` dB below the speech and ``swell`` dB higher without
    speech, at the loudness TARGET and below the limiter's ceiling; either may be None."""
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
    for _ in range(3):  # the limiter reduces the loudness a little
        by = _gain(TARGET - loudness(whole))
        voice, bed = voice * by, bed * by
        whole = limit(voice + bed, RATE)
    return Mix(whole.astype(np.float32), voice.astype(np.float32), bed.astype(np.float32), gain)


def loudness_where(samples: np.ndarray, active: np.ndarray) -> float:
    """Integrated loudness of the marked frames (frames,)."""
    kept = at_samples(active.astype(float), samples.shape[1]) > 0.5
    return loudness(samples[:, kept] if kept.sum() > BLOCK * RATE else samples)


def faded(music: np.ndarray) -> np.ndarray:
    """The music with a fade-in and a fade-out."""
    rise, fall = round(FADE_IN * RATE), min(round(FADE_OUT * RATE), music.shape[1])
    shape = np.ones(music.shape[1])
    shape[:rise] = np.linspace(0, 1, rise)[: len(shape)]
    shape[len(shape) - fall :] *= np.cos(np.linspace(0, np.pi / 2, fall)) ** 2
    return music * shape


def _gain(decibels: float) -> float:
    return float(10 ** (decibels / 20)) if np.isfinite(decibels) else 0.0


def at_samples(frames: np.ndarray, count: int) -> np.ndarray:
    """Interpolates (frames,) to samples (count,)."""
    return np.interp(np.arange(count) / (FRAME * RATE), np.arange(len(frames)) + 0.5, frames)
