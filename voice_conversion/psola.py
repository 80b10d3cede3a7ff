"""The recording itself at another pitch and pace: its periods, laid out anew, and filtered.

Pitch-synchronous overlap-add ("Pitch-Synchronous Waveform Processing Techniques for Text-to-Speech Synthesis Using
Diphones", 1990). Formants stay where they are, and what is left alone comes out as it was recorded. Any sample
rate and any number of channels, which all get the same periods.
Shapes: c channels, s samples, n frames of the recording (HOP / RATE seconds each), m of the result, k marks, each in
the middle of a period.
"""

import functools
from typing import NamedTuple

import numpy as np

from gen.mel import mel
from voice_conversion.features import BANDS, FFT, HOP, RATE, centres

PLAIN = 0.005  # seconds between the marks where there is no voice
SEEK = 0.2  # of a period: how far a mark may be from where the pitch expects it
LOWPASS = 1200.0  # Hz, of what marks are sought in
LONGEST = 0.05  # seconds of half a grain
ALIKE = (0.8, 0.95)  # correlation of neighbouring grains, between which their average fades in
MOVED = 0.01  # of a period: how far one is moved where grains are evened


def places(stretch: np.ndarray) -> np.ndarray:
    """Seconds for a second at each frame (n,) -> the frame of the source (m,), fractional, that each frame of the
    result is at."""
    ends = np.concatenate(([0.0], np.cumsum(stretch)))
    return np.interp(np.arange(max(round(ends[-1]), 1)) + 0.5, ends, np.arange(len(stretch) + 1)) - 0.5


def marks(samples: np.ndarray, rate: int, hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(s,) samples and (n,) Hz or 0 -> samples (k,) at which periods are centred, and whether a voice's (k,).

    The first and the last are the recording's ends.
    """
    from scipy.signal import butter, sosfiltfilt

    slow = sosfiltfilt(butter(2, LOWPASS, fs=rate, output="sos"), samples).astype(np.float32)
    at, voiced, plain = [0], [False], round(PLAIN * rate)
    period = rate / np.maximum(hz, 1e-3)
    edges = np.flatnonzero(np.diff(np.r_[False, hz > 0, False])) * HOP * rate / RATE
    edges = np.minimum(np.rint(edges).astype(int), len(samples))
    for first, last in [*zip(edges[::2], edges[1::2]), (len(samples), 0)]:
        between = range(at[-1] + plain, first - plain // 2, plain)
        own = [m for m in _stretch(slow, rate, period, first, last) if m > 0] if last > first else []
        own = own if last else [len(samples) - 1]
        at += [*between, *own]
        voiced += [False] * len(between) + [last > 0] * len(own)
    at, kept = np.unique(at, return_index=True)  # two stretches may end on one sample, which would hold up time
    return at, np.array(voiced)[kept]


def _stretch(slow: np.ndarray, rate: int, period: np.ndarray, first: int, last: int) -> list[int]:
    """Marks of the voiced stretch of samples ``first`` to ``last``, from its loudest period to both sides."""
    centre = first + int(np.abs(slow[first:last]).argmax())
    found = [centre]
    for way in (1, -1):
        at = _next(slow, rate, period, centre, way)
        while first <= at < last:
            found.append(at)
            at = _next(slow, rate, period, at, way)
    return sorted(found)


def _next(slow: np.ndarray, rate: int, period: np.ndarray, at: int, way: int) -> int:
    """The mark a period before (-1) or after (1) one: where the wave is most like around it. -1 beyond the ends."""
    length = period[min(int(at * RATE / rate / HOP), len(period) - 1)]
    if length > rate:
        return -1
    reach, half = max(int(SEEK * length), 2), int(length / 2)
    low = at + way * round(length) - reach - half
    if min(low, at - half) < 0 or max(low + 2 * (reach + half), at + half) >= len(slow):
        return -1
    around = slow[low : low + 2 * (reach + half)]
    like = np.correlate(around, slow[at - half : at + half], "valid")
    power = np.concatenate(([0.0], np.cumsum(np.square(around), dtype=np.float64)))
    power = power[2 * half :] - power[: -2 * half]
    return low + half + int((like / np.sqrt(power + 1e-7)).argmax())


@functools.lru_cache(maxsize=4096)
def _rise(size: int) -> np.ndarray:
    return np.hanning(2 * size + 1)[:size].astype(np.float32)


class Periods(NamedTuple):
    """A recording cut into k overlapping grains, each of two periods."""

    at: np.ndarray  # (k,) samples at which they are centred
    voiced: np.ndarray  # (k,) bool
    gaps: np.ndarray  # (k + 1,) samples before, between and after those
    grains: list[tuple[np.ndarray, np.ndarray]]  # (c, gaps[i] + gaps[i + 1] + 1), windowed: as recorded, and evened


def periods(samples: np.ndarray, rate: int, hz: np.ndarray) -> Periods:
    """(c, s) samples of pitch (n,) Hz -> their grains. Evened: averaged with the voiced neighbours as far as these
    correlate, which takes away noise between the harmonics that a changed sound would make heard."""
    longest, plain = int(LONGEST * rate), round(PLAIN * rate)
    at, voiced = marks(samples.mean(0), rate, hz)
    gaps = np.diff(at, prepend=-plain, append=samples.shape[1] + plain).clip(max=longest)
    padded, found = np.pad(samples, ((0, 0), (longest, longest + 2))), []
    for i in range(len(at)):
        left, right = gaps[i : i + 2]
        bell = np.concatenate((_rise(left), [1.0], _rise(right)[::-1])).astype(np.float32)
        near = [j for j in (i - 1, i + 1) if voiced[i] and 0 < j < len(at) - 1 and voiced[j]]
        own, *others = (bell * padded[:, at[j] + longest - left : at[j] + longest + right + 1] for j in (i, *near))
        a, total, weights = own.sum(0), own.copy(), 1.0
        for other in others:
            b = other.sum(0)
            like = a @ b / np.sqrt((a @ a) * (b @ b) + 1e-12)
            weight = np.float32(0.5 * np.interp(like, ALIKE, (0.0, 1.0)))
            total, weights = total + weight * other, weights + weight
        found.append((own, total / weights))
    return Periods(at, voiced, gaps, found)


def lay(
    samples: np.ndarray, rate: int, hz: np.ndarray, target: np.ndarray, at: np.ndarray, own: Periods | None = None
) -> np.ndarray:
    """(c, s) samples of pitch (n,) Hz -> (c, t), of which frame j is about frame ``at[j]`` of the source.

    ``target`` (n,) is the log2 Hz that each frame of the source shall have; ``own`` what :func:`periods` found. A
    recording to which nothing is done comes out the same. Where there is no voice and a grain has to be repeated, every
    other one is turned round.
    """
    step, longest = HOP * rate / RATE, int(LONGEST * rate)
    centre, voiced, gaps, grains = periods(samples, rate, hz) if own is None else own
    frame = np.minimum((centre / step).astype(int), len(hz) - 1)
    closer = np.where(voiced & (hz[frame] > 0), hz[frame] / 2 ** target[frame], 1.0)
    even = np.clip(np.abs(closer - 1) / MOVED, 0, 1).astype(np.float32)
    size = round(len(at) * step)
    out = np.zeros((len(samples), size + 2 * longest + 1), np.float32)
    which_at = _nearest(centre, at, step, size)
    place, before = 0.0, -1
    while place < size:
        which = which_at[int(place)]
        left, right = gaps[which : which + 2]
        grain, evened = grains[which]
        if even[which]:
            grain = grain + even[which] * (evened - grain)
        if which == before and not voiced[which]:
            grain, left, which = grain[:, ::-1], right, -1
        first = round(place) + longest - left
        part = out[:, first : first + grain.shape[1]]
        part += np.float32(np.sqrt(closer[which])) * grain[:, : part.shape[1]]
        place += max(closer[which] * right, 1.0)
        before = which
    return out[:, longest : longest + size]


def _nearest(centre: np.ndarray, at: np.ndarray, step: float, size: int) -> np.ndarray:
    """The mark (k,) that is nearest to what each sample (size,) of the result is about."""
    places, middles = np.arange(size), (np.arange(len(at)) + 0.5) * step
    spots = np.interp(places, middles, (at + 0.5) * step) + places - places.clip(middles[0], middles[-1])
    after = np.searchsorted(centre, spots).clip(1, len(centre) - 1)
    return after - (spots - centre[after - 1] < centre[after] - spots)


@functools.cache
def _spread(rate: int, size: int) -> np.ndarray:
    """(80, size / 2 + 1): a row of bands times this is the values at the bins of a transform."""
    at, middle = (mel(hz, "slaney") for hz in (np.arange(size // 2 + 1) * rate / size, centres()))
    return np.stack([np.interp(at, middle, row) for row in np.eye(BANDS)]).astype(np.float32)


def filtered(samples: np.ndarray, rate: int, change: np.ndarray) -> np.ndarray:
    """(c, s) samples whose 80 bands are moved by ``change`` (n, 80) nepers, frame by frame; above the bands as in the
    last of them."""
    from scipy import fft

    size = fft.next_fast_len(round(FFT * rate / RATE / 4) * 4)
    size += -size % 4
    hop = size // 4
    window = np.hanning(size + 1)[:size].astype(np.float32)
    count = samples.shape[1] // hop + 5
    padded = np.pad(samples, ((0, 0), (size, (count + 4) * hop + size - samples.shape[1])))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, : (count + 4) * hop : hop]
    middle = (np.arange(frames.shape[1]) * hop - size / 2) * RATE / rate / HOP - 0.5
    near = np.stack([np.interp(middle, np.arange(len(change)), band) for band in change.T], 1).astype(np.float32)
    gain = np.exp(near @ _spread(rate, size))
    parts = fft.irfft(fft.rfft(frames * window) * gain, size)[..., :size] * (window / 1.5)
    parts = parts.reshape(len(samples), -1, 4, hop)
    out = np.zeros((len(samples), parts.shape[1] + 3, hop), np.float32)
    for j in range(4):
        out[:, j : j + parts.shape[1]] += parts[:, :, j]
    return out.reshape(len(samples), -1)[:, size : size + samples.shape[1]]
