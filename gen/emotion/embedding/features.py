"""The inputs of the embedding's encoders: a voice, a face and a piece of music as rows of numbers. No torch.

n rows: 50 per second for a voice (:func:`voice`), 25 for a face, one per second for music (both from the registry's
readers); :func:`steps` reduces them to the coarser steps of the networks. Properties that only identify the recording
are removed: a voice's level and frequencies above 7 kHz, a face's position and untracked values, the key of music.
"""

import numpy as np

from gen import mel
from gen.errors import InputError

RATE = 16_000  # Hz
HOP = 320  # samples: 50 rows a second
FRAME = 640  # samples: 40 ms
FFT = 1024
BANDS = 64
BAND_LIMITS = (60.0, 7000.0)  # Hz
VOICE = BANDS + 4
VOICE_RATE = RATE / HOP
DEPTH = 5.0  # dynamic range in decades of power below the loudest band
SILENCE = 1e-7  # power relative to full scale below which a sound is silent
ACTIVE = 10**-3.5  # relative to the loud frames' power: quieter frames at both ends are cut
LOUD = 0.06  # target RMS of the loud parts
PITCH = (60.0, 620.0)  # Hz: women who shout reach 600

FACE_RATE = 25.0
SHAPES = 52
UNMEASURED = (14, 46, 47, 48, 49, 50, 51)  # jawForward, cheekPuff, cheekSquint x 2, noseSneer x 2, tongueOut
POSE = 6
FACE = SHAPES + POSE

PLAIN = 12  # features of a note without its harmony
HARMONY = 22
MUSIC = 2 * PLAIN + 36 + 1 + HARMONY

MODALITIES = ("voice", "face", "music")
STEP = {"voice": 1, "face": 5, "music": 1}  # rows in a step: 20 ms, 0.2 s and 1 s
SIZES = {"voice": VOICE, "face": 2 * FACE, "music": MUSIC}
SECONDS = {"voice": 1 / VOICE_RATE, "face": 5 / FACE_RATE, "music": 1.0}


def steps(modality: str, rows: np.ndarray) -> np.ndarray:
    """(n, f) rows -> (ceil(n / STEP), SIZES) float32: mean and standard deviation of each step."""
    size = STEP[modality]
    if size == 1:
        return rows.astype(np.float32)
    short = -len(rows) % size
    rows = np.concatenate([rows.astype(np.float32), np.repeat(rows[-1:], short, 0)]).reshape(-1, size, rows.shape[1])
    return np.concatenate([rows.mean(1), rows.std(1)], 1)


def centres() -> np.ndarray:
    """(BANDS,) Hz in the middle of each band."""
    return mel.edges(BANDS, *BAND_LIMITS, "htk")[1:-1]


def voice(samples: np.ndarray) -> np.ndarray:
    """(s,) sound at 16 kHz -> (n, 68) float32: log-mel bands, loudness, pitch, pitch relative to its median, voicing.

    Silence at both ends is cut. Raises :class:`InputError` if the sound is silent.
    """
    from scipy import fft

    padded = np.pad(samples.astype(np.float32), (0, max(0, FRAME - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    frames = frames - frames.mean(1, keepdims=True)
    power = np.square(frames).mean(1)
    if np.quantile(power, 0.95) < SILENCE:
        raise InputError("the sound is silent: give one with a voice")
    heard = np.flatnonzero(power > ACTIVE * np.quantile(power, 0.95))
    keep = slice(max(heard[0] - 3, 0), heard[-1] + 4)
    spectrum = np.square(np.abs(fft.rfft(frames[keep] * np.hanning(FRAME).astype(np.float32), FFT)))
    bands = np.log10(spectrum @ mel.filters(RATE, FFT, BANDS, *BAND_LIMITS, "htk", "sum") + 1e-12)
    bands = np.clip((bands - np.quantile(bands, 0.99)) / DEPTH + 1, 0, 1.2)
    loud = np.log10(power[keep] + 1e-12)
    loud = np.clip((loud - np.quantile(loud, 0.95)) / DEPTH + 1, 0, 1.2)
    height, voicing = _pitch(spectrum)
    sounding = voicing > 0.5
    middle = np.median(height[sounding]) if sounding.any() else 0.0
    rows = np.stack([loud, height * sounding, (height - middle) * sounding, voicing], 1)
    return np.concatenate([2 * bands - 1, rows], 1).astype(np.float32)


def levelled(samples: np.ndarray) -> np.ndarray:
    """(s,) sound at 16 kHz without silence at both ends, its loud parts scaled to LOUD. Raises :class:`InputError` if
    the sound is silent.
    """
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, max(0, FRAME - len(samples)))), FRAME)[::HOP]
    power = np.square(frames - frames.mean(1, keepdims=True)).mean(1)
    if np.quantile(power, 0.95) < SILENCE:
        raise InputError("the sound is silent: give one with a voice")
    heard = np.flatnonzero(power > ACTIVE * np.quantile(power, 0.95))
    level = np.sqrt(power[power > 0.05 * power.max()].mean() + 1e-12)
    return (samples[max(heard[0] - 3, 0) * HOP : (heard[-1] + 4) * HOP] * (LOUD / level)).clip(-1, 1)


def _pitch(spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, FFT / 2 + 1) power -> octaves above 150 Hz (n,) and periodicity 0..1 (n,), by autocorrelation."""
    from scipy import fft

    again = fft.irfft(spectrum)
    shape = fft.irfft(np.square(np.abs(fft.rfft(np.hanning(FRAME), FFT)))).astype(np.float32)
    first, last = int(RATE / PITCH[1]), int(RATE / PITCH[0])
    likeness = again[:, first:last] / (again[:, :1] + 1e-12) / (shape[first:last] / shape[0])
    likeness = likeness - np.linspace(0, 0.1, last - first, dtype=np.float32)  # prefers the higher of two equal octaves
    lag = likeness.argmax(1)
    near = np.take_along_axis(likeness, np.clip(lag[:, None] + [-1, 0, 1], 0, last - first - 1), 1)
    bend = near[:, 0] - 2 * near[:, 1] + near[:, 2]
    shift = np.clip(0.5 * (near[:, 0] - near[:, 2]) / np.where(bend < -1e-9, bend, -1e-9), -0.5, 0.5)
    height = np.log2(RATE / (first + lag + shift) / 150)
    return _median(height), np.clip(likeness.max(1), 0, 1)


def _median(x: np.ndarray) -> np.ndarray:
    """(n,) -> (n,) running median of five, since octave errors last a frame or two."""
    return np.median(np.lib.stride_tricks.sliding_window_view(np.pad(x, 2, mode="edge"), 5), axis=1)
