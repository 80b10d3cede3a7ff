"""Augments speech with rooms, telephone lines, codecs, microphones and noise. Mono, 16 kHz, float32; n samples.

:func:`vary` draws a random version of a recording; :func:`outlier` synthesises sounds without emotional speech.
"""

import io
from collections.abc import Sequence

import numpy as np
import soundfile
import soxr
from scipy import signal
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

RATE = 16_000
TELEPHONE = (300.0, 3400.0)  # Hz
CODECS = ("gsm", "mulaw", "mulaw", "mp3")
SILENT = 1e-4  # RMS below which a sound counts as silent


def band(x: np.ndarray, low: float, high: float, steep: float = 8.0) -> np.ndarray:
    """Band-pass from ``low`` to ``high`` Hz (n,), Butterworth filters of order ``steep``."""
    size = next_fast_len(len(x) + RATE // 10, real=True)
    hz = np.maximum(rfftfreq(size, 1 / RATE), 1.0)
    gain = 1 / np.sqrt((1 + (low / hz) ** (2 * steep)) * (1 + (hz / high) ** (2 * steep)))
    return irfft(rfft(x, size) * gain, size)[: len(x)].astype(np.float32)


def room(x: np.ndarray, seconds: float, wet: float, rng: np.random.Generator) -> np.ndarray:
    """Adds reverberation that decays by 60 dB in ``seconds``; ``wet`` is the echo's relative energy."""
    t = np.arange(int(seconds * RATE)) / RATE
    echo = rng.standard_normal(len(t)) * 10 ** (-3 * t / seconds)
    echo[: int(0.002 * RATE)] = 0
    echo *= np.sqrt(wet / (np.square(echo).sum() + 1e-9))
    echo[0] = 1
    return signal.oaconvolve(x, echo)[: len(x)].astype(np.float32)


def coloured(size: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Noise (size,) with a power spectrum of slope ``slope``: 0 white, 1 pink, 2 brown; RMS 1."""
    spectrum = rfft(rng.standard_normal(size))
    spectrum *= np.maximum(np.arange(len(spectrum)), size / RATE * 40) ** (-slope / 2)
    noise = irfft(spectrum, size)
    return (noise / (noise.std() + 1e-9)).astype(np.float32)


def fitted(x: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random excerpt (size,) of a sound, repeated if it is too short; RMS 1."""
    x = np.tile(x, -(-size // len(x)) + 1)
    start = rng.integers(len(x) - size + 1)
    x = x[start : start + size]
    return x / (np.sqrt(np.square(x).mean()) + 1e-6)


def babble(voices: Sequence[np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
    """Several speakers at once (size,); RMS 1."""
    count = int(rng.integers(3, 7))
    return sum(fitted(voices[rng.integers(len(voices))], size, rng) for _ in range(count)) / np.sqrt(count)


def codec(x: np.ndarray, name: str) -> np.ndarray:
    """Encodes and decodes (n,) with a telephone codec (``gsm``, ``mulaw``) or ``mp3`` at its lowest rate."""
    kind, subtype, rate, more = {
        "gsm": ("WAV", "GSM610", 8000, {}),
        "mulaw": ("WAV", "ULAW", 8000, {}),
        "mp3": ("MP3", "MPEG_LAYER_III", RATE, {"compression_level": 0.99}),
    }[name]
    file, kept = io.BytesIO(), soxr.resample(x, RATE, rate) if rate != RATE else x
    soundfile.write(file, kept.clip(-1, 1), rate, format=kind, subtype=subtype, **more)
    file.seek(0)
    heard = soundfile.read(file, dtype="float32")[0]
    heard = soxr.resample(heard, rate, RATE) if rate != RATE else heard
    return np.pad(heard, (0, max(0, len(x) - len(heard))))[: len(x)].astype(np.float32)


def noisy(x: np.ndarray, noise: np.ndarray, decibels: float) -> np.ndarray:
    """Adds ``noise`` (n,) of RMS 1, ``decibels`` below the loud parts of the sound."""
    level = np.sqrt(np.quantile(np.square(x), 0.8))
    return x + noise * max(level, SILENT) * 10 ** (-decibels / 20)


def disturbance(
    size: int, voices: Sequence[np.ndarray], tunes: Sequence[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Noise, babble or music (size,) of RMS 1."""
    kind = rng.random()
    if kind < 0.5 or not len(voices):
        return coloured(size, rng.uniform(-0.3, 2), rng)
    if kind < 0.75 or not len(tunes):
        return babble(voices, size, rng)
    return fitted(tunes[rng.integers(len(tunes))], size, rng)


def vary(
    x: np.ndarray, voices: Sequence[np.ndarray], tunes: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """A random version of a recording and its speed: resampled (pitch and formants change along), reverberation, noise,
    band limits and codec, each with some probability.
    """
    speed = float(np.exp(rng.uniform(-0.12, 0.12))) if rng.random() < 0.7 else 1.0
    if speed != 1:
        x = soxr.resample(x, RATE * speed, RATE, "LQ")
    if rng.random() < 0.35:
        x = room(x, rng.uniform(0.15, 0.8), rng.uniform(0.05, 1.0), rng)
    if rng.random() < 0.5:
        x = noisy(x, disturbance(len(x), voices, tunes, rng), rng.uniform(3, 30))
    if rng.random() < 0.45:
        low, high = TELEPHONE if rng.random() < 0.5 else (rng.uniform(40, 400), np.exp(rng.uniform(7.6, 9.0)))
        x = band(x, low, high, rng.uniform(3, 12))
    if rng.random() < 0.3:
        x = codec(0.3 * x / (np.abs(x).max() + 1e-6), CODECS[rng.integers(len(CODECS))])
    if rng.random() < 0.1:
        peak = np.quantile(np.abs(x), rng.uniform(0.97, 0.999)) + 1e-6
        x = x.clip(-peak, peak)
    return x.astype(np.float32), speed


def sung(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Speech (n,) turned into singing: its spectral envelope, slower, on held notes of a scale with vibrato."""
    _, _, z = signal.stft(x, RATE, nperseg=1024, noverlap=864)
    envelope = _smooth(np.abs(z))
    slower = rng.uniform(1.2, 2.5)
    envelope = envelope[:, (np.arange(int(envelope.shape[1] * slower)) / slower).astype(int)]
    size = envelope.shape[1] * 160
    scale, root, hz = np.array([0, 2, 4, 5, 7, 9, 11, 12]), rng.uniform(130, 330), []
    at = int(rng.integers(8))
    while len(hz) < size:
        at = int(np.clip(at + rng.integers(-2, 3), 0, 7))
        hz += [root * 2 ** (scale[at] / 12)] * int(RATE * rng.choice([0.2, 0.3, 0.4, 0.6, 0.8]))
    hz = signal.lfilter([0.001], [1, -0.999], np.array(hz[:size]) - hz[0]) + hz[0]
    t = np.arange(size) / RATE
    hz *= 2 ** (rng.uniform(0.1, 0.6) / 12 * np.sin(2 * np.pi * rng.uniform(4.8, 6.5) * t))
    source = 2 * (np.cumsum(hz) / RATE % 1) - 1 + 0.02 * rng.standard_normal(size)
    _, _, buzz = signal.stft(source, RATE, nperseg=1024, noverlap=864)
    count = min(buzz.shape[1], envelope.shape[1])
    buzz = buzz[:, :count] / _smooth(np.abs(buzz[:, :count])) * envelope[:, :count]
    return signal.istft(buzz, RATE, nperseg=1024, noverlap=864)[1].astype(np.float32)


def _smooth(magnitude: np.ndarray, order: int = 30) -> np.ndarray:
    """Magnitudes (f t) -> their envelope (f t), by the first ``order`` cepstral coefficients."""
    cepstrum = irfft(np.log(magnitude + 1e-4), axis=0)
    cepstrum[order : len(cepstrum) - order + 1] = 0
    return np.exp(rfft(cepstrum, axis=0).real)


def outlier(voices: Sequence[np.ndarray], tunes: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Two to five seconds without emotional speech: music, noise, tones, babble, singing or speech buried in noise."""
    size, kind = int(rng.uniform(2, 5) * RATE), rng.random()
    tune = lambda: fitted(tunes[rng.integers(len(tunes))], size, rng)
    speech = lambda: fitted(voices[rng.integers(len(voices))], size, rng)
    if kind < 0.2:
        x = tune()
    elif kind < 0.35:
        x = coloured(size, rng.uniform(-0.5, 2.2), rng) * (
            1 + rng.uniform(0, 1) * np.sin(np.arange(size) * rng.uniform(0.0002, 0.01))
        )
    elif kind < 0.42:
        tones = [np.sin(2 * np.pi * rng.uniform(80, 3000) * np.arange(size) / RATE) for _ in range(rng.integers(1, 4))]
        x = sum(tones) * (np.sin(np.arange(size) / RATE * rng.uniform(1, 30)) > rng.uniform(-1, 0.8))
    elif kind < 0.5:
        x = babble(voices, size, rng)
    elif kind < 0.6:
        x = noisy(0.3 * disturbance(size, voices, tunes, rng), speech(), rng.uniform(8, 20))
    else:
        x = sung(voices[rng.integers(len(voices))], rng)[:size]
        if rng.random() < 0.6:
            x = noisy(x, fitted(tunes[rng.integers(len(tunes))], len(x), rng), rng.uniform(-6, 12))
    return (0.06 * x / (np.sqrt(np.square(x).mean()) + 1e-6)).astype(np.float32).clip(-1, 1)
