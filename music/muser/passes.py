"""Long pieces from MusER: some bars at a time, each pass from the last bars of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track
from music.keys import home, last_bars, some_bars, transpose
from music.muser.generate import BAR_ROWS, Prompt, randoms, sample_codes, sample_rows, spelled
from music.tokens import BAR, BEAT, METRICAL

if TYPE_CHECKING:
    from music.pipeline import MusicGenerator

PASS = 16  # bars sampled in one go, context included; longer pieces go on from what they have
CONTEXT = 6  # bars that the next pass hears
BAR_LINE = np.array([[0, 0, BAR, METRICAL, 0, 0, 0]])  # what each pass begins with, after its context


class Passes:
    """Pieces made side by side, a few bars at a time, each pass from the last bars of the one before."""

    def __init__(
        self,
        generator: MusicGenerator,
        curves: Sequence[EmotionCurve],
        seeds: Sequence[int],
        bars: int,
        guidance: float,
        temperature: float,
        candidates: int,
        returns: Mapping[int, tuple[int, int]],
    ):
        """``returns``: bars at which earlier ones come again -> the first of those, and how many."""
        self.generator, self.curves, self.seeds, self.bars = generator, curves, seeds, bars
        self.guidance, self.temperature, self.candidates = guidance, temperature, candidates
        self.returns = returns

    def run(self, opening: np.ndarray | None, progress: Callable[[float], None]) -> list[np.ndarray]:
        """Rows (T, 7) of each piece with its opening; sampled at home, heard in the opening's key or a seed's."""
        opening = np.zeros((0, 7), np.int64) if opening is None else opening.astype(np.int64)
        keys = (
            [-home(opening, self.generator.vocabulary)] * len(self.seeds)
            if len(opening)
            else [key_of(seed) for seed in self.seeds]
        )
        at_home = self._moved(opening, -keys[0])
        done = [np.concatenate(parts) for parts in zip(*self.parts(at_home, progress), strict=True)]
        return [np.concatenate((opening, self._moved(rows, key))) for rows, key in zip(done, keys, strict=True)]

    def parts(
        self, opening: np.ndarray, progress: Callable[[float], None], most: Callable[[int], int] | None = None
    ) -> Iterator[list[np.ndarray]]:
        """The new rows of each piece at home, some bars at a time; ``most(begun)`` bars at most. Bars that return are
        copied, and the music is drawn on from them."""
        done, begun, before = [opening] * len(self.seeds), 0, int((opening[:, BEAT] == BAR).sum())
        while begun < self.bars:
            if begun in self.returns:
                source, new = self.returns[begun]
                fresh = [some_bars(rows, before + source, new) for rows in done]
            else:
                context = [last_bars(rows, CONTEXT) for rows in done]
                heard = int((context[0][:, BEAT] == BAR).sum())
                until = min((bar for bar in self.returns if bar > begun), default=self.bars)
                new = min(PASS - heard, until - begun, most(begun) if most else PASS)
                share = lambda x, at=begun, n=new: progress((at + n * x) / self.bars)
                fresh = self._next(context, heard, begun, new, share)
            done = [np.concatenate(pair) for pair in zip(done, fresh, strict=True)]
            begun += new
            yield fresh

    def _moved(self, rows: np.ndarray, by: int) -> np.ndarray:
        """The rows ``by`` semitones higher, or an octave off that where they would leave the keyboard."""
        if by == 0:
            return rows
        tries = (transpose(rows, by + octave, self.generator.vocabulary) for octave in (0, -12, 12))
        return next((moved for moved in tries if moved is not rows), rows)

    def _next(self, context: list[np.ndarray], heard: int, begun: int, new: int, progress) -> list[np.ndarray]:
        """The rows of the ``new`` bars from bar ``begun`` on, after the ``heard`` bars of each ``context``."""
        g, bars, count = self.generator, heard + new, self.candidates
        rows = [torch.from_numpy(np.concatenate((r, BAR_LINE))).to(g.device) for r in context]
        codes = [g.autoencoder.codes(r[None])[0] for r in rows]
        steps = max(map(len, rows)) + new * (BAR_ROWS + 2)  # a position may still wait for its note at BAR_ROWS
        drawn = lambda seeds, stage, width: randoms(
            [seed * 1_000_003 + begun * 2 + stage for seed in seeds], steps, width
        ).to(g.device)
        frames = np.arange(begun - heard, begun - heard + bars, dtype=float)
        asked = [track(curve, frames) for curve in self.curves]
        tracks = [one for one in asked for _ in range(count)]
        told = sample_codes(
            g.prior,
            g.conditions(g.prior, tracks),
            bars,
            self.bars - begun - new,
            prompt([known for known in codes for _ in range(count)]),
            drawn([seed + 1_000_003 * i for seed in self.seeds for i in range(count)], 0, g.prior.config.slots),
            guidance=self.guidance,
            against=g.conditions(g.prior, [one.opposite() for one in tracks]),
            temperature=self.temperature,
            classes=g.autoencoder.config.classes if g.autoencoder.literal else None,
            progress=lambda x: progress(0.5 * x),
        )
        made = sample_rows(
            g.autoencoder,
            told if count == 1 else self._fittest(told, begun, new),
            g.conditions(g.autoencoder, asked),
            prompt(rows),
            drawn(self.seeds, 1, 7),
            progress=lambda x: progress(0.5 + 0.5 * x),
        )
        return [r[len(known) - 1 :].cpu().numpy() for r, known in zip(made, rows, strict=True)]

    def _fittest(self, told: list[Tensor], begun: int, new: int) -> list[Tensor]:
        """Of each piece's candidates, codes (n, 7), the one whose ``new`` bars fit the emotion best."""
        g, count = self.generator, self.candidates
        rows = [spelled(codes, g.prior.bar).cpu().numpy() for codes in told]
        miss = [g.miss(r, self.curves[i // count], begun, new) for i, r in enumerate(rows)]
        return [told[min(range(i, i + count), key=miss.__getitem__)] for i in range(0, len(told), count)]


def key_of(seed: int) -> int:
    """Semitones, -5 to 6, by which a seed's piece is heard above home."""
    return int(np.random.default_rng(seed).integers(-5, 7))


def prompt(parts: list[Tensor]) -> Prompt:
    """The prompt of sampling from parts (n, k) of different lengths."""
    return Prompt(pad_sequence(parts, batch_first=True), torch.tensor([len(p) for p in parts], device=parts[0].device))


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: steps this small gain nothing from more, and lose manifold when the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
