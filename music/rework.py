"""The pieces of a task: new ones, and those from files of the user: a tune that is kept, a theme that is turned, bars
that are replaced, elements that are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen.emotion.resolve import resolve
from gen.emotion.track import track
from gen.errors import InputError
from gen.notes import note
from music import controls, finish, names
from music.files import Made
from music.keys import from_bar, home, transpose
from music.melody import accompaniment, harmony, replaced, themed, with_part
from music.score import Song, after, read_song, shortened
from music.shape import parted
from music.tokens import BAR, BEAT, POSITIONS, Grid, decode, encode

if TYPE_CHECKING:
    from music.controls import Requests
    from music.names import Key
    from music.pipeline import MusicGenerator, Progress
    from music.task import MusicTask

LEAD = 16  # bars of a file that goes on which are heard before the new ones, by the networks and in the sound
HEARD = 6  # bars before and after new ones that their likelihood is asked for with
TRIES = 12  # least number of candidates for bars that are replaced: they have to fit on both sides
AFTER = 2  # bars drawn beyond those that are replaced, so that these do not come to an end


def made(
    generator: MusicGenerator, task: MusicTask, wishes: Requests, bars: int, seeds: list[int], progress: Progress
) -> list[Made]:
    """The piece of each seed: new, or based on the user's files."""
    if task.melody or task.replace or task.theme or task.taken:
        found = []
        for place, seed in enumerate(seeds):
            progress(0.8 * place / len(seeds), "composing")
            if task.melody:
                found.append(Made(*kept(generator, task, seed)))
            elif task.replace:
                found.append(Made(anew(generator, task, seed)))
            else:
                make = turned if task.theme else taken
                found.append(Made(None, *make(generator, task, wishes, bars, seed)))
        return found
    song = None if task.continue_from is None else read_song(task.continue_from, LEAD)
    pieces = generator.compose(
        [task.emotion] * task.count,
        bars,
        seeds,
        opening=song and encode(song.grid, generator.vocabulary),
        guidance=task.guidance,
        temperature=task.temperature,
        candidates=task.candidates,
        wishes=wishes,
        progress=lambda done: progress(done * 0.8, "composing"),
    )
    if song is None:
        return [Made(None, piece.grid, piece.key) for piece in pieces]
    tracks = sum(bool(part.notes) for part in song.score.tracks)
    note(
        f"The file's {tracks} {'track is' if tracks == 1 else 'tracks are'} kept; what follows them is for piano, "
        f"in two tracks more, and knows of their last {len(song.grid.tempo)} bars, drums left out."
    )
    found = []
    for piece in pieces:
        new = parted(piece.grid, len(piece.grid.tempo) - bars)[1]
        score = after(song, new, piece.key, task.program)
        found.append(Made(score, piece.grid, piece.key, shortened(score, int(song.beats[0]))))
    return found


def kept(generator: MusicGenerator, task: MusicTask, seed: int) -> tuple[object, Grid, Key]:
    """The tune's own score with an accompaniment in the emotion, both on the grid, and their key."""
    song = read_song(task.melody)
    key = names.found(song.grid.notes)
    bars = len(song.grid.tempo)
    chords = harmony(song.grid, key)
    if task.chords:
        given = [names.chord(part) for part in task.chords.split()]
        chords = tuple(given[half // 2 % len(given)] for half in range(2 * bars))
    (drawn,) = _drawn(generator, task, bars, [seed])
    part = accompaniment(drawn, song.grid, chords, key)
    both = finish.merged(np.concatenate((song.grid.notes, part.notes)))
    return with_part(song, part, key), part._replace(notes=both), key


def turned(generator: MusicGenerator, task: MusicTask, wishes: Requests, bars: int, seed: int) -> tuple[Grid, Key]:
    """The theme over and over, each time as the emotion there asks, and the key at the end."""
    theme, curve = read_song(task.theme).grid, resolve(task.emotion)
    feeling = generator.points(curve, bars)
    tune, keys = themed(theme, bars, feeling[:, 0], feeling[:, 1])
    size, chords = len(theme.tempo), ()
    for turn, key in enumerate(keys):
        here = slice(turn * size, min((turn + 1) * size, bars))
        inside = (tune.notes[:, 0] >= here.start * POSITIONS) & (tune.notes[:, 0] < here.stop * POSITIONS)
        notes = tune.notes[inside] - np.array([here.start * POSITIONS, 0, 0, 0])
        chords += harmony(Grid(notes, tune.tempo[here], tune.chords[here.start * 4 : here.stop * 4]), key)
    (drawn,) = _drawn(generator, task, bars, [seed])
    part = accompaniment(drawn, tune, chords, keys[-1])
    grid = finish.within(part._replace(notes=finish.merged(np.concatenate((tune.notes, part.notes)))))
    grid = grid._replace(tempo=finish.paced(drawn.tempo, feeling[:, 1], ends=bars >= finish.SHORTEST))
    return timed(grid, wishes), keys[-1]


def taken(generator: MusicGenerator, task: MusicTask, wishes: Requests, bars: int, seed: int) -> tuple[Grid, Key]:
    """A piece sampled for the emotion with elements of other pieces (:mod:`music.transfer`), and its key."""
    from music import transfer

    others = {part: read_song(path).grid for part, path in task.taken.items()}
    (rows,) = generator.drawn(
        [task.emotion], bars, [seed], guidance=task.guidance, temperature=task.temperature, candidates=task.candidates
    )
    if generator.autoencoder.literal:
        grid = transfer.transferred(decode(rows, generator.vocabulary), others)
    else:
        told = generator.conditions(generator.autoencoder, [track(resolve(task.emotion), np.arange(bars, dtype=float))])
        others = {part: encode(other, generator.vocabulary) for part, other in others.items()}
        found = transfer.exchanged(generator.autoencoder, rows, others, told, seed)
        grid = decode(found, generator.vocabulary)
    grid, gone = finish.in_reach(grid)
    if gone:
        note(f"Notes out of the reach of two hands, left out: {gone}.")
    if not task.take_tempo:
        arousal = generator.points(resolve(task.emotion), len(grid.tempo))[:, 1]
        ends = len(grid.tempo) >= finish.SHORTEST
        grid = grid._replace(tempo=finish.paced(grid.tempo, arousal, ends=ends))
    return timed(grid, wishes), names.found(grid.notes)


def timed(grid: Grid, wishes: Requests) -> Grid:
    """The grid at the tempo and of the length that are wished for."""
    if wishes.tempo is not None:
        grid = controls.at_tempo(grid, wishes.tempo)
    if wishes.seconds is not None:
        grid = controls.lasting(grid, wishes.seconds, steady=wishes.tempo is not None)
    return grid


def anew(generator: MusicGenerator, task: MusicTask, seed: int):
    """The song's score with some bars made anew: of some candidates, those after which the next bars are likeliest."""
    song = read_song(task.continue_from)
    first, last = span(task.replace, len(song.grid.tempo))
    opening = Grid(
        song.grid.notes[song.grid.notes[:, 0] < first * POSITIONS],
        song.grid.tempo[:first],
        song.grid.chords[: first * 4],
    )
    rows = encode(opening, generator.vocabulary) if first and len(opening.notes) else None
    count = last - first
    seeds = [seed + 1_000_003 * i for i in range(max(task.candidates, TRIES))]
    drawn = _drawn(generator, task, count + AFTER, seeds, rows)
    fresh = [_cut(grid, len(grid.tempo) - count - AFTER, count) for grid in drawn]
    if rows is None:
        own = names.found(song.grid.notes)
        fresh = [controls.in_key(grid, names.found(grid.notes), own) for grid in fresh]
    fresh = [finish.in_reach(grid)[0] for grid in fresh]
    after = [seam(generator, task, song, grid, first, last)[0] for grid in fresh]
    best = int(np.argmin(after))
    before, others = seam(generator, task, song, None, first, last)
    note(
        f"The two bars after the seam cost {after[best]:.2f} nats a step; with the bars that were there {before:.2f}, "
        f"and the song's other bars {others:.2f}."
    )
    return replaced(song, fresh[best], first, last)


def span(text: str, bars: int) -> tuple[int, int]:
    """Bars such as 5-8, counted from 1 -> from 0, the end not among them."""
    begin, _, end = text.partition("-")
    first, last = int(begin) - 1, int(end or begin)
    if last > bars:
        raise InputError(f"the song has {bars} bars: bars {text} are not all among them")
    return first, last


def seam(
    generator: MusicGenerator,
    task: MusicTask,
    song: Song,
    fresh: Grid | None,
    first: int,
    last: int,
) -> tuple[float, float]:
    """Mean nats a step of the two bars after ``last`` (of the replaced ones where the song ends there), and of the bars
    near it that are neither; with ``fresh`` bars in the place of the song's."""
    from music.muser.likelihood import nats

    notes = song.grid.notes
    if fresh is not None:
        notes = notes[(notes[:, 0] < first * POSITIONS) | (notes[:, 0] >= last * POSITIONS)]
        notes = np.concatenate((notes, fresh.notes + np.array([first * POSITIONS, 0, 0, 0])))
    rows = encode(song.grid._replace(notes=finish.merged(notes)), generator.vocabulary)
    lines = np.append(np.flatnonzero(rows[:, BEAT] == BAR), len(rows))
    low, high = max(first - HEARD, 0), min(last + HEARD, len(lines) - 1)
    part = from_bar(rows[: lines[high]], lines[low])
    part = transpose(part, home(part, generator.vocabulary), generator.vocabulary)
    each = nats(generator, part, task.emotion)
    own, after = slice(first - low, last - low), slice(last - low, last - low + 2)
    others = np.arange(len(each)) > 0  # the first bar has no context
    others[own] = others[after] = False
    return float(each[after if len(each[after]) else own].mean()), float(each[others].mean()) if others.any() else 0.0


def _drawn(generator: MusicGenerator, task: MusicTask, bars: int, seeds: list[int], opening=None) -> list[Grid]:
    rows = generator.drawn(
        [task.emotion] * len(seeds),
        bars,
        seeds,
        opening=opening,
        guidance=task.guidance,
        temperature=task.temperature,
        candidates=1 if len(seeds) > 1 else task.candidates,
        form=opening is None,
    )
    return [decode(one, generator.vocabulary) for one in rows]


def _cut(grid: Grid, first: int, count: int) -> Grid:
    """``count`` bars of a grid from bar ``first`` on."""
    low, high = first * POSITIONS, (first + count) * POSITIONS
    notes = grid.notes[(grid.notes[:, 0] >= low) & (grid.notes[:, 0] < high)] - np.array([low, 0, 0, 0])
    return Grid(notes, grid.tempo[first : first + count], grid.chords[first * 4 : (first + count) * 4])
