"""An inaudible mark in sound that says: made by Affekt. It carries no message, and needs no network and no download.

Spread spectrum in log-magnitude (Kirovski and Malvar, IEEE Trans. Signal Processing 51, 2003): time and frequency are
cut into tiles, and each tile is made a little louder or softer, as a fixed pattern says, which repeats. Since the mark
is a gain, it is always far below the sound at its own place in time and frequency. The detector correlates the levels
of the tiles, against their surroundings and clipped, with the pattern at every shift; the pattern is public, so the
mark can be removed by those who want to: it informs, it proves nothing. Shapes: b bands, n tiles, f frames of 10 ms.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

NAME = "affekt-1"  # what manifests call it
KEY = 20_260_802  # of the pattern
DEPTH = 2.0  # dB that a tile is raised or lowered by at most
REACH = 3.0  # dB to the wrong side of its surroundings from which a tile is left alone
MARGIN = (0.4, 1.0)  # dB by which a tile is to differ from its surroundings: in steady sound, in changing sound
LOW, HIGH, BANDS = 300.0, 6500.0, 36  # Hz
STEP, TILE, TILES = 0.010, 6, 80  # seconds a frame, frames a tile, tiles until the pattern repeats (4.8 s)
RATE = 16000  # Hz at which it is looked for
WINDOW = 0.040  # seconds
CLIP = 0.6  # standard deviations beyond which a tile says no more
FLOOR = 1e-6  # of the loudest level: less is silence
EDGE = 1  # frames at either end of a tile that do not count, since gains change there
PASSES = 8  # to find the gains
LEAST = 2.0  # seconds: shorter sounds are too short for the mark to be found
FOUND = 5.0  # score from which the mark counts as there


class Detection(NamedTuple):
    """``score`` is in standard deviations of what unmarked sound gives, the best of all shifts."""

    score: float
    found: bool


def embed(samples: np.ndarray, rate: int) -> np.ndarray:
    """Marked samples: float32 of the same shape, (n,) or (c, n); all channels are marked alike."""
    heard = _heard(samples, rate)
    if len(heard) < LEAST * RATE:
        return samples.astype(np.float32)
    return _applied(samples, rate, _gains(heard))


def detect(samples: np.ndarray, rate: int, key: int = KEY) -> Detection:
    """Whether samples, (n,) or (c, n), carry the mark; resampling, compression and cropping do not hide it."""
    samples = _heard(samples, rate)
    if len(samples) < LEAST * RATE / 2:
        return Detection(0.0, False)
    period, chips = TILE * TILES, np.zeros((BANDS, TILE * TILES))
    chips[:, ::TILE] = pattern(key)
    folded = np.zeros((BANDS, period))
    tiles = _whitened(_tiles(_levels(samples)))
    for start in range(0, tiles.shape[1], period):
        part = tiles[:, start : start + period]
        folded[:, : part.shape[1]] += part
    cross = np.fft.irfft(np.fft.rfft(folded) * np.conj(np.fft.rfft(chips)), period).sum(0)  # for every shift
    score = float(cross.max() / np.sqrt(np.square(folded).sum() / TILE + 1e-12))
    return Detection(round(score, 2), score >= FOUND)


def pattern(key: int = KEY) -> np.ndarray:
    """(BANDS, TILES) of +1 and -1; in each band and each tile there are about as many of both."""
    return np.random.default_rng(key).choice([-1.0, 1.0], (BANDS, TILES))


def edges() -> np.ndarray:
    """(BANDS + 1,) Hz; the highest band is e times as wide as the lowest."""
    return LOW + (HIGH - LOW) * np.expm1(np.linspace(0, 1, BANDS + 1)) / np.expm1(1)


def _heard(samples: np.ndarray, rate: int) -> np.ndarray:
    """The sound as the detector has it: (n,) at 16 kHz."""
    import soxr

    samples = samples if samples.ndim == 1 else samples.mean(0)
    return soxr.resample(samples, rate, RATE) if rate != RATE else samples


def _gains(heard: np.ndarray) -> np.ndarray:
    """(b, n) dB that let each tile stand out from its surroundings as the pattern says.

    The sound's own changes are known here, so that only the tiles that can be turned are touched, and only as far as
    they need (informed embedding: Malvar and Florencio, IEEE Trans. Signal Processing 51, 2003).
    """
    levels = _tiles(_levels(heard))[:, ::TILE]
    signs = pattern()[:, np.arange(levels.shape[1]) % TILES]
    own = signs * _apart(levels)
    margin = np.clip(0.5 * 1.4826 * np.median(np.abs(own), 1, keepdims=True), *MARGIN)
    gains = np.zeros_like(levels)
    for _ in range(PASSES):
        need = margin - signs * _apart(_tiles(_levels(_applied(heard, RATE, gains)))[:, ::TILE])
        gains = np.where(own > -REACH, signs * np.clip(signs * gains + 0.6 * need, 0.0, DEPTH), 0.0)
    return gains


def _applied(samples: np.ndarray, rate: int, gains: np.ndarray) -> np.ndarray:
    """Samples with a gain (b, n) in dB for each tile."""
    size, gains = round(WINDOW * rate / 4) * 4, np.pad(gains, ((0, 0), (0, 1)), mode="edge")
    block, changed = size * 1000, np.empty(samples.shape, np.float32)
    for start in range(0, samples.shape[-1], block):
        left = min(size, start)
        part = samples[..., start - left : start + block + size]
        spectrum = np.fft.rfft(_windows(_padded(part, size), size, size // 4))  # (..., f, k)
        times = np.arange(spectrum.shape[-2]) * (size // 4) / rate
        band = np.searchsorted(edges(), np.fft.rfftfreq(size, 1 / rate)) - 1  # (k,)
        tile = (times + (start - left) / rate - (WINDOW - STEP) / 2) // (STEP * TILE)
        here = gains[band.clip(0, BANDS - 1)][:, tile.clip(0, gains.shape[1] - 1).astype(int)]
        here[(band < 0) | (band >= BANDS)] = 0
        done = _joined(np.fft.irfft(spectrum * 10 ** (here.T / 20)), size)
        changed[..., start : start + block] = done[..., left : part.shape[-1]][..., :block]
    return changed


def _hann(size: int) -> np.ndarray:
    return np.hanning(size + 1)[:-1].astype(np.float32)


def _padded(samples: np.ndarray, size: int) -> np.ndarray:
    """Half a window of silence on both sides, and as much more behind as fills the last one."""
    more = -samples.shape[-1] % (size // 4)
    return np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(size // 2, size // 2 + more)])


def _windows(samples: np.ndarray, size: int, step: int) -> np.ndarray:
    """(..., f, size) of samples (..., n), each under a Hann window."""
    return np.lib.stride_tricks.sliding_window_view(samples, size, axis=-1)[..., ::step, :] * _hann(size)


def _joined(windows: np.ndarray, size: int) -> np.ndarray:
    """What :func:`_windows` of :func:`_padded` samples, a quarter of their size apart, were cut from."""
    count, step, hann = windows.shape[-2], size // 4, _hann(size)
    quarters, weights = (windows * hann).reshape(*windows.shape[:-1], 4, step), np.square(hann).reshape(4, step)
    done, weight = np.zeros((*windows.shape[:-2], count + 3, step), windows.dtype), np.zeros((count + 3, step))
    for i in range(4):
        done[..., i : i + count, :] += quarters[..., i, :]
        weight[i : i + count] += weights[i]
    whole = done / np.maximum(weight, 1e-10).astype(np.float32)
    return whole.reshape(*done.shape[:-2], -1)[..., size // 2 : -(size // 2)]


def _apart(levels: np.ndarray, step: int = 1) -> np.ndarray:
    """(b, f) levels against those ``step`` before and after and of the bands beside: what the sound's own slow changes
    and loud moments have in common with their surroundings goes away."""
    time = np.pad(levels, ((0, 0), (step, step)), mode="edge")
    rest = levels - (time[:, : -2 * step] + time[:, 2 * step :]) / 2
    beside = np.pad(rest, ((1, 1), (0, 0)), mode="edge")
    return rest - (beside[:-2] + beside[2:]) / 2


def _levels(samples: np.ndarray) -> np.ndarray:
    """(b, f) dB of each band in each frame."""
    step, size = round(STEP * RATE), round(WINDOW * RATE)
    energies = []
    for part in _blocks(samples, step * 6000, size):
        power = np.square(np.abs(np.fft.rfft(_windows(part, size, step)).T))  # (k, f)
        band = np.searchsorted(edges(), np.fft.rfftfreq(size, 1 / RATE)) - 1
        energies.append(np.stack([power[band == b].sum(0) for b in range(BANDS)]))
    energy = np.concatenate(energies, 1)
    return 10 * np.log10(energy + FLOOR * energy.max() + 1e-20)


def _blocks(samples: np.ndarray, length: int, size: int) -> Iterator[np.ndarray]:
    """Parts of ``length`` samples with as much of the next as the last window needs."""
    step = round(STEP * RATE)
    for start in range(0, max(1, len(samples) - size), length):
        yield samples[start : start + length + size - step]


def _tiles(levels: np.ndarray) -> np.ndarray:
    """(b, f) dB of the tile that begins at each frame: the mean over its frames but those at its edges."""
    sums = np.cumsum(np.pad(levels, ((0, 0), (1, 0))), 1)
    inner = TILE - 2 * EDGE
    tiles = (sums[:, inner:] - sums[:, :-inner]) / inner
    return tiles[:, EDGE : tiles.shape[1] - EDGE]


def _whitened(tiles: np.ndarray) -> np.ndarray:
    """(b, f) tiles against their surroundings, in standard deviations, clipped."""
    rest = _apart(tiles, TILE)
    scale = 1.4826 * np.median(np.abs(rest), 1, keepdims=True)
    return np.clip(rest / (scale + 1e-9), -CLIP, CLIP)
