"""Post-processing of sampled pieces: playable hands, a steady pulse, cadences, an ending.

On grids, after sampling. Changes of the sampled notes: notes out of the hands' reach are dropped, the second half of
every eighth bar moves to the dominant, the last bar is a held tonic chord.
"""

import numpy as np

from music.beats import Beats
from music.chords import NONE, ROOTS, estimate
from music.hands import chords as onsets
from music.hands import playable, within
from music.names import Key
from music.names import tones as chord_tones
from music.tokens import POSITIONS, Grid

PHRASE = 8  # bars from one cadence to the next
SAME = 0.25  # most that valence and arousal may differ where a phrase returns
SHORTEST = 4  # bars of a piece that gets cadence and ending
RUBATO = 0.055  # most that a bar departs from the pulse, as a share
PACE, LIVELY = 88.0, 0.40  # bpm of a piece of no arousal; log of the tempo for each unit of it
TARGET_WEIGHT = 0.65  # weight of that tempo against the sampled one
DRIFT = 0.08  # most by which the log of the pulse moves from bar to bar
SLOWING = (0.95, 0.84)  # of the pulse in the last bars


def closed(grid: Grid, key: Key, first: int = 0, whole: int | None = None) -> Grid:
    """The grid with a cadence at the end of each phrase and a tonic chord, held, as its last bar.

    Of a piece of ``whole`` bars it may be the part from bar ``first`` on."""
    bars, whole = len(grid.tempo), whole or len(grid.tempo)
    if whole < SHORTEST:
        return grid
    for bar in (*range(PHRASE, whole - 1, PHRASE), whole - 1):
        if first < bar <= first + bars:
            grid = harmonised(grid, dominant(key), (bar - first) * 4 - 2, (bar - first) * 4)
    if first + bars < whole:
        return grid
    last, tonic = (bars - 1) * POSITIONS, f"{ROOTS[key.tonic]}_{'m' if key.minor else 'M'}"
    before = grid.notes[grid.notes[:, 0] < last]
    before[:, 2] = np.minimum(before[:, 2], last - before[:, 0])
    held = _final(before[before[:, 0] >= last - 2 * POSITIONS], key, last)
    return grid._replace(notes=np.concatenate((before, held)), chords=[*grid.chords[:-4], *[tonic] * 4])


def returning(points: np.ndarray) -> dict[int, tuple[int, int]]:
    """Valence and arousal of each bar (bars, 2) -> bars at which earlier ones return: the first of those, how many.

    Phrases follow one another as A A B A: those that return begin with half of the phrase that they repeat, if the
    emotion of these bars is about the same.
    """
    found, bars = {}, len(points)
    for begin in range(PHRASE, bars, PHRASE):
        source = {1: begin - PHRASE, 3: begin - 3 * PHRASE}.get(begin // PHRASE % 4)
        count = min(PHRASE, bars - begin) // 2
        if source is not None and count:
            apart = np.abs(points[begin : begin + count] - points[source : source + count])
            if apart.max() <= SAME:
                found[begin] = source, count
    return found


def dominant(key: Key) -> str:
    """The chord that leads to the tonic."""
    return f"{ROOTS[(key.tonic + 7) % 12]}_7"


def _final(near: np.ndarray, key: Key, position: int) -> np.ndarray:
    """A tonic chord a bar long, near the notes before it: an octave in the bass, a triad under the tune's last tone."""
    triad = (key.tonic + np.array([0, 3 if key.minor else 4, 7])) % 12
    top = float(near[near[:, 0] == near[-1, 0], 1].max()) if len(near) else 72.0
    loud = near[:, 3].mean() * 0.9 if len(near) else 64.0
    low = near[:, 1].min() if len(near) else 40.0
    bass = min(range(33, 46), key=lambda p: (p % 12 != key.tonic, abs(p - low)))
    above = [p for p in range(55, 97) if p % 12 in triad]
    high = min((p for p in above if p >= 60 and p % 12 in triad[:2]), key=lambda p: abs(p - top))
    inner = [p for p in above if high - 12 < p < high][-2:]
    pitch = sorted({bass, bass + 12, *inner, high}, reverse=True)
    return np.array([(position, p, POSITIONS, round(loud)) for p in pitch], float)


def harmonised(grid: Grid, name: str, begin: int, end: int) -> Grid:
    """The grid with its notes of beats ``begin`` to ``end`` moved to the nearest tones of a chord, the lowest to its
    root; notes that sound into them end, those that would come to lie on one another merge."""
    tones = chord_tones(name)
    low, high = begin * 4, end * 4
    notes = grid.notes.copy()
    into = (notes[:, 0] < low) & (notes[:, 0] + notes[:, 2] > low) & ~np.isin(notes[:, 1] % 12, tones)
    notes[into, 2] = low - notes[into, 0]
    inside = np.flatnonzero((notes[:, 0] >= low) & (notes[:, 0] < high))
    if len(inside):
        bass = inside[notes[inside, 1] <= notes[inside, 1].min() + 4]
        notes[inside, 1] = nearest(notes[inside, 1], tones)
        notes[bass, 1] = nearest(notes[bass, 1], tones[:1])
    chords = [*grid.chords[:begin], *[name] * (end - begin), *grid.chords[end:]]
    return grid._replace(notes=merged(notes), chords=chords)


def nearest(pitch: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Pitches (n,) -> the nearest of some pitch classes, upwards where two are as near; on the keyboard."""
    every = np.array([p for p in range(21, 109) if p % 12 in set(np.asarray(classes).tolist())])
    gap = np.abs(every - pitch[:, None]) - 0.25 * (every > pitch[:, None])
    return every[gap.argmin(1)].astype(float)


def merged(notes: np.ndarray) -> np.ndarray:
    """Grid notes (n, 4) in order, of those of one pitch at one position the longest."""
    notes = notes[np.lexsort((-notes[:, 2], -notes[:, 1], notes[:, 0]))]
    new = np.ones(len(notes), bool)
    new[1:] = np.any(notes[1:, :2] != notes[:-1, :2], axis=1)
    return notes[new]


def named(grid: Grid) -> Grid:
    """The grid with chord symbols estimated from its notes; the network's own often differ from what it plays."""
    beats = Beats(np.arange(len(grid.tempo) * 4, dtype=float), 0)
    position, pitch, length, velocity = grid.notes.T
    notes = np.column_stack((position / 4, (position + length) / 4, pitch, velocity))
    return grid._replace(chords=estimate(notes, beats))


def without_clashes(grid: Grid) -> Grid:
    """The grid without semitones and minor ninths struck together, but those that are in its chord: the note that is no
    chord tone goes, else the lower one; the tune's notes stay."""
    kept, first = np.ones(len(grid.notes), bool), 0
    for onset in onsets(grid.notes):
        pitch, name = onset[:, 1], grid.chords[int(onset[0, 0]) // 4]
        inside = np.isin(pitch % 12, [] if name == NONE else chord_tones(name))
        for high, low in zip(*np.nonzero(np.isin(pitch[:, None] - pitch, (1, 13))), strict=True):
            if kept[first + high] and kept[first + low] and not (inside[high] and inside[low]):
                kept[first + (high if inside[low] and high else low)] = False
        first += len(onset)
    return grid._replace(notes=grid.notes[kept])


def in_reach(grid: Grid) -> tuple[Grid, int]:
    """The grid with nothing beyond its last bar line and no note that two hands cannot strike, and how many went."""
    grid = within(grid._replace(notes=merged(grid.notes)))
    kept = playable(grid.notes)
    return grid._replace(notes=grid.notes[kept]), int((~kept).sum())


def paced(drawn: np.ndarray, arousal: np.ndarray, before: float | None = None, ends: bool = True) -> np.ndarray:
    """Sampled tempi (bars,) -> one pulse with rubato: it follows ``arousal`` (bars,), continues from the tempo
    ``before`` if given, deviates by RUBATO at most, and slows down if the piece ``ends``."""
    new = np.log(np.maximum(drawn, 20.0))
    base = np.median(new) * (1 - TARGET_WEIGHT) + (np.log(PACE) + LIVELY * arousal) * TARGET_WEIGHT
    if before is not None:
        base = np.log(before) + LIVELY * (arousal - arousal[0])
    pulse = np.cumsum(np.concatenate((base[:1], np.diff(base).clip(-DRIFT, DRIFT))))
    smooth = np.convolve(np.pad(new, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    bend = (smooth - np.median(smooth)) / 2
    bend = bend / max(np.abs(bend).max() / RUBATO, 1.0)
    tempo = np.exp(pulse + bend)
    if ends:
        tempo[-len(SLOWING) :] = np.exp(pulse[-len(SLOWING) :]) * SLOWING
    return tempo
