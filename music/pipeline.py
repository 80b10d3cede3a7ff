"""From an emotion to piano pieces: what YAML, the command line and Python call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gen import checkpoints, media
from gen.emotion.resolve import resolve
from gen.emotion.spec import Emotion, EmotionCurve, Samples
from gen.emotion.track import EmotionTrack, track
from music.corpus import from_bar, home, transpose
from music.labels import Labeller, anchored, features
from music.task import CANDIDATES, GUIDANCE, TEMPERATURE
from music.tokens import BAR, BEAT, METRICAL, Grid, Vocabulary, decode, encode, violation

if TYPE_CHECKING:
    from torch import Tensor

    from music.muser.generate import Prompt
    from music.muser.model import MusER
    from music.muser.prior import Prior
    from music.task import MusicTask

PASS = 16  # bars sampled in one go, context included; longer pieces go on from what they have
CONTEXT = 6  # bars that the next pass hears
BATCH = 16  # pieces sampled side by side
BAR_LINE = np.array([[0, 0, BAR, METRICAL, 0, 0, 0]])  # what each pass begins with, after its context
Progress = Callable[[float, str], None]


class Piece(NamedTuple):
    """A piece as compound words (T, 7), and what it sounds as."""

    tokens: np.ndarray
    grid: Grid

    @property
    def notes(self) -> np.ndarray:
        """(n, 4): start s, end s, pitch, velocity."""
        from music.score import to_notes

        return to_notes(self.grid)

    @property
    def bars(self) -> np.ndarray:
        """(bars,) seconds at which the bars begin."""
        from music.score import bar_lines

        return bar_lines(self.grid)

    def valid(self) -> bool:
        """Whether the rows keep to the grammar, every bar has notes, and the last row ends the last bar."""
        bars = np.flatnonzero(self.tokens[:, BEAT] == BAR)
        return violation(self.tokens) is None and bool(np.all(np.diff(np.append(bars, len(self.tokens))) > 1))


class MusicGenerator:
    """MusER with its prior, ready to play."""

    endings = (".mid", ".wav")

    def __init__(self, autoencoder: MusER, prior: Prior, vocabulary: Vocabulary, device: str = "cpu",
                 critic: Labeller | None = None):  # fmt: skip
        self.autoencoder, self.prior = (m.to(device).eval().requires_grad_(False) for m in (autoencoder, prior))
        self.vocabulary, self.device, self.critic = vocabulary, device, critic

    @staticmethod
    def reading(emotion: Emotion) -> str:
        """What the piano makes of an emotion, in words."""
        valence, arousal, _ = emotion.scaled()
        pace = "fast, dense and loud" if arousal > 0.25 else "slow, sparse and soft" if arousal < -0.25 else "moderate"
        mode = "in major" if valence > 0.2 else "in minor" if valence < -0.2 else "between major and minor"
        return f"{pace}; {mode} (valence {valence:+.2f}, arousal {arousal:+.2f})"

    @staticmethod
    def checkpoints(task: MusicTask) -> tuple[str, ...]:
        return (task.model, "piano") if task.audio else (task.model,)

    @classmethod
    def from_pretrained(cls, name: str | Path = "muser-compact", *others: str | Path,
                        device: str = "cpu") -> MusicGenerator:  # fmt: skip
        """The generator of a checkpoint, in float32: codes of bfloat16 latents would differ. ``others``, the piano
        that plays, is loaded when it plays."""
        from music.muser.model import MusER
        from music.muser.prior import Prior

        parts = ((MusER, "autoencoder"), (Prior, "prior"))
        models = (checkpoints.load(name, kind, part) for kind, part in parts)
        folder = checkpoints.folder(name)
        critic = Labeller.load(folder / "labeller.json") if (folder / "labeller.json").exists() else None
        exact = (model.float() for model in models)
        return cls(*exact, Vocabulary.load(folder / "vocabulary.json"), device, critic)

    def render(self, task: MusicTask, folder: Path, manifest: dict, progress: Progress) -> list[Path]:
        """Write ``piece-SEED.mid`` and, where asked for, ``.wav`` into ``folder``."""
        from music import synth
        from music.score import read_grid, to_score

        opening = None if task.continue_from is None else encode(read_grid(task.continue_from), self.vocabulary)
        seeds = list(range(task.seed, task.seed + task.count))
        pieces = self.compose(
            [task.emotion] * task.count, task.bars, seeds, opening=opening, guidance=task.guidance,
            temperature=task.temperature, candidates=task.candidates,
            progress=lambda done: progress(done * 0.8, "composing"),
        )  # fmt: skip
        paths = []
        for place, (seed, piece) in enumerate(zip(seeds, pieces, strict=True)):
            score, facts = to_score(piece.grid), manifest | {"seed": seed}
            paths.append(folder / f"piece-{seed}.mid")
            media.write_midi(paths[-1], score, facts)
            if task.audio:
                progress(0.8 + 0.2 * place / len(pieces), "playing")
                paths.append(folder / f"piece-{seed}.wav")
                media.write_audio(paths[-1], synth.render(score), 44100, facts)
        return paths

    def compose(
        self, curves: Sequence[EmotionCurve], bars: int, seeds: Sequence[int], *, opening: np.ndarray | None = None,
        guidance: float = GUIDANCE, temperature: float = TEMPERATURE, candidates: int = CANDIDATES,
        progress: Callable[[float], None] = lambda done: None,
    ) -> list[Piece]:  # fmt: skip
        """One piece of ``bars`` new bars for each curve (its unit read as bars) and seed, after ``opening`` (T, 7).

        Of ``candidates`` drawn for each passage, the one stays whose features fit the emotion best by the training's
        labeller, which is not the judge that measures. It hears the codes, so only the one that stays is decoded:
        checkpoints without a labeller, or whose codes do not spell rows, draw one.
        """
        chosen = candidates if self.critic is not None and self.autoencoder.literal else 1
        pieces, size, curves = [], max(BATCH // chosen, 1), [*map(resolve, curves)]
        for i in range(0, len(seeds), size):
            part = slice(i, i + size)
            passes = self._passes()(self, curves[part], seeds[part], bars, guidance, temperature, chosen)
            share = lambda done, at=i: progress((at + size * done) / (len(seeds) + size - 1))
            with one_thread():
                rows = passes.run(opening, share)
            pieces += [Piece(r, decode(r, self.vocabulary)) for r in rows]
        return pieces

    def miss(self, rows: np.ndarray, curve: EmotionCurve, first: int, bars: int) -> float:
        """Mean squared distance in valence and arousal between asked and heard, over halves of the last ``bars`` of
        rows (T, 7); the first of them is bar ``first`` of the curve."""
        piece, total = Piece(rows, decode(rows, self.vocabulary)), 0.0
        lines, notes = piece.bars[-bars:], piece.notes
        for half in np.array_split(np.arange(bars), 2 if bars >= 8 else 1):
            want = self.critic.asked(points_of(curve.sample(first + half.astype(float)))).mean(0)
            end = lines[half[-1] + 1] if half[-1] + 1 < bars else np.inf
            heard = notes[(notes[:, 0] >= lines[half[0]] - 1e-6) & (notes[:, 0] < end - 1e-6)]
            total += float(((self.critic(features(heard)[None])[0] - want) ** 2).sum())
        return total

    def _passes(self) -> type:
        if self.autoencoder.config.marks_bars:
            return Passes
        from music.muser.release import ReleasePasses

        return ReleasePasses


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: steps this small gain nothing from more, and lose manifold when the cores are busy."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
        import torch

        from music.muser.generate import BAR_ROWS, randoms, sample_codes, sample_rows

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
        from music.muser.generate import spelled

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
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from music.muser.generate import Prompt

    return Prompt(pad_sequence(parts, batch_first=True), torch.tensor([len(p) for p in parts], device=parts[0].device))


def last_bars(rows: np.ndarray, count: int) -> np.ndarray:
    """The last ``count`` bars of rows (T, 7), or all there are."""
    lines = np.flatnonzero(rows[:, BEAT] == BAR)
    return from_bar(rows, lines[-count]) if len(lines) >= count else rows


def points_of(asked: Samples | EmotionTrack) -> np.ndarray:
    """(n, 2) the valence and arousal that is asked for in each of n bars."""
    return (asked.vad * asked.intensity[:, None])[:, :2].clip(-1, 1)
