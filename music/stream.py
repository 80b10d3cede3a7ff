"""Streaming: a few bars are sampled, shaped and rendered while the previous ones play."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gen.emotion.resolve import resolve
from gen.errors import InputError
from music import finish, names, synth
from music.keys import from_bar
from music.score import seconds, to_score
from music.tokens import POSITIONS, decode

if TYPE_CHECKING:
    from music.pipeline import MusicGenerator
    from music.task import MusicTask

FIRST, THEN = 1, 2  # bars of the first passage, short for a low latency, and of later ones


def blocks(generator: MusicGenerator, task: MusicTask) -> Iterator[np.ndarray]:
    """The sound of a task's piece with its watermark, as blocks float32 (2, n) at the generator's rate.

    The seed gives the tonic, the valence of the first bar the mode. Raises InputError for upstream weights.
    """
    from music.muser.passes import Passes, key_of, one_thread

    if not generator.autoencoder.config.marks_bars:
        raise InputError("upstream weights sample whole passages and cannot stream: leave out stream")
    curve = resolve(task.emotion)
    points = generator.points(curve, task.bars)
    by, minor = key_of(task.seed), bool(points[0, 0] < 0)
    key = names.Key(by - 3 * minor, minor)
    passes = Passes(
        generator, [curve], [task.seed], task.bars, task.guidance, task.temperature, 1, finish.returning(points)
    )
    out, begun, pulse, rows = synth.Blocks(generator.rate), 0, None, np.zeros((0, 7), np.int64)
    parts = passes.parts(rows, lambda share: None, lambda begun: THEN if begun else FIRST)
    while begun < task.bars:
        with one_thread():
            (fresh,) = next(parts)
        rows, line = np.concatenate((rows, fresh)), len(rows)
        grid = decode(from_bar(rows, line), generator.vocabulary)
        grid = grid._replace(notes=grid.notes + np.array([0, by, 0, 0]))
        bars = len(grid.tempo)
        grid = finish.without_clashes(finish.named(finish.in_reach(grid)[0]))
        grid = finish.in_reach(finish.closed(grid, key, begun, task.bars))[0]
        # the pulse continues from the previous bar, whose arousal is the reference
        drawn = grid.tempo if pulse is None else np.append(pulse, grid.tempo)
        arousal = points[max(begun - 1, 0) : begun + bars, 1]
        paced = finish.paced(drawn, arousal, pulse, begun + bars == task.bars >= finish.SHORTEST)[-bars:]
        pulse, grid = float(paced[-1]), grid._replace(tempo=paced)
        size = round(float(seconds(grid, np.array([bars * POSITIONS]))[0]) * generator.rate)
        out.add(synth.unlimited(to_score(grid, key), generator.rate), size)
        begun += bars
        block = out.take(begun == task.bars)
        if block.shape[1]:
            yield block
