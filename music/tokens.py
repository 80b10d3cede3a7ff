"""Compound words: one step of music is seven ids (MusER, AAAI 2024; the emotion element is the conditioner's).

A piece is a list of rows (T, 7) in the order of :data:`ELEMENTS`. Per bar: a Bar row; for every position that is
played a Metrical row (tempo, chord, position), then its Note rows (pitch, duration, velocity), high to low.
Id 0 of every element means "does not apply here". A bar is 4/4 in sixteenths; a beat is 480 ticks.
"""

import json
from bisect import bisect_left
from pathlib import Path
from typing import NamedTuple

import numpy as np

from music.beats import Beats
from music.chords import QUALITIES

ELEMENTS = ("tempo", "chord", "beat", "type", "pitch", "duration", "velocity")
TEMPO, CHORD, BEAT, TYPE, PITCH, DURATION, VELOCITY = range(7)
EOS, START, METRICAL, NOTE = range(4)  # ids of the type element
CONTI = 1  # id of tempo and chord: as before
BAR, FIRST_BEAT = 1, 2  # ids of the beat element
TICKS, POSITIONS = 480, 16
STEP = TICKS // 4  # ticks of a sixteenth
ROOTS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
APPLIES = {METRICAL: (TEMPO, CHORD, BEAT), NOTE: (PITCH, DURATION, VELOCITY)}


class Vocabulary:
    """The value of each id: ``values[element][id]``. Numbers are BPM, MIDI pitch, sixteenths, MIDI velocity.

    Ids stand in musical order always; MusER's release sorts them as text, so its importer permutes
    (:mod:`music.muser.upstream`).
    """

    def __init__(self, values: dict[str, list]):
        self.values = {element: list(values[element]) for element in ELEMENTS}
        self.sizes = tuple(len(self.values[element]) for element in ELEMENTS)
        self.ids = [{value: i for i, value in enumerate(self.values[element])} for element in ELEMENTS]
        self._numbers = [self._sorted_numbers(index) for index in range(len(ELEMENTS))]

    @classmethod
    def default(cls) -> "Vocabulary":
        chords = [f"{root}_{quality}" for root in ROOTS for quality in QUALITIES]
        return cls(
            {
                "tempo": [0, "CONTI", *range(32, 225, 3)],
                "chord": [0, "CONTI", "N_N", *chords],
                "beat": [0, "Bar", *(f"Beat_{k}" for k in range(POSITIONS))],
                "type": ["EOS", "Emotion", "Metrical", "Note"],
                "pitch": [0, *range(21, 109)],
                "duration": [0, 0.5, *range(1, POSITIONS + 1)],
                "velocity": [0, *range(4, 125, 3)],
            }
        )

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        return cls(json.loads(Path(path).read_text()))

    def save(self, path: Path) -> None:
        Path(path).write_text(json.dumps(self.values))

    def _sorted_numbers(self, index: int) -> tuple[list[float], list[int]]:
        pairs = [(v, i) for i, v in enumerate(self.values[ELEMENTS[index]]) if i and not isinstance(v, str)]
        pairs.sort()
        return [v for v, _ in pairs], [i for _, i in pairs]

    def nearest(self, index: int, value: float) -> int:
        """The id of element ``index`` whose number is nearest to ``value``."""
        numbers, ids = self._numbers[index]
        at = bisect_left(numbers, value)
        if at == len(numbers) or (at and value - numbers[at - 1] <= numbers[at] - value):
            at -= 1
        return ids[at]

    def numbers(self, index: int) -> np.ndarray:
        """(classes,) the physical value of each id of an element, NaN where it has none (chords, types, CONTI).

        Beat ids count positions of the bar; this is what latents are put in order by.
        """
        if index == BEAT:
            return np.array([int(str(v)[5:]) if str(v).startswith("Beat_") else np.nan for v in self.values["beat"]])
        values = self.values[ELEMENTS[index]]
        return np.array([v if i and not isinstance(v, str) else np.nan for i, v in enumerate(values)], dtype=float)


class Grid(NamedTuple):
    """Notes on the sixteenth grid. Positions count sixteenths from the first bar line, durations too."""

    notes: np.ndarray  # (n, 4) position, pitch, duration, velocity
    tempo: np.ndarray  # (bars,) BPM
    chords: list[str]  # one a beat


def quantise(notes: np.ndarray, beats: Beats, chords: list[str]) -> Grid:
    """Performed notes (n, 4: start s, end s, pitch, velocity) on the sixteenth grid that ``beats`` draws.

    The first bar is the one in which the first note falls; of notes of one pitch at one position the longest stays,
    and none sounds on into the next one of its pitch.
    """
    phase = np.arange(len(beats.times), dtype=float) * 4 - beats.downbeat * 4
    start, end = (_to_grid(notes[:, column], beats.times, phase) for column in (0, 1))
    position = np.round(start).astype(int)
    first = position.min() // POSITIONS * POSITIONS
    length = np.where(end - start < 0.75, 0.5, np.round(end - start).clip(1, POSITIONS))
    rows = np.column_stack((position - first, notes[:, 2], length, notes[:, 3]))
    rows = rows[np.lexsort((-rows[:, 2], -rows[:, 1], rows[:, 0]))]
    keep = np.ones(len(rows), bool)
    keep[1:] = np.any(rows[1:, :2] != rows[:-1, :2], axis=1)
    rows = apart(rows[keep])
    bars = int(rows[:, 0].max()) // POSITIONS + 1
    lines = _from_grid(np.arange(bars + 1) * POSITIONS + first, beats.times, phase)
    tempo = 240.0 / np.maximum(np.diff(lines), 1e-3)
    skip = first // 4 + beats.downbeat  # beats before the first bar line
    named = [chords[b] if 0 <= b < len(chords) else "N_N" for b in range(skip, skip + bars * 4)]
    return Grid(rows, tempo, named)


def apart(notes: np.ndarray) -> np.ndarray:
    """Grid notes (n, 4), each no longer than until the next one of its pitch: a MIDI file cannot tell them apart."""
    by_pitch = notes[np.lexsort((notes[:, 0], notes[:, 1]))]
    gap = np.append(np.diff(by_pitch[:, 0]), np.inf)
    gap[:-1][np.diff(by_pitch[:, 1]) != 0] = np.inf
    by_pitch[:, 2] = np.minimum(by_pitch[:, 2], gap)
    apart = by_pitch[gap > 0]
    return apart[np.lexsort((-apart[:, 1], apart[:, 0]))]


def _to_grid(times: np.ndarray, beats: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Seconds to sixteenths, straight on beyond the first and the last beat."""
    first, last = beats[1] - beats[0], beats[-1] - beats[-2]
    inside = np.interp(times, beats, phase)
    early, late = np.minimum(times - beats[0], 0) / first * 4, np.maximum(times - beats[-1], 0) / last * 4
    return inside + early + late


def _from_grid(positions: np.ndarray, beats: np.ndarray, phase: np.ndarray) -> np.ndarray:
    first, last = beats[1] - beats[0], beats[-1] - beats[-2]
    inside = np.interp(positions, phase, beats)
    early = np.minimum(positions - phase[0], 0) / 4 * first
    return inside + early + np.maximum(positions - phase[-1], 0) / 4 * last


def encode(grid: Grid, vocabulary: Vocabulary) -> np.ndarray:
    """A grid as compound words int16 (T, 7). Tempo stands at the first event of a bar, chords where they change."""
    rows, chord, last_tempo, v = [], None, None, vocabulary
    by_bar = np.searchsorted(grid.notes[:, 0], np.arange(len(grid.tempo) + 1) * POSITIONS)
    for bar in range(len(grid.tempo)):
        rows.append((0, 0, BAR, METRICAL, 0, 0, 0))
        here, opened = grid.notes[by_bar[bar] : by_bar[bar + 1]], None
        for position, pitch, length, velocity in here:
            at = int(position) - bar * POSITIONS
            if at != opened:
                name = grid.chords[bar * 4 + at // 4]
                tempo = v.nearest(TEMPO, grid.tempo[bar]) if opened is None else CONTI
                rows.append(
                    (
                        CONTI if tempo == last_tempo else tempo,
                        CONTI if name == chord else v.ids[CHORD][name],
                        FIRST_BEAT + at,
                        METRICAL,
                        0,
                        0,
                        0,
                    )
                )
                last_tempo, chord, opened = (tempo if opened is None else last_tempo), name, at
            note = v.nearest(PITCH, pitch), v.nearest(DURATION, length), v.nearest(VELOCITY, velocity)
            rows.append((0, 0, 0, NOTE, *note))
    return np.array(rows, dtype=np.int16).reshape(-1, 7)


def decode(tokens: np.ndarray, vocabulary: Vocabulary) -> Grid:
    """Compound words (T, 7) back to a grid; rows that break the grammar raise ValueError."""
    if problem := violation(tokens):
        raise ValueError(problem)
    v, rows, tempo, chords, bar, at, bpm, name = vocabulary.values, [], [], [], -1, 0, 120.0, "N_N"
    for row in tokens:
        if row[TYPE] == METRICAL and row[BEAT] == BAR:
            bar += 1
            tempo.append(bpm)
            chords += [None] * 4
        elif row[TYPE] == METRICAL:
            at = int(v["beat"][row[BEAT]][5:])
            bpm = float(v["tempo"][row[TEMPO]]) if row[TEMPO] > CONTI else bpm
            name = v["chord"][row[CHORD]] if row[CHORD] > CONTI else name
            tempo[bar], chords[bar * 4 + at // 4] = bpm, name
        elif row[TYPE] == NOTE:
            length = v["duration"][row[DURATION]] or 0.5
            rows.append((bar * POSITIONS + at, v["pitch"][row[PITCH]], length, v["velocity"][row[VELOCITY]]))
    for beat, chord in enumerate(chords):
        chords[beat] = chord or (chords[beat - 1] if beat else "N_N")
    return Grid(np.array(rows, dtype=float).reshape(-1, 4), np.array(tempo), chords)


def violation(tokens: np.ndarray) -> str | None:
    """The first violation of the grammar in (T, 7), or None: rows of one type only, rising positions, none empty.

    A bar without notes is a written rest; the sampler never writes one.
    """
    previous, at = None, 0
    for index, row in enumerate(np.asarray(tokens)):
        kind = "note" if row[TYPE] == NOTE else "bar" if row[BEAT] == BAR else "position"
        if row[TYPE] not in APPLIES:
            return f"row {index}: type {row[TYPE]} has no place inside a piece"
        applies = (BEAT,) if kind == "bar" else APPLIES[row[TYPE]]
        if any((row[e] == 0) == (e in applies) for e in range(7) if e != TYPE):
            return f"row {index}: a {kind} row must set just {', '.join(ELEMENTS[e] for e in applies)}"
        if previous is None and kind != "bar":
            return "the first row must be a bar"
        if (kind, previous) in {("bar", "position"), ("position", "position"), ("note", "bar")}:
            return f"row {index}: a {kind} right after a {previous}"
        if kind == "position" and previous == "note" and row[BEAT] <= at:
            return f"row {index}: position {row[BEAT]} does not come after {at}"
        at, previous = (row[BEAT] if kind == "position" else 0 if kind == "bar" else at), kind
    return None if previous == "note" else "a piece must end with a note"
