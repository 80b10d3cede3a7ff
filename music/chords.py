"""Chord symbols per beat of piano notes: pitch class profiles, chord templates, Viterbi.

n notes, m beats, c = 133 chords (12 roots x 11 qualities, then none).
"""

import numpy as np

from music.beats import Beats

ROOTS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
QUALITIES = ("M", "m", "o", "+", "M7", "m7", "7", "o7", "/o7", "sus2", "sus4")
NONE = "N_N"
NAMES = (*(f"{root}_{quality}" for root in ROOTS for quality in QUALITIES), NONE)

TONES = (  # semitones above the root
    (0, 4, 7),
    (0, 3, 7),
    (0, 3, 6),
    (0, 4, 8),
    (0, 4, 7, 11),
    (0, 3, 7, 10),
    (0, 4, 7, 10),
    (0, 3, 6, 9),
    (0, 3, 6, 10),
    (0, 2, 7),
    (0, 5, 7),
)
SHARE = (0.31, 0.22, 0.31, 0.16)  # of a chord's sound: root, third, fifth, seventh
OUTSIDE = 0.010  # share of each pitch class outside the chord
BASS = (0.80, 0.06, 0.09, 0.04)  # chance that the bass plays root, third, fifth, seventh
COMMON = 0.7 * np.log([0.42, 0.30, 0.008, 0.004, 0.06, 0.07, 0.05, 0.002, 0.006, 0.05, 0.05])  # QUALITIES
SOUND, GROUND = 4.0, 0.5  # weights of a beat's profile and of its bass
SILENT, REST = -16.0, 1.0  # score of no chord while notes sound and while none do
BLOCK = 64  # beats whose notes are weighed at once: memory does not grow with the square of a piece
CHANGE = (1.2, 1.8, 2.8)  # cost of a change on a bar line, in mid-bar, elsewhere


def estimate(notes: np.ndarray, beats: Beats) -> list[str]:
    """A symbol such as "C_M", "A_m7" or "N_N" for each beat of ``beats``, from ``notes`` (n, 4)."""
    chroma, bass = profiles(notes, beats.times)
    scores = score(chroma, bass)
    step = (np.arange(len(scores)) - beats.downbeat) % 4
    cost = np.choose(step, [CHANGE[0], CHANGE[2], CHANGE[1], CHANGE[2]])
    return [NAMES[i] for i in viterbi(scores, cost)]


def profiles(notes: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of each pitch class in all sound and in the bass of each beat, both (m, 12); 0 where silent."""
    edges = np.append(times, 2 * times[-1] - times[-2])
    parts = []
    for begin in range(0, len(times), BLOCK):
        part = edges[begin : begin + BLOCK + 1]
        near = notes[(notes[:, 0] < part[-1]) & (notes[:, 1] > part[0])]
        parts.append(_profiles(near, part[:-1, None], part[1:, None]))
    return tuple(share(np.concatenate(columns)) for columns in zip(*parts, strict=True))


def _profiles(notes: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the pitch classes of all sound and of the bass between ``low`` and ``high`` (m, 1), both (m, 12)."""
    sounding = np.minimum(notes[:, 1], high) - np.maximum(notes[:, 0], low)  # (m, n)
    weight = (sounding / (high - low)).clip(0) ** 0.5 * notes[:, 3] / 64
    pitch_class = np.eye(12)[notes[:, 2].astype(int) % 12]  # (n, 12)
    chroma = weight @ pitch_class
    lowest = np.where(weight > 0.2, notes[:, 2], 200).min(axis=1, initial=200)[:, None]
    bass = (weight * np.exp(-(notes[:, 2] - lowest).clip(0) / 2.0)) @ pitch_class
    return chroma, bass


def share(x: np.ndarray) -> np.ndarray:
    """Rows (m, 12) that sum to 1, or 0 where empty."""
    return x / x.sum(axis=1, keepdims=True).clip(1e-9)


def templates(parts: tuple[float, ...], outside: float) -> np.ndarray:
    """Log probability (132, 12) of pitch classes in chords: ``parts`` for tones, ``outside`` for others."""
    shape = np.full((len(QUALITIES), 12), outside)
    for row, tones in zip(shape, TONES, strict=True):
        row[list(tones)] = parts[: len(tones)]
    shape /= shape.sum(axis=1, keepdims=True)
    return np.log(np.concatenate([np.roll(shape, root, axis=1) for root in range(12)]))


def score(chroma: np.ndarray, bass: np.ndarray) -> np.ndarray:
    """Log likelihood (m, c) of every chord for every beat."""
    chords = SOUND * chroma @ templates(SHARE, OUTSIDE).T + GROUND * bass @ templates(BASS, 0.005).T
    loud = chroma.sum(axis=1, keepdims=True)
    return np.concatenate([chords + np.tile(COMMON, 12) * loud, SILENT * loud + REST * (1 - loud)], axis=1)


def viterbi(scores: np.ndarray, cost: np.ndarray) -> list[int]:
    """Best path of chords (m,) where a change into beat i costs ``cost[i]``."""
    best, stay = scores[0], np.arange(scores.shape[1])
    source = np.empty(scores.shape, dtype=int)
    for i in range(1, len(scores)):
        top = best.argmax()
        jump = best[top] - cost[i] > best
        source[i] = np.where(jump, top, stay)
        best = np.where(jump, best[top] - cost[i], best) + scores[i]
    path = [int(best.argmax())]
    for i in range(len(scores) - 1, 0, -1):
        path.append(int(source[i, path[-1]]))
    return path[::-1]
