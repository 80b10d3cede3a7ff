"""Beats and bar lines of performance-timed piano notes in 4/4: a hidden semi-Markov model of beats.

n notes, e events (onsets merged into chords), t frames of 10 ms, d beat lengths, m beats.
"""

from typing import NamedTuple

import numpy as np

FRAME = 0.01  # seconds
MERGE = 0.035  # seconds: onsets this close are one event
LENGTHS = np.unique(np.geomspace(0.30, 1.10, 48).round(2))  # seconds per beat: 200 to 55 bpm
FRAMES = (LENGTHS / FRAME).round().astype(int)

POSITIONS = np.array([0.0, 0.5, 0.25, 0.75])  # of an event within its beat
JITTER = 0.022  # seconds: spread of a performed onset about its position
STRAY = 0.04  # share of events that lie on no sixteenth
RUBATO = 40.0  # cost of a relative change of beat length
TEMPO = (0.72, 0.33)  # median beat length (s), spread of its logarithm
TEMPO_WEIGHT = 0.5  # of the tempo prior, per event
FIT = 0.5  # of an event's likelihood: neighbours are not independent

# logistic weights, fitted on POP909 001-400 by benchmarks/beats.py --fit
POSITION_WEIGHTS = np.array(
    [
        [0.93, 0.79, -0.61, -1.10],
        [0.71, 0.12, -0.59, -0.24],
        [0.23, -0.07, -0.11, -0.05],
        [-0.24, 0.08, 0.16, 0.01],
        [0.41, -0.08, -0.11, -0.21],
        [-0.15, 0.02, -0.01, 0.13],
        [-0.53, 0.14, 0.23, 0.17],
        [0.44, -0.01, -0.32, -0.12],
        [0.18, 0.11, 0.19, -0.48],
    ]
)
DOWNBEAT_WEIGHTS = np.array(
    [[-0.33, 0.35, 0.58, -0.23, 1.22, 0.36, 0.21], [0.91, -0.04, 0.13, -0.34, 0.02, 0.16, 0.19]]
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
    return align(notes, times)


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


def segment_scores(found: Events, origin: float, count: int) -> np.ndarray:
    """Log likelihood ratio (t, d) of the events inside a beat that starts at frame t and has length d."""
    at = np.unique(((found.times - origin) / FRAME).round().astype(int), return_index=True)
    frames, belief = at[0], position_probabilities(found.features)[at[1]]
    scores = np.zeros((count, len(FRAMES)))
    for j, length in enumerate(FRAMES):
        phase = np.arange(-(length // 8), length - length // 8) / length
        away = (phase[None] - POSITIONS[:, None] + 0.5) % 1 - 0.5  # (4, length)
        peaks = np.exp(-0.5 * (away * LENGTHS[j] / JITTER) ** 2) * LENGTHS[j] / (JITTER * np.sqrt(2 * np.pi))
        gain = np.log((1 - STRAY) * belief @ peaks + STRAY) * FIT + tempo_prior(LENGTHS[j])
        for i, step in enumerate(range(-(length // 8), length - length // 8)):
            scores[frames - step, j] += gain[:, i]
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
    scores = segment_scores(found, origin, last + pad + 1)
    change = RUBATO * np.abs(np.log(LENGTHS[:, None] / LENGTHS))  # (from, to)
    best = np.zeros((last + pad + 1, len(FRAMES)))  # a beat at t, the one before it at t - d
    onward = np.zeros_like(best)  # a beat at t, the next at t + d
    source = np.full(best.shape, -1)
    columns = np.arange(len(FRAMES))
    begun = pad + FRAMES // 8  # beats may start at any frame up to the first event
    for t in range(len(best)):
        back = t - FRAMES
        known = back >= 0
        best[t, known] = onward[back[known], columns[known]] + scores[back[known], columns[known]]
        best[t, ~known] = -np.inf
        options = best[t][:, None] - change
        source[t] = options.argmax(axis=0)
        onward[t] = options[source[t], columns]
        fresh = (onward[t] < 0) & (t <= begun)
        onward[t, fresh], source[t, fresh] = 0.0, -1
    end = last + 1 + np.unravel_index(best[last + 1 :].argmax(), best[last + 1 :].shape)[0]
    return backtrack(source, best[end].argmax(), end) * FRAME + origin


def backtrack(source: np.ndarray, column: int, frame: int) -> np.ndarray:
    """Frames of the beats on the best path that ends at ``frame`` with beat length ``column``."""
    path = [frame]
    while column >= 0:
        frame -= FRAMES[column]
        path.append(frame)
        column = source[frame, column]
    return np.array(path[::-1])


def refine(beats: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    """Beats (m,) moved from frames to the events near them, smoothly: ridge on second differences."""
    place = np.interp(onsets, beats, np.arange(len(beats))) * 4
    grid = place.round()
    near = np.abs(place - grid) < 0.25
    low = np.minimum((grid[near] // 4).astype(int), len(beats) - 2)
    part = grid[near] / 4 - low
    rows = np.zeros((near.sum(), len(beats)))
    rows[np.arange(len(rows)), low], rows[np.arange(len(rows)), low + 1] = 1 - part, part
    bend = np.diff(np.eye(len(beats)), 2, axis=0)
    system = rows.T @ rows + bend.T @ bend + 0.1 * np.eye(len(beats))
    return np.linalg.solve(system, rows.T @ onsets[near] + 0.1 * beats)


# bar lines


def beat_features(notes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Accents of each beat (m, 7): onset, loudness, depth, length, new harmony, new bass, size; mean 0."""
    count = len(times)
    place = np.interp(notes[:, 0], times, np.arange(count))
    beat = place.round().astype(int)
    on = np.abs(place - beat) < 0.15
    where, struck = beat[on], notes[on]
    loud, low, length = np.zeros(count), np.full(count, 90.0), np.zeros(count)
    np.maximum.at(loud, where, struck[:, 3])
    np.minimum.at(low, where, struck[:, 2])
    ends = np.interp(struck[:, 1], times, np.arange(count))
    np.maximum.at(length, where, (ends - where).clip(0, 4))
    chroma = np.zeros((count + 4, 12))
    np.add.at(chroma, (np.floor(place + 0.15).astype(int) + 2, notes[:, 2].astype(int) % 12), 1.0)
    before, after = chroma[:count] + chroma[1 : count + 1], chroma[2 : count + 2] + chroma[3 : count + 3]
    norm = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    novelty = 1 - (before * after).sum(axis=1) / norm.clip(1e-9)
    bass_new = np.concatenate([[0.0], (np.diff(low) % 12 != 0).astype(float)]) * (low < 60)
    size = np.bincount(where, minlength=count)
    columns = [size > 0, loud / 32, (60 - low).clip(0) / 12, length, novelty, bass_new, np.log2(1 + size)]
    x = np.stack(columns, axis=1).astype(float)
    return x - x.mean(axis=0)


def align(notes: np.ndarray, times: np.ndarray) -> Beats:
    """The phase of the bar lines by the accents on the bars' first and third beats."""
    x = beat_features(notes, times)
    folded = np.stack([x[phase::4].sum(axis=0) for phase in range(4)])  # (4, 7)
    score = folded @ DOWNBEAT_WEIGHTS[0] + np.roll(folded, -2, axis=0) @ DOWNBEAT_WEIGHTS[1]
    return Beats(times, int(score.argmax()))
