"""Tunes of the user's: harmonised and accompanied without touching them, turned to an emotion as a theme, and bars of a
song made anew between the others.

The accompaniment is what MusER draws for the emotion, moved to the tune's key and harmony and kept under it.
"""

from __future__ import annotations

import numpy as np

from music import controls, finish, names
from music.chords import ROOTS
from music.controls import on_keyboard
from music.hands import divide
from music.names import Key
from music.score import Song
from music.tokens import POSITIONS, Grid

UNDER = 2  # semitones that the accompaniment stays under the tune
SOFTER = 0.85  # its loudness, as a share of the tune's
SIMPLE = {0: 0.35, 5: 0.2, 7: 0.25, 9: 0.1, 2: 0.05, 4: 0.0, 11: -0.4}  # liking of chords on degrees of a major scale
STAY, CHANGE = 0.15, 0.0  # liking of a chord that lasts beyond a half bar
BRIGHT = 0.15  # of valence, either way, from which on a theme turns to major or minor
ALIKE = 0.85  # least likeness of a theme in another mode; below that its relative key is taken
LOUD = (62.0, 26.0)  # mean velocity of a theme at no arousal, and what arousal adds


def harmony(grid: Grid, key: Key) -> tuple[str, ...]:
    """A chord of the key for each half bar under a tune: most of its sound fits, plain ones first, the last is the
    tonic's (Viterbi)."""
    degrees = (0, 2, 3, 5, 7, 8, 10) if key.minor else (0, 2, 4, 5, 7, 9, 11)
    options, liking = [], []
    for degree in degrees:
        root = (key.tonic + degree) % 12
        third, fifth = ((root + s) % 12 in key.scale for s in (3, 7))
        quality = "o" if not fifth else "m" if third else "M"
        quality = "M" if key.minor and degree == 7 else quality
        options.append(f"{ROOTS[root]}_{quality}")
        liking.append(
            SIMPLE[(degree + 3 * key.minor) % 12]
            if not key.minor
            else {0: 0.35, 5: 0.2, 7: 0.25, 8: 0.15, 3: 0.1, 10: 0.1, 2: -0.4}[degree]
        )
    count = len(grid.tempo) * 2
    fits = np.zeros((count, len(options)))
    for half in range(count):
        low, high = half * 8, half * 8 + 8
        sounding = (np.minimum(grid.notes[:, 0] + grid.notes[:, 2], high) - np.maximum(grid.notes[:, 0], low)).clip(0)
        weight = sounding * np.where(grid.notes[:, 0] == low, 1.5, 1.0)
        for i, name in enumerate(options):
            inside = np.isin(grid.notes[:, 1] % 12, names.tones(name))
            fits[half, i] = (weight * inside).sum() / max(weight.sum(), 1e-9) if weight.any() else 0.5
    fits = fits * 2 + np.array(liking)
    fits[-1, 0] += 10
    keep = np.full((len(options), len(options)), CHANGE)
    best, source = fits[0], np.zeros((count, len(options)), int)
    for half in range(1, count):
        np.fill_diagonal(keep, STAY if half % 2 else -0.05)
        total = best[:, None] + keep
        source[half], best = total.argmax(0), total.max(0) + fits[half]
    path = [int(best.argmax())]
    for half in range(count - 1, 0, -1):
        path.append(int(source[half, path[-1]]))
    return tuple(options[i] for i in path[::-1])


def accompaniment(drawn: Grid, tune: Grid, chords: tuple[str, ...], key: Key) -> Grid:
    """The lower part of a drawn piece under a tune: in its key, over its chords (one a half bar), below its notes."""
    own = names.found(drawn.notes)
    moved = controls.in_key(drawn, own, Key(key.tonic, own.minor))
    left = divide(finish.in_reach(moved)[0]).left
    part = moved._replace(notes=_filled(left, chords, tune))
    for half, name in enumerate(chords[: len(part.tempo) * 2]):
        part = finish.harmonised(part, name, half * 2, half * 2 + 2)
    notes = part.notes.copy()
    for i, (position, pitch, length, _) in enumerate(notes):
        over = tune.notes[(tune.notes[:, 0] < position + length) & (tune.notes[:, 0] + tune.notes[:, 2] > position), 1]
        limit = over.min() - UNDER if len(over) else 127
        while notes[i, 1] > limit and notes[i, 1] - 12 >= 21:
            notes[i, 1] -= 12
        notes[i, 3] = notes[i, 3] if pitch == notes[i, 1] else notes[i, 3] * 0.9
    level = SOFTER * tune.notes[:, 3].mean() / max(notes[:, 3].mean(), 1) if len(notes) else 1.0
    notes[:, 3] = np.rint((notes[:, 3] * level).clip(controls.SOFTEST, controls.LOUDEST))
    last = (len(tune.tempo) - 1) * POSITIONS
    bass = names.tones(chords[-1])[0]
    end = min((p for p in range(31, 55) if p % 12 == bass), key=lambda p: abs(p - 43))
    held = np.array([(last, end, POSITIONS, round(SOFTER * tune.notes[:, 3].mean()))], float)
    notes = np.concatenate((notes[notes[:, 0] < last], held))
    chords4 = [name for name in chords for _ in range(2)]
    return finish.within(Grid(finish.merged(notes), tune.tempo, chords4[: len(tune.tempo) * 4]))


def _filled(notes: np.ndarray, chords: tuple[str, ...], tune: Grid) -> np.ndarray:
    """Notes (n, 4) with the root and the fifth of the chord, held, in each half bar whose bar has none."""
    silent = np.setdiff1d(np.arange(len(tune.tempo)), notes[:, 0] // POSITIONS)
    loud = notes[:, 3].mean() if len(notes) else tune.notes[:, 3].mean()
    held = [
        (half * 8, 36 + (tone - 36) % 12 + 12 * (i > 0), 8, loud)
        for half in range(min(2 * len(tune.tempo), len(chords)))
        for i, tone in enumerate(names.tones(chords[half])[[0, 2]])
        if half // 2 in silent
    ]
    return finish.merged(np.concatenate((notes, np.array(held, float).reshape(-1, 4))))


def with_part(song: Song, part: Grid, key: Key):
    """The file's score with one track more, and its chords as markers; nothing else in it is another."""
    import symusic

    score = song.score.copy()
    track = symusic.Track(name="accompaniment", program=0)
    for position, pitch, length, velocity in part.notes:
        begin, end = song.ticks(np.array([position, position + length]))
        track.notes.append(symusic.Note(int(begin), max(int(end - begin), 1), int(pitch), int(velocity)))
    score.tracks.append(track)
    for beat, name in enumerate(part.chords):
        if beat == 0 or name != part.chords[beat - 1]:
            score.markers.append(symusic.TextMeta(int(song.ticks(np.array([beat * 4]))[0]), key.chord(name)))
    return score


def themed(theme: Grid, bars: int, valence: np.ndarray, arousal: np.ndarray) -> tuple[Grid, list[Key]]:
    """A theme over and over for ``bars`` bars, each time as the emotion there asks: in minor or major, soft or loud,
    low or high; with it each time's key."""
    own, size = names.found(theme.notes), len(theme.tempo)
    notes, keys = [], []
    for begin in range(0, bars, size):
        here = slice(begin, min(begin + size, bars))
        v, a = float(valence[here].mean()), float(arousal[here].mean())
        key = Key(own.tonic, own.minor if abs(v) < BRIGHT else v < 0)
        turn = controls.in_key(theme, own, key)
        if controls.melody_likeness(controls.tune(theme), controls.tune(turn)) < ALIKE:
            key, turn = Key(own.tonic + (3 if own.minor else 9), key.minor), theme  # the relative key has its notes
        turn = controls.at_dynamics(turn, LOUD[0] + LOUD[1] * a)
        one = turn.notes.copy()
        one[:, 1] = on_keyboard(one[:, 1] + 12 * round(0.6 * a))
        one = one[one[:, 0] < (here.stop - begin) * POSITIONS]
        notes.append(one + np.array([begin * POSITIONS, 0, 0, 0]))
        keys.append(key)
    tempo = np.resize(theme.tempo, bars)
    return Grid(np.concatenate(notes), tempo, ["N_N"] * bars * 4), keys


def replaced(song: Song, fresh: Grid, first: int, last: int):
    """The file's score with the bars ``first`` to ``last`` (from 0, ``last`` not among them) played anew.

    Of the notes only those that begin in these bars go; new ones take their place in the track that had most of them,
    but where a note that stays still sounds at their pitch.
    """
    import symusic

    score = song.score.copy()
    begin, end = song.ticks(np.array([first * POSITIONS, last * POSITIONS]))
    inside = lambda note: begin <= note.start < end
    played = [track for track in score.tracks if not track.is_drum]
    host = max(played, key=lambda track: (sum(map(inside, track.notes)), len(track.notes)))
    for track in played:
        track.notes.filter(lambda note: not inside(note), inplace=True)
    others = [(note.pitch, note.start, note.end) for track in played for note in track.notes]
    for position, pitch, length, velocity in fresh.notes:
        at, stop = song.ticks(np.array([position, position + length]) + first * POSITIONS)
        at, stop = int(max(at, begin)), int(min(stop, end))
        if stop > at and not any(p == pitch and a < stop and b > at for p, a, b in others):  # MIDI has one end for both
            host.notes.append(symusic.Note(at, stop - at, int(pitch), int(velocity)))
    host.sort()
    return score
