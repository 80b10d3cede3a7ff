"""Long pieces from MusER: some bars at a time, each pass from the last bars of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gen.emotion.spec import EmotionCurve, Samples
from gen.emotion.track import EmotionTrack, track
from music.keys import home, last_bars, transpose
from music.labels import anchored
from music.muser.generate import BAR_ROWS, Prompt, randoms, sample_codes, sample_rows, spelled
from music.tokens import BAR, BEAT, METRICAL

if TYPE_CHECKING:
    from music.pipeline import MusicGenerator

PASS = 16  # bars sampled in one go, context included; longer pieces go on from what they have
CONTEXT = 6  # bars that the next pass hears
BAR_LINE = np.array([[0, 0, BAR, METRICAL, 0, 0, 0]])  # what each pass begins with, after its context


class Passes:
    """Pieces made side by side, a few bars at a time, each pass from the last bars of the one before."""

    def __init__(self, generator: MusicGenerator, curves: Sequence[EmotionCurve], seeds: Sequence[int], bars: int,
                 guidance: float, temperature: float, candidates: int):  # fmt: skip
        self.generator, self.curves, self.seeds, self.bars = generator, curves, seeds, bars
        self.guidance, self.temperature, self.candidates = guidance, temperature, candidates

    def run(self, opening: np.ndarray | None, progress: Callable[[float], None]) -> list[np.ndarray]:
        """Rows (T, 7) of each piece with its opening; sampled at home, heard in the opening's key or a seed's."""
        opening = np.zeros((0, 7), np.int64) if opening is None else opening.astype(np.int64)
        keys = [-home(opening, self.generator.vocabulary)] * len(self.seeds) if len(opening) else [
            int(np.random.default_rng(seed).integers(-5, 7)) for seed in self.seeds]  # fmt: skip
        done, begun = [self._moved(opening, -keys[0])] * len(self.seeds), 0
        while begun < self.bars:
            context = [last_bars(rows, CONTEXT) for rows in done]
            heard = int((context[0][:, BEAT] == BAR).sum())
            new = min(PASS - heard, self.bars - begun)
            share = lambda x, at=begun, n=new: progress((at + n * x) / self.bars)
            fresh = self._next(context, heard, begun, new, share)
            done = [np.concatenate(pair) for pair in zip(done, fresh, strict=True)]
            begun += new
        moved = [self._moved(rows[len(opening) :], key) for rows, key in zip(done, keys, strict=True)]
        return [np.concatenate((opening, rows)) for rows in moved]

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
        steps = max(map(len, rows)) + new * (BAR_ROWS + 1)
        drawn = lambda seeds, stage, width: randoms(
            [seed * 1_000_003 + begun * 2 + stage for seed in seeds], steps, width).to(g.device)  # fmt: skip
        frames = np.arange(begun - heard, begun - heard + bars, dtype=float)
        asked = [track(curve, frames) for curve in self.curves]
        tracks = [one for one in asked for _ in range(count)]
        told = sample_codes(
            g.prior, self._conditions(g.prior, tracks), bars, self.bars - begun - new,
            prompt([known for known in codes for _ in range(count)]),
            drawn([seed + 1_000_003 * i for seed in self.seeds for i in range(count)], 0, g.prior.config.slots),
            guidance=self.guidance,
            against=self._conditions(g.prior, [one.opposite() for one in tracks]),
            temperature=self.temperature, classes=g.autoencoder.config.classes if g.autoencoder.literal else None,
            progress=lambda x: progress(0.5 * x),
        )  # fmt: skip
        made = sample_rows(
            g.autoencoder, told if count == 1 else self._fittest(told, begun, new),
            self._conditions(g.autoencoder, asked), prompt(rows), drawn(self.seeds, 1, 7),
            progress=lambda x: progress(0.5 + 0.5 * x),
        )  # fmt: skip
        return [r[len(known) - 1 :].cpu().numpy() for r, known in zip(made, rows, strict=True)]

    def _fittest(self, told: list[Tensor], begun: int, new: int) -> list[Tensor]:
        """Of each piece's candidates, codes (n, 7), the one whose ``new`` bars fit the emotion best."""

        g, count = self.generator, self.candidates
        rows = [spelled(codes, g.prior.bar).cpu().numpy() for codes in told]
        miss = [g.miss(r, self.curves[i // count], begun, new) for i, r in enumerate(rows)]
        return [told[min(range(i, i + count), key=miss.__getitem__)] for i in range(0, len(told), count)]

    def _conditions(self, model, tracks: Sequence[EmotionTrack]) -> Tensor:
        """(b, bars, c) what ``model`` is told in each bar: labels like those it was trained with."""
        emotion, critic = model.emotion, self.generator.critic
        if critic is not None:
            asked = [critic.asked(points_of(one)) for one in tracks]
            labels = (np.pad(anchored(e, np.sign(e)), ((0, 0), (0, 1))) for e in asked)
            tracks = [one.restated(label) for one, label in zip(tracks, labels, strict=True)]
        prepared = emotion.prepare(tracks)
        return emotion(**{name: x.to(self.generator.device) for name, x in prepared.items()}).tokens


def prompt(parts: list[Tensor]) -> Prompt:
    """What sampling begins with, of parts (n, k) that differ in length."""

    from music.muser.generate import Prompt

    return Prompt(pad_sequence(parts, batch_first=True), torch.tensor([len(p) for p in parts], device=parts[0].device))


def points_of(asked: Samples | EmotionTrack) -> np.ndarray:
    """(n, 2) the valence and arousal that is asked for in each of n bars."""
    return (asked.vad * asked.intensity[:, None])[:, :2].clip(-1, 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: steps this small gain nothing from more, and lose manifold when the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
