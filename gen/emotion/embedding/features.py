"""What the encoders of the embedding see: a voice, a face and a piece of music as rows of numbers. No torch.

n rows: 50 a second for a voice, 25 for a face, one a second for music; :func:`steps` makes of them the coarser steps
that the networks read. None of it keeps what only tells recordings apart: a voice's level and everything above 7 kHz, a
face's place and what trackers do not measure, the key of the music.
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
DEPTH = 5.0  # decades of power below the loudest band that still count
SILENCE = 1e-7  # power, of full scale 1, below which nothing is heard
ACTIVE = 10**-3.5  # of the loud frames' power: quieter frames at both ends are cut
LOUD = 0.06  # RMS of the loud parts of what is levelled
PITCH = (60.0, 620.0)  # Hz: women who shout reach 600

FACE_RATE = 25.0
SHAPES = 52
UNMEASURED = (14, 46, 47, 48, 49, 50, 51)  # jawForward, cheekPuff, cheekSquint x 2, noseSneer x 2, tongueOut
POSE = 6
FACE = SHAPES + POSE

PLAIN = 12  # features of a note beside its harmony
HARMONY = 22
MUSIC = 2 * PLAIN + 36 + 1 + HARMONY
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)  # how well pitch classes fit a key:
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)  # Krumhansl 1990, table 2.1

MODALITIES = ("voice", "face", "music")
STEP = {"voice": 1, "face": 5, "music": 1}  # rows in a step: 20 ms, 0.2 s and 1 s
SIZES = {"voice": VOICE, "face": 2 * FACE, "music": MUSIC}
SECONDS = {"voice": 1 / VOICE_RATE, "face": 5 / FACE_RATE, "music": 1.0}


def steps(modality: str, rows: np.ndarray) -> np.ndarray:
    """(n, f) rows -> (ceil(n / STEP), SIZES) float32: mean and standard deviation within each step."""
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
    """(s,) sound at 16 kHz -> (n, 68) float32: log-mel bands, loudness, pitch, pitch against its median, voicing.

    Silence at both ends is cut. Raises :class:`InputError` where there is nothing to hear.
    """
    from scipy import fft

    padded = np.pad(samples.astype(np.float32), (0, max(0, FRAME - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    frames = frames - frames.mean(1, keepdims=True)
    power = np.square(frames).mean(1)
    if np.quantile(power, 0.95) < SILENCE:
        raise InputError("there is nothing to read: the sound is silent")
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
    """(s,) sound at 16 kHz without the silence at both ends, its loud parts at LOUD. Raises :class:`InputError` where
    there is nothing to hear.
    """
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, max(0, FRAME - len(samples)))), FRAME)[::HOP]
    power = np.square(frames - frames.mean(1, keepdims=True)).mean(1)
    if np.quantile(power, 0.95) < SILENCE:
        raise InputError("there is nothing to read: the sound is silent")
    heard = np.flatnonzero(power > ACTIVE * np.quantile(power, 0.95))
    level = np.sqrt(power[power > 0.05 * power.max()].mean() + 1e-12)
    return (samples[max(heard[0] - 3, 0) * HOP : (heard[-1] + 4) * HOP] * (LOUD / level)).clip(-1, 1)


def _pitch(spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, FFT / 2 + 1) power -> octaves above 150 Hz (n,), and how periodic it is, 0..1 (n,); by autocorrelation."""
    from scipy import fft

    again = fft.irfft(spectrum)
    shape = fft.irfft(np.square(np.abs(fft.rfft(np.hanning(FRAME), FFT)))).astype(np.float32)
    first, last = int(RATE / PITCH[1]), int(RATE / PITCH[0])
    likeness = again[:, first:last] / (again[:, :1] + 1e-12) / (shape[first:last] / shape[0])
    likeness = likeness - np.linspace(0, 0.1, last - first, dtype=np.float32)  # of two octaves that fit, the higher one
    lag = likeness.argmax(1)
    near = np.take_along_axis(likeness, np.clip(lag[:, None] + [-1, 0, 1], 0, last - first - 1), 1)
    bend = near[:, 0] - 2 * near[:, 1] + near[:, 2]
    shift = np.clip(0.5 * (near[:, 0] - near[:, 2]) / np.where(bend < -1e-9, bend, -1e-9), -0.5, 0.5)
    height = np.log2(RATE / (first + lag + shift) / 150)
    return _median(height), np.clip(likeness.max(1), 0, 1)


def _median(x: np.ndarray) -> np.ndarray:
    """(n,) -> (n,) the median of each five neighbours: octave errors last a frame or two."""
    return np.median(np.lib.stride_tricks.sliding_window_view(np.pad(x, 2, mode="edge"), 5), axis=1)


def face(coefs: np.ndarray, pose: np.ndarray | None = None) -> np.ndarray:
    """ARKit coefficients (n, 52), and the head's rotation and translation (n, 6) -> (n, 58) float32.

    The pose counts from its own mean, translations in decimetres; coefficients that no tracker measures are 0.
    """
    rows = np.zeros((len(coefs), FACE), np.float32)
    rows[:, :SHAPES] = coefs
    rows[:, UNMEASURED] = 0
    if pose is not None:
        rows[:, SHAPES:] = (pose - pose.mean(0)) * np.array([2, 2, 2, 0.1, 0.1, 0.1])
    return rows


def music(notes: np.ndarray) -> np.ndarray:
    """Notes (n, 4) as start s, end s, pitch, velocity -> (seconds, 83) float32: what the notes that begin in each
    second are like: mean and spread of their height, loudness, timing and the whole's pace; pitch classes that sound
    along, within about two seconds, and in the whole, counted from each note itself; how many they are; and the
    harmony of the whole.
    """
    at = (notes[:, 0] - notes[:, 0].min()).astype(int)
    rows, count = _note_rows(notes), np.bincount(at)
    total, square = np.zeros((len(count), rows.shape[1])), np.zeros((len(count), PLAIN))
    np.add.at(total, at, rows)
    mean = total / np.maximum(count, 1)[:, None]
    np.add.at(square, at, np.square(rows[:, :PLAIN] - mean[at, :PLAIN]))
    spread = np.sqrt(square / np.maximum(count, 1)[:, None])
    whole = np.broadcast_to(_harmony(notes), (len(count), HARMONY))
    return np.concatenate([mean, spread, np.log1p(count)[:, None] / 2, whole], 1).astype(np.float32)


def _harmony(notes: np.ndarray) -> np.ndarray:
    """(n, 4) -> (22,): how well the best major and minor keys fit, and their difference; pitch classes above the
    tonic; which intervals sound together.
    """
    start, end, pitch, loud = notes[:600].T
    own = pitch.astype(int) % 12
    profile = np.bincount(own, np.clip(end - start, 0.03, 2) * loud, 12)
    profile = profile / profile.sum()
    uneven, keys = profile - 1 / 12, np.array([[np.roll(key, k) for k in range(12)] for key in (MAJOR, MINOR)])
    keys = keys - keys.mean(-1, keepdims=True)
    fit = keys @ uneven / np.linalg.norm(keys, axis=-1) / (np.linalg.norm(uneven) + 1e-6)  # a correlation
    degrees = np.roll(profile, -int(fit.max(0).argmax()))
    low, high = np.nonzero(np.triu((start < end[:, None]) & (end > start[:, None]), 1))
    apart = (own[low] - own[high]) % 12
    intervals = np.bincount(np.minimum(apart, 12 - apart), minlength=7) / max(len(low), 1)
    major, minor = fit.max(1)
    return np.concatenate([[major, minor, 2 * (major - minor)], 3 * np.sqrt(degrees), 2 * np.sqrt(intervals)])


def _note_rows(notes: np.ndarray) -> np.ndarray:
    """(n, 4) -> (n, PLAIN + 36)."""
    start, end, pitch, loud = notes.T
    held = np.clip(end - start, 0.03, 4.0)
    wait = np.clip(np.diff(start, prepend=start[0], append=start[-1]), 0.0, 4.0)
    apart = np.abs(start[:, None] - start)
    along = np.minimum(end[:, None], end) > np.maximum(start[:, None], start) - 0.03
    bass = np.where(apart < 0.6, pitch, 128).min(1)
    span = max(end.max() - start.min(), 1.0)
    onsets = 1 + (np.diff(start) > 0.04).sum()
    whole = np.log(len(notes) / span), np.log(onsets / span), held.sum() / span / 3, (loud.mean() - 70) / 15
    plain = np.stack([
        (pitch - 62) / 12, (loud - 75) / 20, (loud - loud.mean()) / 12, np.log(held) + 1,
        np.log(wait[:-1] + 0.03) + 2, np.log(wait[1:] + 0.03) + 2, np.diff(pitch, prepend=pitch[0]) / 12,
        (pitch - bass) / 12, *(np.full(len(notes), value) for value in whole),
    ], 1)  # fmt: skip
    own = pitch.astype(int) % 12
    classes = np.eye(12)[own] * np.minimum(held, 1.5)[:, None]
    turned = (own[:, None] + np.arange(12)) % 12
    around = []
    for weight in (along.astype(float), np.exp(-np.square(apart / 2)), np.ones((1, len(notes)))):
        total = weight @ classes
        share = np.sqrt(total / total.sum(1, keepdims=True))
        around.append(np.take_along_axis(np.broadcast_to(share, classes.shape), turned, axis=1))
    return np.concatenate([plain, *around], 1)


def notes_of(path) -> np.ndarray:
    """Notes of a MIDI file as (n, 4): start s, end s, pitch, velocity; by start, then high to low; no drums."""
    from gen.media import read_midi

    score = read_midi(path).to("second")
    rows = [(n.start, n.end, n.pitch, n.velocity) for t in score.tracks if not t.is_drum for n in t.notes]
    if not rows:
        raise InputError(f"{path} holds nothing but drums: give music with pitched notes")
    notes = np.array(rows, float)
    return notes[np.lexsort((-notes[:, 2], notes[:, 0]))]
