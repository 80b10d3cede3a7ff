"""The recording itself at another pitch and pace: its periods, laid out anew.

Pitch-synchronous overlap-add ("Pitch-Synchronous Waveform Processing Techniques for Text-to-Speech Synthesis Using
Diphones", 1990). Formants stay where they are, and what is left alone comes out as it was recorded.
Shapes: n frames of the recording, m of the result, k marks, each in the middle of a period.
"""

import numpy as np

from voice_conversion.features import HOP, RATE

PLAIN = 110  # samples between the marks where there is no voice: 5 ms
SEEK = 0.2  # of a period: how far a mark may be from where the pitch expects it
LOWPASS = 1200.0  # Hz, of what marks are sought in
LONGEST = RATE // 20  # samples of half a grain


def places(pace: np.ndarray) -> np.ndarray:
    """Speed at each frame (n,) -> the frame of the source (m,), fractional, that each frame of the result is at."""
    ends = np.concatenate(([0.0], np.cumsum(1 / pace)))
    return np.interp(np.arange(round(ends[-1])) + 0.5, ends, np.arange(len(pace) + 1)) - 0.5


def marks(samples: np.ndarray, hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n HOP,) samples and (n,) Hz or 0 -> samples (k,) at which periods are centred, and whether a voice's (k,).

    The first and the last are the recording's ends.
    """
    from scipy.signal import butter, sosfiltfilt

    slow = sosfiltfilt(butter(2, LOWPASS, fs=RATE, output="sos"), samples).astype(np.float32)
    at, voiced = [0], [False]
    edges = np.flatnonzero(np.diff(np.r_[False, hz > 0, False])) * HOP
    for first, last in [*zip(edges[::2], edges[1::2]), (len(samples), 0)]:
        plain = range(at[-1] + PLAIN, first - PLAIN // 2, PLAIN)
        own = [mark for mark in _stretch(slow, hz, first, last) if mark > 0] if last else [len(samples) - 1]
        at += [*plain, *own]
        voiced += [False] * len(plain) + [last > 0] * len(own)
    at, kept = np.unique(at, return_index=True)  # two stretches may end on one sample, which would hold up time
    return at, np.array(voiced)[kept]


def _stretch(slow: np.ndarray, hz: np.ndarray, first: int, last: int) -> list[int]:
    """Marks of the voiced stretch of samples ``first`` to ``last``, from its loudest period to both sides."""
    centre = first + int(np.abs(slow[first:last]).argmax())
    found = [centre]
    for way in (1, -1):
        at = _next(slow, hz, centre, way)
        while first <= at < last:
            found.append(at)
            at = _next(slow, hz, at, way)
    return sorted(found)


def _next(slow: np.ndarray, hz: np.ndarray, at: int, way: int) -> int:
    """The mark a period before (-1) or after (1) one: where the wave is most like around it. -1 beyond the ends."""
    period = RATE / hz[at // HOP]
    reach, half = max(int(SEEK * period), 2), int(period / 2)
    low = at + way * round(period) - reach - half
    if min(low, at - half) < 0 or max(low + 2 * (reach + half), at + half) >= len(slow):
        return -1
    around = slow[low : low + 2 * (reach + half)]
    like = np.correlate(around, slow[at - half : at + half], "valid")
    power = np.convolve(np.square(around), np.ones(2 * half), "valid")
    return low + half + int((like / np.sqrt(power + 1e-7)).argmax())


def lay(samples: np.ndarray, hz: np.ndarray, target: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(n HOP,) samples of pitch (n,) Hz -> (m HOP,), of which frame j is about frame ``at[j]`` of the source.

    ``target`` (n,) is the log2 Hz that each frame of the source shall have. A recording to which nothing is done
    comes out the same. Where there is no voice and a grain has to be repeated, every other one is turned round.
    """
    centre, voiced = marks(samples, hz)
    gaps = np.diff(centre, prepend=-PLAIN, append=len(samples) + PLAIN).clip(max=LONGEST)
    frame = np.minimum(centre // HOP, len(hz) - 1)
    closer = np.where(voiced & (hz[frame] > 0), hz[frame] / 2 ** target[frame], 1.0)
    padded, out = np.pad(samples, LONGEST + 1), np.zeros(len(at) * HOP + 2 * LONGEST, np.float32)
    middles, spots = (np.arange(len(at)) + 0.5) * HOP, (at + 0.5) * HOP
    place, before = 0.0, -1
    while place < len(at) * HOP:
        beyond = place - min(max(place, middles[0]), middles[-1])
        which = _nearest(centre, np.interp(place, middles, spots) + beyond)
        left, right = gaps[which : which + 2]
        bell = np.concatenate((np.hanning(2 * left + 1)[:left], np.hanning(2 * right + 1)[right:]))
        grain = bell * padded[centre[which] + LONGEST + 1 - left : centre[which] + LONGEST + right + 2]
        if which == before and not voiced[which]:
            grain, left, which = grain[::-1], right, -1
        first = round(place) + LONGEST - left
        out[first : first + len(grain)] += np.sqrt(closer[which]) * grain
        place += closer[which] * right
        before = which
    return out[LONGEST:-LONGEST]


def _nearest(centre: np.ndarray, spot: float) -> int:
    """The mark (k,) that is nearest to a sample."""
    which = min(int(np.searchsorted(centre, spot)), len(centre) - 1)
    return which - (which > 0 and spot - centre[which - 1] < centre[which] - spot)
