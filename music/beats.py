"""Beats and bar lines of performance-timed piano notes in 4/4: a hidden semi-Markov model of beats.

n notes, e events (onsets merged into chords), t frames of 10 ms, d beat lengths, m beats.
"""

from typing import NamedTuple

import numpy as np

from music import bars

FRAME = 0.01  # seconds
MERGE = 0.035  # seconds: onsets this close are one event
LENGTHS = np.unique(np.geomspace(0.30, 1.10, 48).round(2))  # seconds per beat: 200 to 55 bpm
FRAMES = (LENGTHS / FRAME).round().astype(int)

POSITIONS = np.array([0.0, 0.5, 0.25, 0.75])  # of an event within its beat
JITTER = 0.016  # seconds: spread of a performed onset about its position
STRAY = 0.06  # share of events that lie on no sixteenth
REACH = 5  # steps in LENGTHS from one beat to the next
RUBATO = 50.0  # cost of a relative change of beat length
TEMPO = (0.72, 0.33)  # median beat length (s), spread of its logarithm
TEMPO_WEIGHT = 0.5  # of the tempo prior, per event
STIFF = 1.0  # weight of second differences of the refined beats, per event
BLOCK = 8192  # frames weighed at once
FIT = 0.7  # of an event's likelihood: neighbours are not independent

# logistic weights of features (rows) for POSITIONS (columns), fitted on POP909 001-400 by benchmarks/beats.py --fit
POSITION_WEIGHTS = np.array(
    [
        [0.92, 0.80, -0.60, -1.12],
        [0.72, 0.12, -0.61, -0.23],
        [0.23, -0.06, -0.12, -0.06],
        [-0.25, 0.06, 0.19, 0.01],
        [0.41, -0.07, -0.12, -0.21],
        [-0.16, 0.02, 0.00, 0.14],
        [-0.53, 0.14, 0.22, 0.17],
        [0.44, -0.01, -0.30, -0.13],
        [0.18, 0.12, 0.17, -0.48],
    ]
)


class Beats(NamedTuple):
    """A beat grid in 4/4: ``times`` (m,) seconds, ``times[downbeat::4]`` are the bar lines."""

    times: np.ndarray
    downbeat: int


class Events(NamedTuple):
    """Merged onsets: ``times`` (e,) seconds, ``features`` (e, 9), ``which`` (n,) event of each note."""

    times: np.ndarray
    features: np.ndarray
    which: np.ndarray


def track(notes: np.ndarray) -> Beats:
    """The beat grid of ``notes`` (n, 4), from before the first onset to after the last sound; seconds."""
    if len(notes) == 0:
        return Beats(np.arange(5) * 0.5, 0)
    found = events(notes)
    times = refine(beat_times(found), found.times)
    times = cover(times, notes[0, 0], notes[:, 1].max())
    return Beats(times, bars.downbeat(notes, times))


def cover(times: np.ndarray, first: float, last: float) -> np.ndarray:
    """Beats (m,) extended by their local tempo until they enclose first..last."""
    head, tail = np.median(np.diff(times[:9])), np.median(np.diff(times[-9:]))
    before = max(0, int(np.ceil((times[0] - first) / head)))
    after = max(0, int(np.floor((last - times[-1]) / tail)) + 1)
    return np.concatenate(
        [times[0] - head * np.arange(before, 0, -1), times, times[-1] + tail * np.arange(1, after + 1)]
    )


# events and what they look like


def events(notes: np.ndarray) -> Events:
    """Onsets within 35 ms of the event's first onset merged, and each event's accents."""
    starts = notes[:, 0]
    which = np.zeros(len(notes), dtype=int)
    first = starts[0]
    for i in range(1, len(starts)):
        new = starts[i] - first > MERGE
        which[i] = which[i - 1] + new
        if new:
            first = starts[i]
    weight = notes[:, 3] + 1
    times = np.bincount(which, weight * starts) / np.bincount(which, weight)
    return Events(times, features(notes, times, which), which)


def features(notes: np.ndarray, times: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Accent features (e, 9): one, size, loudness, depth, length, gaps after and before, bass gaps."""
    count = len(times)
    size = np.bincount(which)
    loud, low, length = np.zeros(count), np.full(count, 127.0), np.zeros(count)
    np.maximum.at(loud, which, notes[:, 3])
    np.minimum.at(low, which, notes[:, 2])
    np.maximum.at(length, which, notes[:, 1] - notes[:, 0])
    gaps = np.diff(times, prepend=times[0] - 1, append=times[-1] + 1)
    typical = np.median(gaps)
    since, until = low_gaps(times, low)
    columns = [
        np.ones(count),
        np.log2(size),
        (loud - local_mean(times, loud)) / 16,
        (local_mean(times, low) - low) / 12,
        np.log2(length.clip(0.02) / np.median(length.clip(0.02))),
        np.log2(gaps[1:] / typical),
        np.log2(gaps[:-1] / typical),
        np.log2(since),
        np.log2(until),
    ]
    return np.stack(columns, axis=1).clip(-3, 3)


def local_mean(times: np.ndarray, values: np.ndarray, span: float = 4.0) -> np.ndarray:
    """Mean of ``values`` (e,) over events within ``span`` seconds."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    low, high = np.searchsorted(times, times - span), np.searchsorted(times, times + span, side="right")
    return (total[high] - total[low]) / (high - low)


def low_gaps(times: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds (e,) since the last and to the next event no more than 2 semitones above its lowest."""
    since, until = np.full(len(times), 4.0), np.full(len(times), 4.0)
    for shift in range(1, min(24, len(times))):
        gap = times[shift:] - times[:-shift]
        back = low[:-shift] <= low[shift:] + 2
        ahead = low[shift:] <= low[:-shift] + 2
        since[shift:] = np.where(back, np.minimum(since[shift:], gap), since[shift:])
        until[:-shift] = np.where(ahead, np.minimum(until[:-shift], gap), until[:-shift])
    return since, until


# beats


def position_probabilities(x: np.ndarray) -> np.ndarray:
    """P(position | features) (e, 4) of the beat, its half and its two other sixteenths."""
    logits = x @ POSITION_WEIGHTS
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


class Segments:
    """Log likelihood ratios of the events inside a beat that starts at frame t and has length d.

    Worked out for :data:`BLOCK` frames at a time, so that memory does not grow with the piece.
    """

    def __init__(self, found: Events, origin: float):
        self.frames, kept = np.unique(((found.times - origin) / FRAME).round().astype(int), return_index=True)
        self.belief = position_probabilities(found.features)[kept]
        self.first, self.block = 0, np.zeros((0, len(FRAMES)))

    def __getitem__(self, frame: int) -> np.ndarray:
        """(d,) of one frame; frames are asked for from 0 on."""
        if frame >= self.first + len(self.block):
            self.first, self.block = frame, self._scores(frame)
        return self.block[frame - self.first]

    def _scores(self, first: int) -> np.ndarray:
        """(BLOCK, d) of the frames from ``first`` on."""
        reach = FRAMES[-1] + 1
        near = slice(*np.searchsorted(self.frames, (first - reach, first + BLOCK + reach)))
        frames, belief, scores = self.frames[near] - first, self.belief[near], np.zeros((BLOCK, len(FRAMES)))
        for j, length in enumerate(FRAMES):
            phase = np.arange(-(length // 8), length - length // 8) / length
            away = (phase[None] - POSITIONS[:, None] + 0.5) % 1 - 0.5  # (4, length)
            peaks = np.exp(-0.5 * (away * LENGTHS[j] / JITTER) ** 2) * LENGTHS[j] / (JITTER * np.sqrt(2 * np.pi))
            gain = np.log((1 - STRAY) * belief @ peaks + STRAY) * FIT + tempo_prior(LENGTHS[j])
            for i, step in enumerate(range(-(length // 8), length - length // 8)):
                at = frames - step
                inside = (at >= 0) & (at < BLOCK)
                scores[at[inside], j] += gain[inside, i]
        return scores


def tempo_prior(length: float) -> float:
    """Log prior of a beat length, per event."""
    middle, spread = TEMPO
    return -0.5 * TEMPO_WEIGHT * (np.log(length / middle) / spread) ** 2


def beat_times(found: Events) -> np.ndarray:
    """Beats (m,) in seconds by Viterbi over (frame, beat length)."""
    pad = FRAMES[-1] + 2
    origin = found.times[0] - pad * FRAME
    last = round((found.times[-1] - origin) / FRAME)
    scores = Segments(found, origin)
    count, held = last + pad + 1, FRAMES[-1] + 1
    best = np.full(len(FRAMES), -np.inf)  # a beat at t, the one before it at t - d
    ends = np.full((pad, len(FRAMES)), -np.inf)  # best after the last event
    ahead = np.full((held, len(FRAMES)), -np.inf)  # at t % held: a beat at t, the next at t + d, and what lies between
    source = np.full((count, len(FRAMES)), -1, np.int8)
    columns = np.arange(len(FRAMES))
    steps = np.arange(-REACH, REACH + 1)
    wide = np.pad(np.log(LENGTHS), REACH, mode="reflect", reflect_type="odd")
    change = RUBATO * np.abs(np.log(LENGTHS)[:, None] - wide[columns[:, None] + REACH + steps])  # (d, steps)
    padded = np.full(len(FRAMES) + 2 * REACH, -np.inf)
    options = np.lib.stride_tricks.sliding_window_view(padded, 2 * REACH + 1)  # (d, steps), follows padded
    begun = pad + FRAMES // 8  # beats may start at any frame up to the first event
    for t in range(count):
        known = columns[: np.searchsorted(FRAMES, t, side="right")]
        best[known] = ahead[(t - FRAMES[known]) % held, known]
        padded[REACH:-REACH] = best
        reached = options - change
        pick = reached.argmax(axis=1)
        onward, source[t] = reached[columns, pick], columns + pick - REACH
        if t <= begun[-1]:
            fresh = (onward < 0) & (t <= begun)
            onward[fresh], source[t, fresh] = 0.0, -1
        ahead[t % held] = onward + scores[t]
        if t > last:
            ends[t - last - 1] = best
    end, length = np.unravel_index(ends.argmax(), ends.shape)
    return backtrack(source, length, last + 1 + end) * FRAME + origin


def backtrack(source: np.ndarray, column: int, frame: int) -> np.ndarray:
    """Frames of the beats on the best path that ends at ``frame`` with beat length ``column``."""
    path = [frame]
    while column >= 0:
        frame -= FRAMES[column]
        path.append(frame)
        column = source[frame, column]
    return np.array(path[::-1])


def refine(beats: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    """Beats (m,) moved from frames to the events near them, smoothly: least squares with second differences."""
    from scipy.linalg import solveh_banded

    count = len(beats)
    place = np.interp(onsets, beats, np.arange(count)) * 4
    grid = place.round()
    near = np.abs(place - grid) < 0.25
    low = np.minimum(grid[near] // 4, count - 2).astype(int)
    part, target = grid[near] / 4 - low, onsets[near]  # target = (1 - part) beats[low] + part beats[low + 1]

    def gather(index: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.bincount(index, values, minlength=count)

    band = np.zeros((3, count))  # upper diagonals of the normal equations
    band[2] = gather(low, (1 - part) ** 2) + gather(low + 1, part**2) + 0.1
    band[1] = gather(low + 1, part * (1 - part))
    for offset, value in ((0, 1.0), (1, 4.0), (2, 1.0)):
        band[2, offset : count - 2 + offset] += STIFF * value
    for offset in (1, 2):
        band[1, offset : count - 2 + offset] -= STIFF * 2
    band[0, 2:] += STIFF
    return solveh_banded(band, gather(low, (1 - part) * target) + gather(low + 1, part * target) + 0.1 * beats)
