"""Turns sampled grids into pieces: applies the controls (:mod:`music.controls`) and :mod:`music.finish`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen import media
from music import controls, finish, names
from music.controls import Requests
from music.names import Key
from music.tokens import POSITIONS, Grid

if TYPE_CHECKING:
    from music.faders.play import Faders
    from music.task import MusicTask


def shaped(
    grid: Grid,
    arousal: np.ndarray,
    wishes: Requests,
    seed: int,
    before: float | None = None,
    faders: Faders | None = None,
) -> tuple[Grid, Key, int]:
    """A drawn grid as a piece, its key, and how many notes went because no two hands reach them.

    ``arousal`` (bars,) as it is asked for; ``before`` the tempo of the music that it follows; ``faders`` where density
    or voices are wished for.
    """
    grid, gone = finish.in_reach(grid)
    own = names.found(grid.notes)
    key = wishes.key or Key(own.tonic, own.minor if wishes.minor is None else wishes.minor)
    if wishes.key or key.minor != own.minor:
        grid = controls.in_key(grid, own, key)
    if faders is not None:
        touch, height = controls.articulation(grid), controls.register(grid)
        grid = faders.moved(grid, {"rhythm": wishes.density, "notes": wishes.voices}, seed)
        grid = controls.at_articulation(grid, touch)
        if wishes.voices is not None:
            grid = controls.at_voices(grid, wishes.voices, height)
    grid = finish.without_clashes(finish.named(grid))
    if wishes.chords:
        grid = controls.on_harmony(grid, wishes.chords)
        key = names.found(grid.notes)
    elif wishes.loop:
        bars = len(grid.tempo)
        grid = finish.harmonised(grid, finish.dominant(key), bars * 4 - 2, bars * 4)
    else:
        grid = finish.closed(grid, key)
    if wishes.register is not None:
        grid = controls.at_register(grid, wishes.register, free=wishes.key is None and not wishes.chords)
        key = key if wishes.key or wishes.chords else names.found(grid.notes)
    if wishes.articulation is not None:
        grid = controls.at_articulation(grid, wishes.articulation)
    grid, more = finish.in_reach(grid)
    if wishes.dynamics is not None:
        grid = controls.at_dynamics(grid, wishes.dynamics)
    ends = not wishes.loop and len(grid.tempo) >= finish.SHORTEST
    grid = grid._replace(tempo=finish.paced(grid.tempo, arousal, before, ends))
    if wishes.tempo is not None:
        grid = controls.at_tempo(grid, wishes.tempo)
    if wishes.seconds is not None:
        grid = controls.lasting(grid, wishes.seconds, steady=wishes.tempo is not None)
    return grid, key, gone + more


def parted(grid: Grid, bars: int) -> tuple[Grid, Grid]:
    """The grid's first ``bars`` bars and the rest, which begins at 0; notes across the line go to the first."""
    line = bars * POSITIONS
    at = int(np.searchsorted(grid.notes[:, 0], line))
    later = grid.notes[at:] - np.array([line, 0, 0, 0])
    return (
        Grid(grid.notes[:at], grid.tempo[:bars], grid.chords[: bars * 4]),
        Grid(later, grid.tempo[bars:], grid.chords[bars * 4 :]),
    )


def followed(one: Grid, other: Grid) -> Grid:
    """Two grids, one after the other."""
    later = other.notes + np.array([len(one.tempo) * POSITIONS, 0, 0, 0])
    notes = np.concatenate((one.notes, later))
    return Grid(notes, np.concatenate((one.tempo, other.tempo)), [*one.chords, *other.chords])


def wishes_of(task: MusicTask, arousal: float) -> tuple[Requests, int]:
    """The controls of a task, and how many bars it comes to with the tempo that its ``arousal`` has."""
    wanted = media.length(task.film) if task.film else task.seconds
    wishes = Requests(
        key=names.key(task.key) if task.key else None,
        minor=None if task.mode is None else task.mode == "minor",
        chords=tuple(map(names.chord, task.chords.split())) if task.chords else (),
        density=task.density,
        voices=task.voices,
        register=task.height,
        tempo=task.tempo,
        seconds=wanted,
        dynamics=None if task.dynamics is None else float(task.dynamics),
        articulation=None if task.articulation is None else float(task.articulation),
        loop=task.loop,
    )
    if wanted is None:
        return wishes, task.bars
    pulse = task.tempo or float(finish.PACE * np.exp(finish.LIVELY * arousal))
    return wishes, controls.bars_for(wanted, pulse, task.tempo is not None)
