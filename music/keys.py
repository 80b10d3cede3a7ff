"""Keys and bars of compound words: transposing, finding the key, cutting at a bar line."""

import numpy as np

from music.tokens import BAR, BEAT, CHORD, CONTI, DURATION, PITCH, TEMPO, Vocabulary

MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])  # Krumhansl 1990


def from_bar(rows: np.ndarray, line: int) -> np.ndarray:
    """The rows from the Bar row at ``line`` on; their first position names the tempo and the chord in force."""
    out = rows[line:].copy()
    for element in (TEMPO, CHORD):
        named = rows[:line, element][rows[:line, element] > CONTI]
        if len(named) and len(out) > 1 and out[1, element] == CONTI:
            out[1, element] = named[-1]
    return out


def transpose(rows: np.ndarray, by: int, vocabulary: Vocabulary) -> np.ndarray:
    """The rows ``by`` semitones higher, chords with them; unchanged if a note would leave the keyboard."""
    out, sounding = rows.copy(), rows[:, PITCH] > 0
    pitch = rows[sounding, PITCH] + by
    if not by or pitch.min(initial=1) < 1 or pitch.max(initial=1) >= vocabulary.sizes[PITCH]:
        return rows
    out[sounding, PITCH] = pitch
    first, qualities = CONTI + 2, (vocabulary.sizes[CHORD] - CONTI - 2) // 12
    named = rows[:, CHORD] >= first
    chord = rows[named, CHORD] - first
    out[named, CHORD] = (chord + by * qualities) % (12 * qualities) + first
    return out


def home(rows: np.ndarray, vocabulary: Vocabulary) -> int:
    """Semitones, -5 to 6, that bring the music of ``rows`` to C major or A minor (Krumhansl's key profiles).

    All is learnt and sampled there: a small model then spends nothing on twelve keys.
    """
    sounding = rows[:, PITCH] > 0
    pitch = vocabulary.numbers(PITCH)[rows[sounding, PITCH]].astype(int)
    profile = np.bincount(pitch % 12, weights=vocabulary.numbers(DURATION)[rows[sounding, DURATION]], minlength=12)
    keys = np.array([[np.dot(np.roll(k - k.mean(), t), profile) / k.std() for t in range(12)] for k in (MAJOR, MINOR)])
    mode, tonic = np.unravel_index(keys.argmax(), keys.shape)
    return int((9 * mode - tonic + 5) % 12 - 5)


def last_bars(rows: np.ndarray, count: int) -> np.ndarray:
    """The last ``count`` bars of rows (T, 7), or all there are."""
    lines = np.flatnonzero(rows[:, BEAT] == BAR)
    return from_bar(rows, lines[-count]) if len(lines) >= count else rows


def some_bars(rows: np.ndarray, first: int, count: int) -> np.ndarray:
    """``count`` bars of rows (T, 7) from bar ``first`` on."""
    lines = np.append(np.flatnonzero(rows[:, BEAT] == BAR), len(rows))
    return from_bar(rows[: lines[first + count]], lines[first])
