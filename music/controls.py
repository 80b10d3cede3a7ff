"""A musician's controls: requested properties of a piece, and the changes of its grid that achieve them.

Each control has a measure, which is used to set and to check it. Sampling follows the emotion; a control changes the
sampled grid as little as possible.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from music import names
from music.chords import NONE
from music.finish import merged, nearest
from music.hands import chords, playable
from music.names import Key
from music.score import seconds
from music.tokens import POSITIONS, Grid

SOFTEST, LOUDEST = 4, 124
FLOOR = 33  # lowest pitch that is added
PARALLEL = {False: {4: 3, 9: 8, 11: 10}, True: {3: 4, 8: 9, 10: 11}}  # degrees in semitones: major to minor, and back


class Requests(NamedTuple):
    """The requested properties of a piece; None: by the emotion."""

    key: Key | None = None
    minor: bool | None = None
    chords: tuple[str, ...] = ()  # one a bar, again from the first when they end
    density: float | None = None  # onsets a beat
    voices: float | None = None  # notes that sound, on average
    register: float | None = None  # mean MIDI pitch, each note weighed by its length
    dynamics: float | None = None  # mean MIDI velocity
    articulation: float | None = None  # how long notes are held, as a share of the time to the hand's next onset
    tempo: float | None = None  # bpm, on average over time
    seconds: float | None = None  # from the first bar line to the last
    loop: bool = False  # the end leads into the beginning


# ---------------------------------------------------------------- measures


def register(grid: Grid) -> float:
    """Mean MIDI pitch, each note weighed by its length."""
    return float(np.average(grid.notes[:, 1], weights=grid.notes[:, 2]))


def dynamics(grid: Grid) -> float:
    """Mean MIDI velocity."""
    return float(grid.notes[:, 3].mean())


def articulation(grid: Grid) -> float:
    """Mean share of the time to the next onset above or below the middle that a note is held, at most 2."""
    return float(_held(grid.notes).mean())


def _held(notes: np.ndarray) -> np.ndarray:
    """(n,) each note's length by the sixteenths until its half of the keyboard is struck again."""
    share = np.ones(len(notes))
    for high in (True, False):
        here = np.flatnonzero((notes[:, 1] >= 60) == high)
        onsets = np.unique(notes[here, 0])
        following = np.append(onsets[1:], onsets[-1:] + 4)
        share[here] = notes[here, 2] / (following - onsets)[np.searchsorted(onsets, notes[here, 0])]
    return share.clip(0, 2)


def density(grid: Grid) -> float:
    """Onsets a beat."""
    return len(np.unique(grid.notes[:, 0])) / (len(grid.tempo) * 4)


def voices(grid: Grid) -> float:
    """Notes that sound, on average over the sixteenths of the piece, each within its own bar."""
    start = grid.notes[:, 0] % POSITIONS
    return float(np.minimum(np.maximum(grid.notes[:, 2], 1), POSITIONS - start).sum() / (len(grid.tempo) * POSITIONS))


def tempo(grid: Grid) -> float:
    """Beats a minute, on average over time."""
    return 60.0 * 4 * len(grid.tempo) / length(grid)


def length(grid: Grid) -> float:
    """Seconds from the first bar line to the last."""
    return float(seconds(grid, np.array([len(grid.tempo) * POSITIONS]))[0])


def in_scale(grid: Grid, key: Key) -> float:
    """Share of the notes that belong to a key's scale, in minor with the raised seventh degree."""
    return float(np.isin(grid.notes[:, 1] % 12, _scale(key)).mean())


def on_chords(grid: Grid, chords: tuple[str, ...]) -> float:
    """Share of beats with sound in which most of the sounding time belongs to the bar's chord."""
    good = []
    for beat in range(len(grid.chords)):
        low, high = beat * 4, beat * 4 + 4
        sounding = (np.minimum(grid.notes[:, 0] + grid.notes[:, 2], high) - np.maximum(grid.notes[:, 0], low)).clip(0)
        if sounding.any():
            tones = names.tones(chords[beat // 4 % len(chords)])
            good.append(sounding[np.isin(grid.notes[:, 1] % 12, tones)].sum() > 0.5 * sounding.sum())
    return float(np.mean(good)) if good else 0.0


# ---------------------------------------------------------------- changes


def in_key(grid: Grid, own: Key, key: Key) -> Grid:
    """The grid taken from its own key to another: moved by the way between the tonics, thirds, sixths and sevenths
    changed where the mode is another, and what then lies outside the scale put on its nearest note."""
    notes = grid.notes.copy()
    degree = (notes[:, 1] - own.tonic) % 12
    if own.minor != key.minor:
        change = PARALLEL[own.minor]
        moved = np.array([change.get(int(d), int(d)) for d in degree])
        notes[:, 1] += moved - degree
    by = (key.tonic - own.tonic + 5) % 12 - 5
    notes[:, 1] = on_keyboard(notes[:, 1] + by)
    outside = ~np.isin(notes[:, 1] % 12, _scale(key))
    notes[outside, 1] = nearest(notes[outside, 1], _scale(key))
    return grid._replace(notes=merged(notes), chords=[_moved(name, own, key, by) for name in grid.chords])


def _scale(key: Key) -> np.ndarray:
    return np.append(key.scale, (key.tonic + 11) % 12) if key.minor else key.scale


def _moved(name: str, own: Key, key: Key, by: int) -> str:
    """A chord's name in the new key; in another mode, that of the chord that its tones become."""
    if name == "N_N":
        return name
    change = PARALLEL[own.minor] if own.minor != key.minor else {}
    tones = [(t - own.tonic) % 12 for t in names.tones(name)]
    found = frozenset((change.get(int(t), int(t)) + own.tonic + by) % 12 for t in tones)
    root = (change.get(int(tones[0]), int(tones[0])) + own.tonic + by) % 12
    return names.of_tones(root, found)


def on_keyboard(pitch: np.ndarray) -> np.ndarray:
    """Pitches that leave the keyboard, an octave back."""
    return np.where(pitch < 21, pitch + 12, np.where(pitch > 108, pitch - 12, pitch))


def on_harmony(grid: Grid, chords: tuple[str, ...]) -> Grid:
    """The grid with its bars over one chord each, in turn: notes on an eighth, longer ones and the bass go to the
    chord's nearest tone, the others to the nearest note of its scale."""
    notes = grid.notes.copy()
    named = list(grid.chords)
    for bar in range(len(grid.tempo)):
        name = chords[bar % len(chords)]
        tones = names.tones(name)
        begin, end = bar * POSITIONS, (bar + 1) * POSITIONS
        into = (notes[:, 0] < begin) & (notes[:, 0] + notes[:, 2] > begin) & ~np.isin(notes[:, 1] % 12, tones)
        notes[into, 2] = begin - notes[into, 0]
        here = np.flatnonzero((notes[:, 0] >= begin) & (notes[:, 0] < end))
        strong = here[(notes[here, 0] % 2 == 0) | (notes[here, 2] > 1)]
        notes[strong, 1] = nearest(notes[strong, 1], tones)
        if len(here):
            bass = here[(notes[here, 1] <= notes[here, 1].min() + 2) & (notes[here, 0] == begin)]
            notes[bass, 1] = nearest(notes[bass, 1], tones[:1])
        weak = np.setdiff1d(here, strong)
        notes[weak, 1] = nearest(notes[weak, 1], names.scale_over(name))
        named[bar * 4 : bar * 4 + 4] = [name] * 4
    return grid._replace(notes=merged(notes), chords=named)


def at_register(grid: Grid, wanted: float, free: bool) -> Grid:
    """The grid as high as wanted: moved by semitones where it is ``free`` of a key, else by octaves, the remainder by
    octaves of single bars, from the first on in turn."""
    by = wanted - register(grid)
    step = 1 if free else 12
    notes = grid.notes.copy()
    notes[:, 1] = on_keyboard(notes[:, 1] + step * round(by / step))
    named = grid.chords
    if free:
        named = [names.transposed(name, round(by)) for name in named]
    else:
        left = wanted - float(np.average(notes[:, 1], weights=notes[:, 2]))
        bar = notes[:, 0] // POSITIONS
        share = abs(left) / 12
        moved = np.floor((bar + 1) * share) > np.floor(bar * share)
        notes[moved, 1] = on_keyboard(notes[moved, 1] + 12 * np.sign(left))
    return grid._replace(notes=merged(notes), chords=named)


def at_voices(grid: Grid, wanted: float, height: float | None = None) -> Grid:
    """The grid with a mean polyphony as wanted, within the reach of two hands, and its mean pitch near ``height``.

    Notes are removed below the melody, or octaves and chord tones added: of the possible notes of each onset the one
    that brings the mean pitch nearest to ``height`` (default: the grid's own), then accompanying notes move by octaves.
    Onsets and lengths do not change.
    """
    height = register(grid) if height is None else height
    length = lambda chord: np.minimum(np.maximum(chord[:, 2], 1), POSITIONS - chord[:, 0] % POSITIONS).sum()
    weight = lambda chord: chord[:, 2] @ (chord[:, 1] - height)
    found, melody = chords(merged(grid.notes)), {(at, pitch) for at, pitch, *_ in tune(grid)}
    missing = wanted * len(grid.tempo) * POSITIONS - sum(map(length, found))
    off = sum(map(weight, found))  # sixteenths times semitones
    order = np.argsort([0.618 * i % 1 for i in range(len(found))])  # spread over the piece
    left = len(found)
    while left and abs(missing) > POSITIONS / 4:
        left = len(found)
        for at in order:
            old = found[at]
            name = grid.chords[int(old[0, 0]) // 4]
            options = _fuller(old, [] if name == NONE else names.tones(name)) if missing > 0 else _thinner(old, melody)
            new = min(options, key=lambda one: abs(off + weight(one) - weight(old)), default=old)
            change = length(new) - length(old)
            if abs(missing - change) < abs(missing):
                found[at], missing, off = new, missing - change, off + weight(new) - weight(old)
            else:
                left -= 1
    for at in order:
        new = min((found[at], *_octaves(found[at], melody)), key=lambda one: abs(off + weight(one) - weight(found[at])))
        found[at], off = new, off + weight(new) - weight(found[at])
    return grid._replace(notes=np.concatenate(found))


def _octaves(chord: np.ndarray, melody: set[tuple[float, float]]) -> Iterator[np.ndarray]:
    """A chord (n, 4) with one accompanying note an octave away, below the top if that is melody, within two hands."""
    top = chord[0, 1] if (chord[0, 0], chord[0, 1]) in melody else 109
    for i, by in itertools.product(range(len(chord)), (-12, 12)):
        pitch = chord[i, 1] + by
        if (chord[i, 0], chord[i, 1]) not in melody and FLOOR <= pitch < top and pitch not in chord[:, 1]:
            new = chord.copy()
            new[i, 1] = pitch
            new = new[np.argsort(-new[:, 1])]
            if playable(new).all() and not np.isin(np.abs(new[:, 1] - pitch), (1, 13)).any():
                yield new


def _thinner(chord: np.ndarray, melody: set[tuple[float, float]]) -> list[np.ndarray]:
    """A chord (n, 4) without one of its notes, doubled pitch classes first; melody, outer notes of more than two and a
    single note stay."""
    classes = chord[:, 1].astype(int) % 12
    doubled = np.bincount(classes, minlength=12)[classes] > 1
    some = range(1, len(chord) - 1) if len(chord) > 2 else range(len(chord)) if len(chord) == 2 else ()
    may = [i for i in some if (chord[i, 0], chord[i, 1]) not in melody]
    return [np.delete(chord, i, axis=0) for i in sorted(may, key=lambda i: not doubled[i])]


def _fuller(chord: np.ndarray, tones: Sequence[int]) -> list[np.ndarray]:
    """A chord (n, 4) with one more note below its top that two hands reach: an octave, or one of some pitch classes."""
    found, top = [], chord[0, 1]
    below = [p for p in range(int(top) - 1, FLOOR - 1, -1) if p % 12 in {*tones}]
    for pitch in dict.fromkeys((*chord[:, 1] - 12, *chord[:, 1] + 12, *below)):
        if pitch not in chord[:, 1] and FLOOR <= pitch < top:
            near = chord[np.abs(chord[:, 1] - pitch).argmin()]
            more = np.concatenate((chord, [[near[0], pitch, *near[2:]]]))
            more = more[np.argsort(-more[:, 1])]
            if playable(more).all() and not np.isin(np.abs(chord[:, 1] - pitch), (1, 13)).any():
                found.append(more)
    return found


def at_dynamics(grid: Grid, wanted: float) -> Grid:
    """The grid as loud as wanted on average, its accents kept as far as MIDI's range goes."""
    notes = grid.notes.copy()
    accents = notes[:, 3] - notes[:, 3].mean()
    level = wanted
    for _ in range(12):
        notes[:, 3] = np.rint((accents + level).clip(SOFTEST, LOUDEST))
        level += wanted - notes[:, 3].mean()
    return grid._replace(notes=notes)


def at_articulation(grid: Grid, wanted: float) -> Grid:
    """The grid as short or as bound as wanted: every length by one factor, in halves of a sixteenth."""
    low, high = 0.02, 20.0
    for _ in range(30):
        middle = np.sqrt(low * high)
        found = _stretched(grid, middle)
        low, high = (middle, high) if articulation(found) < wanted else (low, middle)
    return _stretched(grid, middle)


def _stretched(grid: Grid, factor: float) -> Grid:
    """The grid with its lengths times ``factor``; onsets are rounded up in turn, so that equal lengths do not jump."""
    notes = grid.notes.copy()
    share = 0.618 * np.unique(notes[:, 0], return_inverse=True)[1] % 1
    notes[:, 2] = (np.floor(notes[:, 2] * factor * 2 + share) / 2).clip(0.5, POSITIONS)
    return grid._replace(notes=notes)


def at_tempo(grid: Grid, wanted: float) -> Grid:
    """The grid at a mean tempo, its rubato kept."""
    return grid._replace(tempo=grid.tempo * (wanted / tempo(grid)))


def lasting(grid: Grid, wanted: float, steady: bool) -> Grid:
    """The grid in ``wanted`` seconds: all of it faster or slower, or where its tempo is to stay ``steady``, by the hold
    on its last bar alone."""
    if not steady:
        return grid._replace(tempo=grid.tempo * (length(grid) / wanted))
    rest = wanted - (length(grid) - 240 / grid.tempo[-1])
    changed = grid.tempo.copy()
    changed[-1] = 240 / rest
    return grid._replace(tempo=changed)


def bars_for(wanted: float, bpm: float, steady: bool) -> int:
    """The number of bars at a tempo whose duration is nearest to ``wanted`` seconds; rounded down if the last bar is
    held for the rest."""
    count = wanted * bpm / 240
    return max(int(count if steady else round(count)), 1)


# ---------------------------------------------------------------- tunes


def tune(grid: Grid) -> np.ndarray:
    """The highest note at each onset (n, 4), but those that lie under a higher one that still sounds."""
    notes = grid.notes[np.lexsort((-grid.notes[:, 1], grid.notes[:, 0]))]
    first = np.concatenate(([True], np.diff(notes[:, 0]) > 0)) if len(notes) else np.zeros(0, bool)
    kept, until, top = [], 0.0, 0.0
    for position, pitch, size, velocity in notes[first]:
        if position < until and pitch < top - 2:
            continue
        kept.append((position, pitch, size, velocity))
        until, top = position + size, pitch
    return np.array(kept).reshape(-1, 4)


def melody_likeness(one: np.ndarray, other: np.ndarray, size: int = 400) -> float:
    """0..1 how alike two tunes (n, 4) are, in any key and at any tempo: of the steps between neighbouring pitches, in
    semitones up to an octave, the share that both have in the same order (longest common subsequence; a step that is a
    semitone off counts half), by the longer tune's number of steps."""
    a, b = (np.diff(x[:size, 1]).clip(-12, 12) for x in (one, other))
    if not len(a) or not len(b):
        return 0.0
    score = (np.abs(a[:, None] - b) == 0) + 0.5 * (np.abs(a[:, None] - b) == 1)
    best = np.zeros(len(b) + 1)
    for row in score:
        fresh = np.maximum(best[1:], best[:-1] + row)
        best[1:] = np.maximum.accumulate(fresh)
    return float(best[-1] / max(len(a), len(b)))
