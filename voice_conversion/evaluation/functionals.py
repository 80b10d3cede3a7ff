"""Functionals of a recording: means, deviations and quantiles of cepstra, loudness, pitch and timing, without a speech
encoder (as in Eyben et al., The Geneva Minimalistic Acoustic Parameter Set, 2016, but of more curves).

s samples, n rows of 20 ms, f = 473 functionals.
"""

from itertools import pairwise

import numpy as np

from gen.emotion.embedding import features

CEPSTRA = 20
STEP = features.HOP / features.RATE  # seconds
ACTIVE, VOICED = 0.3, (0.5, 0.35)  # least loudness of an active row; least periodicity and loudness of a voiced one
FEW = 8  # rows: of fewer voiced ones nothing is measured
RATES = (0.5, 2, 4, 6, 9, 14, 25)  # Hz: limits of the bands of the modulation spectra


def functionals(samples: np.ndarray) -> np.ndarray:
    """(s,) at 16 kHz, without silence at the ends -> (f,) float32."""
    rows = features.voice(samples)
    bands, loud, height, voicing = rows[:, : features.BANDS], rows[:, -4], rows[:, -3], rows[:, -1]
    place = (np.arange(features.BANDS)[:, None] + 0.5) * np.arange(CEPSTRA)
    curves = np.c_[bands @ np.cos(np.pi / features.BANDS * place) * np.sqrt(2 / features.BANDS), loud]
    active = loud > ACTIVE if (loud > ACTIVE).sum() >= FEW else np.ones(len(loud), bool)
    voiced = (voicing > VOICED[0]) & (loud > VOICED[1])
    voiced = voiced if voiced.sum() >= FEW else active
    moved = np.zeros_like(curves)
    moved[2:-2] = (curves[4:] - curves[:-4]) / 4
    other = active & ~voiced if (active & ~voiced).sum() > 3 else active
    strong = voiced & (loud >= np.median(loud[voiced]))
    long = bands[voiced].mean(0)
    flux = np.abs(np.diff(bands, axis=0))[active[1:]]
    found = [
        *_moments(curves[active]),
        *_moments(curves[voiced]),
        np.abs(moved)[active].mean(0),
        moved[active].std(0),
        np.abs(moved)[voiced].mean(0),
        curves[other].mean(0) - curves[voiced].mean(0),
        long - long.mean(),
        bands[strong].mean(0) - long,
        (flux.mean(), flux.std()),
        _pitch(height, voiced),
        (_correlation(height[voiced], loud[voiced]), _slope(loud, active)),
        (voicing[voiced].mean(), voicing[voiced].std(), np.quantile(voicing[voiced], 0.1)),
        _timing(voiced, active),
        *map(_modulation, (loud, np.where(voiced, height - np.median(height[voiced]), 0), curves[:, 1])),
    ]
    return np.concatenate([np.ravel(part) for part in found]).astype(np.float32)


def _moments(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """(n, c) -> mean, deviation, 10th and 90th percentile, skewness, each (c,)."""
    mean, size = x.mean(0), x.std(0)
    low, high = np.quantile(x, (0.1, 0.9), axis=0)
    return mean, size, low, high, ((x - mean) ** 3).mean(0) / (size**3 + 1e-3)


def _slope(x: np.ndarray, rows: np.ndarray) -> float:
    """Rise per second of x (n,) over the marked rows."""
    when = np.flatnonzero(rows) * STEP
    return float(np.polyfit(when - when.mean(), x[rows], 1)[0]) if np.ptp(when) > 0.1 else 0.0


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if min(x.std(), y.std()) > 1e-4 else 0.0


def _pitch(height: np.ndarray, voiced: np.ndarray) -> list[float]:
    """Functionals of the pitch (n,) in octaves over the voiced rows: quantiles, movement, shape over time."""
    own, when, count = height[voiced], np.flatnonzero(voiced), len(height)
    low, quarter, middle, upper, high = np.quantile(own, (0.05, 0.25, 0.5, 0.75, 0.95))
    steps = np.diff(height)[voiced[1:] & voiced[:-1]]
    steps = steps if len(steps) else np.zeros(1)
    first, last = own[when < when[0] + 0.25 * count], own[when > when[-1] - 0.25 * count]
    final = voiced & (np.arange(count) > when[-1] - 0.25 * count)
    return [
        *(low, quarter, middle, upper, high, high - low, upper - quarter, own.std()),
        *(np.abs(steps).mean() / STEP, steps.std(), (steps > 0.01).mean(), (steps < -0.01).mean()),
        *(_slope(height, voiced), first.mean() - middle, last.mean() - middle, when[own.argmax()] / count),
        *(_slope(height, final), np.polyfit((when - when.mean()) / count, own, 2)[0]),
    ]


def _timing(voiced: np.ndarray, active: np.ndarray) -> list[float]:
    """Logarithm of the seconds, share of voice, voiced stretches a second, their and the gaps' seconds, pauses."""
    runs = np.diff(np.flatnonzero(np.diff(np.r_[0, voiced.astype(int), 0]))) * STEP
    sounds, gaps, seconds = runs[::2], runs[1::2] if len(runs) > 1 else np.zeros(1), len(voiced) * STEP
    share = len(sounds) / seconds
    times = sounds.mean(), sounds.std(), gaps.mean(), gaps.max()
    return [np.log(seconds), voiced.mean(), share, *times, (~active).mean()]


def _modulation(x: np.ndarray) -> np.ndarray:
    """(n,) -> (6,) nepers of its movement in each band of RATES."""
    power = np.square(np.abs(np.fft.rfft((x - x.mean()) * np.hanning(len(x)), 512)))
    hertz = np.fft.rfftfreq(512, STEP)
    bands = [power[(hertz >= low) & (hertz < high)].sum() for low, high in pairwise(RATES)]
    return 0.5 * np.log(np.array(bands) / len(x) + 1e-4)
