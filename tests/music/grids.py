"""Random pieces on the grid and performances of them, for tests of tokens, scores and training."""

import numpy as np
from hypothesis import strategies as st

from music.chords import NAMES
from music.tokens import ELEMENTS, POSITIONS, Grid, Vocabulary

VOCABULARY = Vocabulary.default()
TEMPI, PITCHES, LENGTHS, VELOCITIES = (
    [v for v in VOCABULARY.values[e] if v and not isinstance(v, str)]
    for e in ("tempo", "pitch", "duration", "velocity")
)


@st.composite
def grids(draw, bars=4):
    """Valid grids that tokens can hold: values of the vocabulary, tempo and chords that change where notes begin."""
    seed, count = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, bars))
    return random_grid(np.random.default_rng(seed), count, draw(st.floats(0.05, 0.9)))


def random_grid(rng, bars, density=0.4):
    rows, tempo, chords = [], [], []
    bpm, name = 120.0, "N_N"
    for bar in range(bars):
        empty = 0 < bar < bars - 1 and rng.random() < 0.15
        played = np.flatnonzero(rng.random(POSITIONS) < density)
        if not len(played):
            played = np.array([rng.integers(POSITIONS)])
        played = [] if empty else played
        bpm = bpm if empty or (bar and rng.random() < 0.5) else float(rng.choice(TEMPI))
        tempo.append(bpm)
        for beat in range(4):
            begins = [p for p in played if p // 4 == beat]
            name = str(rng.choice(NAMES)) if begins and rng.random() < 0.6 else name
            chords.append(name)
            for position in begins:
                for pitch in sorted(rng.choice(PITCHES, rng.integers(1, 5), replace=False), reverse=True):
                    rows.append((bar * POSITIONS + position, pitch, rng.choice(LENGTHS), rng.choice(VELOCITIES)))
    return Grid(np.array(rows, dtype=float), np.array(tempo), chords)


def same(a, b):
    np.testing.assert_array_equal(a.notes, b.notes)
    np.testing.assert_array_equal(a.tempo, b.tempo)
    assert a.chords == b.chords


def song(bars=8, bpm=96.0, seed=0, quadrant=1):
    """Notes (n, 4) in seconds, exactly in time: arpeggios over a bass, in the manner of a quadrant."""
    rng = np.random.default_rng(seed)
    lively, third = quadrant in (1, 2), 4 if quadrant in (1, 4) else 3
    beat, rows = 60 / bpm, []
    for bar in range(bars):
        root = 48 + (0, 5, 7, 0)[bar % 4]
        rows.append((bar * 4 * beat, (bar + 1) * 4 * beat, root - 12, 70 + 20 * lively))
        for step in range(0, 16, 2 if lively else 4):
            start = (bar * 4 + step / 4) * beat
            pitch = root + 12 + (0, third, 7, 12)[(step // 2 + rng.integers(2)) % 4]
            rows.append((start, start + beat / 2, pitch, 60 + 30 * lively + rng.integers(8)))
    notes = np.array(rows, dtype=float)
    return notes[np.lexsort((-notes[:, 2], notes[:, 0]))]


def numbers(element):
    return VOCABULARY.numbers(ELEMENTS.index(element))
