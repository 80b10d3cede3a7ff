"""Divides a piece between two hands: finds notes out of reach and the pedal that is needed.

A hand takes five notes within a tenth. The hands divide the keyboard at a line that moves little: the best path over
the onsets (Viterbi), as in Nakamura, Yoshii and Katayose (2014), with plain costs in place of learnt ones.
"""

from typing import NamedTuple

import numpy as np

from music.tokens import POSITIONS, Grid, apart

FINGERS, TENTH = 5, 16  # notes of a hand at once, semitones that it spans
LINES = np.arange(36, 97)  # pitches at which the hands may divide; notes from the line on are the right hand's
MIDDLE = 60
MOVE, OFF, LEDGER, ALONE = 0.25, 0.06, 0.12, 0.3  # costs: a semitone of the line, of its distance from the middle, of a
STAVES = (57, 64)  # note below the treble's or above the bass's comfort, and of a hand that has nothing to play


class Hands(NamedTuple):
    """The notes of each hand (n, 4), and where the pedal goes down and up (p, 2), in sixteenths."""

    right: np.ndarray
    left: np.ndarray
    pedal: np.ndarray


def within(grid: Grid) -> Grid:
    """The grid with notes cut at its last bar line."""
    end = len(grid.tempo) * POSITIONS
    notes = grid.notes.copy()
    notes[:, 2] = np.minimum(notes[:, 2], end - notes[:, 0])
    return grid._replace(notes=notes)


def playable(notes: np.ndarray) -> np.ndarray:
    """(n,) bool: which of a grid's notes (n, 4) two hands can strike together.

    Top and bottom stay; of the others those go first whose pitch class is doubled, then the innermost.
    """
    kept, first = np.ones(len(notes), bool), 0
    for chord in chords(notes):
        here = np.arange(first, first + len(chord))
        first += len(chord)
        while _line(notes[here, 1]) is None:
            pitch = notes[here, 1]
            doubled = np.bincount(pitch.astype(int) % 12, minlength=12)[pitch.astype(int) % 12] > 1
            order = np.lexsort((-np.minimum(pitch[0] - pitch, pitch - pitch[-1]), ~doubled))
            at = next(i for i in order if 0 < i < len(here) - 1)
            kept[here[at]] = False
            here = np.delete(here, at)
    return kept


def chords(notes: np.ndarray) -> list[np.ndarray]:
    """Notes (n, 4), sorted by position and from high to low, by onset."""
    return np.split(notes, np.flatnonzero(np.diff(notes[:, 0])) + 1) if len(notes) else []


def _reached(pitch: np.ndarray) -> bool:
    return len(pitch) <= FINGERS and (not len(pitch) or pitch[0] - pitch[-1] <= TENTH)


def _line(pitch: np.ndarray) -> int | None:
    """The number of a chord's notes, from high to low, for the right hand so that both hands reach theirs."""
    return next((k for k in range(len(pitch) + 1) if _reached(pitch[:k]) and _reached(pitch[k:])), None)


def divide(grid: Grid) -> Hands:
    """A playable grid, divided between the hands."""
    notes = apart(grid.notes)
    found = chords(notes)
    right = np.zeros(len(notes), bool)
    if found:
        local = np.array([_costs(chord[:, 1]) for chord in found])
        gap = np.diff([chord[0, 0] for chord in found], prepend=found[0][0, 0]).clip(1)
        line = LINES[_path(local, gap)]
        right = notes[:, 1] >= np.repeat(line, [len(chord) for chord in found])
    parts = notes[right], notes[~right]
    return Hands(*parts, _pedal(parts, grid))


def _costs(pitch: np.ndarray) -> np.ndarray:
    """Costs (lines,) of dividing a chord, high to low, at each line; 1,000 where a hand does not reach."""
    each = []
    for count in range(len(pitch) + 1):
        high, low = pitch[:count], pitch[count:]
        cost = LEDGER * ((STAVES[0] - high).clip(0).sum() + (low - STAVES[1]).clip(0).sum())
        cost += ALONE * (len(pitch) > 2) * (not len(high) or not len(low))
        each.append(cost + 1000.0 * (not (_reached(high) and _reached(low))))
    return np.array(each)[(pitch[:, None] >= LINES).sum(0)] + OFF * np.abs(LINES - MIDDLE)


def _path(local: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """(onsets, lines) costs and sixteenths since the onset before -> the cheapest line of each onset."""
    apart_by = np.abs(LINES[:, None] - LINES)
    best, source = local[0], np.zeros(local.shape, int)
    for i in range(1, len(local)):
        total = best[:, None] + MOVE / np.sqrt(gap[i]) * apart_by
        source[i] = total.argmin(0)
        best = total.min(0) + local[i]
    path = [int(best.argmin())]
    for i in range(len(local) - 1, 0, -1):
        path.append(int(source[i, path[-1]]))
    return np.array(path[::-1])


def _pedal(hands: tuple[np.ndarray, np.ndarray], grid: Grid) -> np.ndarray:
    """(p, 2) from one change of harmony to the next, wherever a hand has to leave a note that sounds on."""
    needed = []
    for notes in hands:
        held = np.zeros((0, 4))
        for chord in chords(notes):
            at = chord[0, 0]
            held = held[held[:, 0] + held[:, 2] > at]
            while len(held) and not _reached(np.sort(np.concatenate((held, chord))[:, 1])[::-1]):
                far = np.abs(held[:, 1] - chord[:, 1].mean()).argmax()
                needed.append((at, held[far, 0] + held[far, 2]))
                held = np.delete(held, far, axis=0)
            held = np.concatenate((held, chord))
    if not needed:
        return np.zeros((0, 2))
    names, end = grid.chords, len(grid.tempo) * POSITIONS
    changes = [b * 4 for b in range(len(names)) if b % 4 == 0 or names[b] != names[b - 1]]
    spans = np.array([*zip(changes, [*changes[1:], end], strict=True)], float)
    begin, stop = np.array(needed).T
    used = [np.any((begin < b) & (stop > a)) for a, b in spans]
    return spans[np.array(used)]
