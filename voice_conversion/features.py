"""Inputs of the voice's networks: mel spectrum, fundamental frequency, energy. One frame is 256 samples at 22,050 Hz.

The front end is HiFi-GAN's (NeurIPS 2020, sec. 3.1), which DiffVC and EmoReg use too, so that published vocoders fit.
Shapes: b batch, s samples, n frames, 80 mel bands.
"""

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gen import mel as scale

RATE = 22_050  # Hz
HOP = 256
FFT = 1024
BANDS = 80
TOP = 8000.0  # Hz, upper edge of the highest band
FLOOR = 1e-5  # of a band's magnitude
LOUD = 10 ** (-23 / 20)  # RMS of the loud half of the frames that every recording is brought to
PITCH = (60.0, 650.0)  # Hz


@functools.cache
def centres() -> np.ndarray:
    """(80,) Hz, the middle of each band."""
    return scale.edges(BANDS, 0.0, TOP, "slaney")[1:-1]


@functools.cache
@torch.inference_mode(False)
def filters(bands: int = BANDS) -> Tensor:
    """(FFT / 2 + 1, bands) triangles of unit area."""
    return torch.from_numpy(scale.filters(RATE, FFT, bands, 0.0, TOP, "slaney", "area"))


@functools.cache
@torch.inference_mode(False)
def window(size: int) -> Tensor:
    return torch.hann_window(size)


def magnitudes(wave: Tensor) -> Tensor:
    """(b, s) with s a multiple of HOP -> (b, s / HOP, FFT / 2 + 1)."""
    pad = (FFT - HOP) // 2
    padded = torch.nn.functional.pad(wave[:, None], (pad, pad), mode="reflect")[:, 0]
    spectrum = torch.stft(padded, FFT, HOP, FFT, window(FFT).to(wave.device), center=False, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt().transpose(1, 2)


def mel(wave: Tensor, bands: int = BANDS) -> Tensor:
    """(b, s) -> (b, n, bands) natural logarithm of the bands."""
    return (magnitudes(wave) @ filters(bands).to(wave.device)).clamp_min(FLOOR).log()


def cut(samples: np.ndarray) -> np.ndarray:
    """The samples up to a whole number of frames, at least four."""
    samples = np.pad(samples, (0, max(0, 4 * HOP - len(samples))))
    return samples[: len(samples) // HOP * HOP]


def loudness(samples: np.ndarray) -> float:
    """RMS of the louder frames: those within 20 dB of the 95th percentile. 0 for silence."""
    frames = cut(samples).reshape(-1, HOP)
    power = np.einsum("ns,ns->n", frames, frames, dtype=np.float64) / HOP
    heard = power > 0.01 * np.quantile(power, 0.95)
    return float(np.sqrt(power[heard].mean())) if heard.any() else 0.0


class Pitch(NamedTuple):
    """A track of the fundamental frequency."""

    hz: np.ndarray  # (n,) float32, 0 in unvoiced frames

    @property
    def voiced(self) -> np.ndarray:
        return self.hz > 0

    def filled(self) -> np.ndarray:
        """(n,) log2 Hz, interpolated where there is no voice."""
        return filled(self.hz)


def filled(hz: np.ndarray) -> np.ndarray:
    """(n,) Hz or 0 -> log2 Hz, interpolated over the zeros; 120 Hz all along where nothing is voiced."""
    at = np.flatnonzero(hz > 0)
    if not len(at):
        return np.full(len(hz), np.log2(120.0), np.float32)
    return np.interp(np.arange(len(hz)), at, np.log2(hz[at])).astype(np.float32)


CANDIDATES = 8
UNVOICED = 0.45  # strength of "no voice"
OCTAVE_COST = 0.005  # of a lower candidate, an octave
JUMP_COST = 0.6  # for each octave a frame
TURN_COST = 0.12  # for voice beginning or ending
QUIET = 0.01  # of the recording's peak: nothing quieter is a voice
LOWPASS = 3000.0  # Hz
BLOCK = 512  # frames looked at together


def track(samples: np.ndarray) -> np.ndarray:
    """(s,) -> (s / HOP,) Hz, 0 where there is no voice.

    Peaks of the autocorrelation divided by the window's, and the best path through them (Boersma 1993).
    """
    strength, octave = _candidates(samples)
    return _path(strength, octave)


def _candidates(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strength and log2 Hz, both (n, CANDIDATES + 1); the first candidate is "no voice"."""
    pad, loudest = (FFT - HOP) // 2, max(np.abs(samples).max(), 1e-6)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, pad, mode="reflect"), FFT)[::HOP]
    blocks = [_peaks(frames[at : at + BLOCK], loudest) for at in range(0, len(frames), BLOCK)]
    strength, octave = (np.concatenate(parts) for parts in zip(*blocks))
    return strength, octave


def _peaks(frames: np.ndarray, loudest: float) -> tuple[np.ndarray, np.ndarray]:
    """The same of some frames (m, FFT) of a recording whose greatest sample is ``loudest``."""
    from scipy import fft

    frames = frames - frames.mean(1, keepdims=True)
    peak = np.abs(frames).max(1) / loudest
    taper = np.hanning(FFT).astype(np.float32)
    power = np.square(np.abs(fft.rfft(frames * taper, 2 * FFT)))
    hz = np.arange(FFT + 1) * RATE / (2 * FFT)
    power *= np.clip((1.5 * LOWPASS - hz) / (0.5 * LOWPASS), 0, 1).astype(np.float32)
    again = fft.irfft(power)
    own = fft.irfft(np.square(np.abs(fft.rfft(taper, 2 * FFT))))
    first, last = int(RATE / PITCH[1]) - 1, int(RATE / PITCH[0]) + 2
    likeness = again[:, first:last] / (again[:, :1] + 1e-9) / (own[first:last] / own[0])
    middle, left, right = likeness[:, 1:-1], likeness[:, :-2], likeness[:, 2:]
    bend = np.minimum(left - 2 * middle + right, -1e-6)
    shift = np.clip(0.5 * (left - right) / bend, -0.5, 0.5)
    octave = np.log2(RATE / (np.arange(first + 1, last - 1) + shift))
    height = np.minimum(middle - 0.125 * (left - right) ** 2 / bend * -1, 1.0)
    weight = np.where((middle > left) & (middle >= right), height + OCTAVE_COST * (octave - np.log2(PITCH[0])), -1.0)
    best = np.argpartition(-weight, CANDIDATES, axis=1)[:, :CANDIDATES]
    silent = UNVOICED + np.clip(2 - peak / QUIET, 0, 2)
    strength = np.concatenate([silent[:, None], np.take_along_axis(weight, best, 1)], 1)
    return strength, np.concatenate([np.zeros((len(best), 1)), np.take_along_axis(octave, best, 1)], 1)


def _path(strength: np.ndarray, octave: np.ndarray) -> np.ndarray:
    n, k = strength.shape
    turn = np.full((k, k), 0.0)
    turn[0, 1:] = turn[1:, 0] = TURN_COST
    both = np.ones((k, k))
    both[0] = both[:, 0] = 0
    total, back = -strength[0], np.zeros((n, k), np.int8)
    for i in range(1, n):
        cost = total[:, None] + turn + JUMP_COST * both * np.abs(octave[i - 1][:, None] - octave[i])
        back[i] = cost.argmin(0)
        total = cost[back[i], np.arange(k)] - strength[i]
    at, hz = int(total.argmin()), np.zeros(n, np.float32)
    for i in range(n - 1, -1, -1):
        hz[i] = 2 ** octave[i, at] if at else 0.0
        at = back[i, at]
    return hz
