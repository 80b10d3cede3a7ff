"""An inaudible audio watermark that identifies a sound as made by Affekt. It carries no message and works offline.

Spread spectrum in log-magnitude (Kirovski and Malvar, IEEE Trans. Signal Processing 51, 2003): time and frequency are
divided into tiles, and a fixed, repeating pattern raises or lowers the gain of each tile slightly. Since the mark is a
gain, it stays far below the sound at every time and frequency. The detector subtracts the surroundings from the tile
levels, clips them and correlates them with the pattern at every shift. The pattern is public, so the mark can be
removed deliberately: it informs, it is no proof. Shapes: b bands, n tiles, f frames of 10 ms.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

NAME = "affekt-1"  # its name in manifests
KEY = 20_260_802  # seed of the pattern
DEPTH = 2.0  # maximum gain of a tile in dB
REACH = 3.0  # a tile this many dB on the wrong side of its surroundings is not marked
MARGIN = (0.4, 1.0)  # target difference of a tile from its surroundings in dB: steady sound, changing sound
LOW, HIGH, BANDS = 300.0, 6500.0, 36  # Hz
STEP, TILE, TILES = 0.010, 6, 80  # seconds per frame, frames per tile, tiles per period of the pattern (4.8 s)
RATE = 16000  # Hz, sample rate of the detector
WINDOW = 0.040  # seconds
CLIP = 0.6  # standard deviations at which tiles are clipped
FLOOR = 1e-6  # relative to the loudest level: below is silence
EDGE = 1  # frames ignored at both ends of a tile, where gains change
PASSES = 8  # iterations of the gain search
LEAST = 2.0  # seconds: shorter sounds are not marked
FOUND = 5.0  # minimum score of a detection


class Detection(NamedTuple):
    """``score`` is the best over all shifts, in standard deviations of the score of unmarked sound."""

    score: float
    found: bool


def embed(samples: np.ndarray, rate: int, first: int = 0) -> np.ndarray:
    """Marked samples: float32 of the same shape, (n,) or (c, n); all channels get the same gains. ``first`` is the
    number of tiles of a longer sound that precede the samples."""
    mono = _mono(samples, rate)
    if len(mono) < LEAST * RATE:
        return samples.astype(np.float32)
    return _with_gains(samples, rate, _gains(mono, first))


def detect(samples: np.ndarray, rate: int, key: int = KEY) -> Detection:
    """Detects the mark in samples, (n,) or (c, n), also after resampling, compression or cropping."""
    samples = _mono(samples, rate)
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
    """(BANDS, TILES) of +1 and -1, about balanced in each band and each tile."""
    return np.random.default_rng(key).choice([-1.0, 1.0], (BANDS, TILES))


def edges() -> np.ndarray:
    """(BANDS + 1,) band edges in Hz; the highest band is e times as wide as the lowest."""
    return LOW + (HIGH - LOW) * np.expm1(np.linspace(0, 1, BANDS + 1)) / np.expm1(1)


def _mono(samples: np.ndarray, rate: int) -> np.ndarray:
    """The detector's input: mono (n,) at 16 kHz."""
    import soxr

    samples = samples if samples.ndim == 1 else samples.mean(0)
    return soxr.resample(samples, rate, RATE) if rate != RATE else samples


def _gains(mono: np.ndarray, first: int = 0) -> np.ndarray:
    """(b, n) gains in dB that make each tile differ from its surroundings as the pattern demands.

    Informed embedding (Malvar and Florencio, IEEE Trans. Signal Processing 51, 2003): the sound is known, so only
    tiles that can be changed are changed, and only as far as needed.
    """
    levels = _tiles(_levels(mono))[:, ::TILE]
    signs = pattern()[:, (first + np.arange(levels.shape[1])) % TILES]
    own = signs * _contrast(levels)
    margin = np.clip(0.5 * 1.4826 * np.median(np.abs(own), 1, keepdims=True), *MARGIN)
    gains = np.zeros_like(levels)
    for _ in range(PASSES):
        need = margin - signs * _contrast(_tiles(_levels(_with_gains(mono, RATE, gains)))[:, ::TILE])
        gains = np.where(own > -REACH, signs * np.clip(signs * gains + 0.6 * need, 0.0, DEPTH), 0.0)
    return gains


def _with_gains(samples: np.ndarray, rate: int, gains: np.ndarray) -> np.ndarray:
    """Samples with a gain (b, n) in dB applied to each tile."""
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
        done = _overlap_added(np.fft.irfft(spectrum * 10 ** (here.T / 20)), size)
        changed[..., start : start + block] = done[..., left : part.shape[-1]][..., :block]
    return changed


def _hann(size: int) -> np.ndarray:
    return np.hanning(size + 1)[:-1].astype(np.float32)


def _padded(samples: np.ndarray, size: int) -> np.ndarray:
    """Pads half a window of silence on both sides, and zeros behind to complete the last window."""
    more = -samples.shape[-1] % (size // 4)
    return np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(size // 2, size // 2 + more)])


def _windows(samples: np.ndarray, size: int, step: int) -> np.ndarray:
    """(..., f, size) of samples (..., n), each under a Hann window."""
    return np.lib.stride_tricks.sliding_window_view(samples, size, axis=-1)[..., ::step, :] * _hann(size)


def _overlap_added(windows: np.ndarray, size: int) -> np.ndarray:
    """Inverts :func:`_windows` of :func:`_padded` samples with a hop of a quarter window (overlap-add)."""
    count, step, hann = windows.shape[-2], size // 4, _hann(size)
    quarters, weights = (windows * hann).reshape(*windows.shape[:-1], 4, step), np.square(hann).reshape(4, step)
    done, weight = np.zeros((*windows.shape[:-2], count + 3, step), windows.dtype), np.zeros((count + 3, step))
    for i in range(4):
        done[..., i : i + count, :] += quarters[..., i, :]
        weight[i : i + count] += weights[i]
    whole = done / np.maximum(weight, 1e-10).astype(np.float32)
    return whole.reshape(*done.shape[:-2], -1)[..., size // 2 : -(size // 2)]


def _contrast(levels: np.ndarray, step: int = 1) -> np.ndarray:
    """(b, f) levels minus the mean of those ``step`` before and after and of the adjacent bands, which removes slow
    changes and transients that neighbours share."""
    time = np.pad(levels, ((0, 0), (step, step)), mode="edge")
    rest = levels - (time[:, : -2 * step] + time[:, 2 * step :]) / 2
    beside = np.pad(rest, ((1, 1), (0, 0)), mode="edge")
    return rest - (beside[:-2] + beside[2:]) / 2


def _levels(samples: np.ndarray) -> np.ndarray:
    """(b, f) level in dB of each band and frame."""
    step, size = round(STEP * RATE), round(WINDOW * RATE)
    energies = []
    for part in _blocks(samples, step * 6000, size):
        power = np.square(np.abs(np.fft.rfft(_windows(part, size, step)).T))  # (k, f)
        band = np.searchsorted(edges(), np.fft.rfftfreq(size, 1 / RATE)) - 1
        energies.append(np.stack([power[band == b].sum(0) for b in range(BANDS)]))
    energy = np.concatenate(energies, 1)
    return 10 * np.log10(energy + FLOOR * energy.max() + 1e-20)


def _blocks(samples: np.ndarray, length: int, size: int) -> Iterator[np.ndarray]:
    """Blocks of ``length`` samples, each with the overlap that its last window needs."""
    step = round(STEP * RATE)
    for start in range(0, max(1, len(samples) - size), length):
        yield samples[start : start + length + size - step]


def _tiles(levels: np.ndarray) -> np.ndarray:
    """(b, f) level in dB of the tile starting at each frame: the mean over its inner frames."""
    sums = np.cumsum(np.pad(levels, ((0, 0), (1, 0))), 1)
    inner = TILE - 2 * EDGE
    tiles = (sums[:, inner:] - sums[:, :-inner]) / inner
    return tiles[:, EDGE : tiles.shape[1] - EDGE]


def _whitened(tiles: np.ndarray) -> np.ndarray:
    """(b, f) tiles minus their surroundings, in standard deviations, clipped."""
    rest = _contrast(tiles, TILE)
    scale = 1.4826 * np.median(np.abs(rest), 1, keepdims=True)
    return np.clip(rest / (scale + 1e-9), -CLIP, CLIP)
