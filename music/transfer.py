"""MusER's element transfer (AAAI 2024, sec. 4.5): replaces elements of a piece by those of other pieces.

In the shipped networks each code of the latent is one element's id, so :func:`transferred` replaces ids, bar by bar. In
the upstream networks one code encodes all elements, so :func:`exchanged` replaces the elements' slices of the latents,
step by step as upstream does, and the decoder decodes the result under the piece's emotion.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from music.hands import chords as onsets
from music.muser.generate import Prompt, randoms, sample_rows
from music.muser.passes import BAR_LINE
from music.muser.upstream_passes import WHOLE, play
from music.task import TAKEN
from music.tokens import BAR, BEAT, CHORD, DURATION, ELEMENTS, PITCH, POSITIONS, TEMPO, VELOCITY, Grid

if TYPE_CHECKING:
    from music.muser.model import MusER

SLICES = {
    "rhythm": (ELEMENTS.index("beat"), ELEMENTS.index("type")),
    "pitch": (PITCH,),
    "duration": (DURATION,),
    "velocity": (VELOCITY,),
    "tempo": (TEMPO,),
    "chord": (CHORD,),
}
COLUMNS = {"pitch": 1, "duration": 2, "velocity": 3}


def transferred(grid: Grid, taken: Mapping[str, Grid]) -> Grid:
    """The grid with elements (:data:`music.task.TAKEN`) of other grids; shorter ones repeat.

    The rhythm gives onsets, the number of notes per onset, and durations unless ``duration`` is taken too. A note
    gets its pitch, duration and velocity from the last onset at or before its position in the same bar of the source:
    outer notes from outer notes, inner notes by rank. Equal pitches merge. Chord symbols follow the pitches unless
    ``chord`` is taken.
    """
    sources = {part: grid for part in TAKEN} | {"duration": taken.get("rhythm", grid)}
    sources |= {"chord": taken.get("pitch", grid)} | dict(taken)
    bars, rows = len(grid.tempo), []
    played = {part: _by_bar(sources[part]) for part in ("rhythm", *COLUMNS)}
    for bar in range(bars):
        here = {part: found[bar % len(found)] for part, found in played.items()}
        for chord in here["rhythm"]:
            notes = np.repeat(chord[:1], len(chord), 0)
            for part, column in COLUMNS.items():
                notes[:, column] = _in_force(here[part], chord)[:, column]
            notes[:, 0] += bar * POSITIONS
            rows += [notes[i] for i in np.unique(-notes[:, 1], return_index=True)[1]]
    at = np.arange(bars)
    named = sources["chord"].chords
    return Grid(
        np.array(rows).reshape(-1, 4),
        sources["tempo"].tempo[at % len(sources["tempo"].tempo)],
        [named[beat % len(named)] for beat in range(bars * 4)],
    )


def _by_bar(grid: Grid) -> list[list[np.ndarray]]:
    """The onsets of each bar, positions relative to its bar line; an empty bar repeats the previous one's."""
    found: list[list[np.ndarray]] = [[] for _ in grid.tempo]
    for bar, chords in groupby(onsets(grid.notes), key=lambda chord: int(chord[0, 0]) // POSITIONS):
        found[bar] = [chord - np.array([bar * POSITIONS, 0, 0, 0]) for chord in chords]
    first = next(chords for chords in found if chords)
    for bar, chords in enumerate(found):
        found[bar] = chords or (found[bar - 1] if bar else first)
    return found


def _in_force(bar: list[np.ndarray], like: np.ndarray) -> np.ndarray:
    """As many notes as ``like`` (n, 4) from the last onset at or before its position, else from the bar's first."""
    chord = next((one for one in reversed(bar) if one[0, 0] <= like[0, 0]), bar[0])
    rank = np.rint(np.linspace(0, len(chord) - 1, len(like))).astype(int)
    return chord[rank]


@torch.inference_mode()
def exchanged(
    model: MusER, rows: np.ndarray, taken: Mapping[str, np.ndarray], condition: Tensor, seed: int
) -> np.ndarray:
    """Decodes rows (n, 7) after replacing elements' slices of their latents (n, 112) by those of other rows at the same
    steps, under an emotion's ``condition`` (1, bars, c); at most 1,024 steps, as in upstream training."""
    rows = rows[:WHOLE]
    codes = model.codes(torch.from_numpy(rows.astype(np.int64))[None])
    z = model.latents(codes)
    for part, other in taken.items():
        there = torch.from_numpy(other[: len(rows)].astype(np.int64))[None]
        found = model.latents(model.codes(there))
        for element in SLICES[part]:
            slot = slice(element * model.slot, (element + 1) * model.slot)
            z[:, : found.shape[1], slot] = found[..., slot]
    drawn = randoms([seed], len(rows), 7)
    if model.config.marks_bars:
        nothing = Prompt(torch.zeros(1, 0, 7, dtype=torch.long), torch.zeros(1, dtype=torch.long))
        return sample_rows(model, list(codes), condition, nothing, drawn, z=z)[0].numpy()
    start, bars = Prompt(torch.from_numpy(BAR_LINE)[None], torch.tensor([1])), int((rows[:, BEAT] == BAR).sum())
    return play(model, codes, condition[:, :1], start, torch.tensor([bars]), drawn, z)[0].numpy()
