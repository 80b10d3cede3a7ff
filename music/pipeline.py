"""From an emotion to piano pieces: what YAML, the command line and Python call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gen import checkpoints, media
from gen.emotion.resolve import resolve
from gen.emotion.spec import Emotion, EmotionCurve
from gen.emotion.track import track
from gen.notes import note
from music import controls
from music.controls import Wishes
from music.keys import last_bars
from music.labels import Labeller, features
from music.piece import Piece
from music.task import CANDIDATES, GUIDANCE, TEMPERATURE
from music.tokens import Grid, Vocabulary, decode, encode

if TYPE_CHECKING:

    from music.muser.model import MusER
    from music.muser.prior import Prior
    from music.task import MusicTask

BATCH = 16  # pieces sampled side by side
PLAYED, LEAD = 128, 16  # bars of an opening that are played as sound at most, and of a longer one
FADERS = "faders-compact"  # what moves density and voices
Progress = Callable[[float, str], None]


class _Shaped(NamedTuple):
    """A piece, and how many notes went because no two hands reach them."""

    piece: Piece
    gone: int


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
        moved = (FADERS,) if task.density is not None or task.voices is not None else ()
        return (task.model, *(("piano",) if task.audio else ()), *moved)

    @classmethod
    def from_pretrained(cls, name: str | Path = "muser-compact", *others: str | Path,
                        device: str = "cpu") -> MusicGenerator:  # fmt: skip
        """The generator of a checkpoint, in float32: codes of bfloat16 latents would differ. ``others``, the piano
        that plays and the faders, are loaded when they are asked for."""
        from gen.nn import by_column
        from music.muser.model import MusER
        from music.muser.prior import Prior

        parts = ((MusER, "autoencoder"), (Prior, "prior"))
        models = (checkpoints.load(name, kind, part) for kind, part in parts)
        folder = checkpoints.folder(name)
        critic = Labeller.load(folder / "labeller.json") if (folder / "labeller.json").exists() else None
        exact = [model.float() for model in models]
        for model in exact if device == "cpu" else ():
            by_column(model)
        return cls(*exact, Vocabulary.load(folder / "vocabulary.json"), device, critic)

    def render(self, task: MusicTask, folder: Path, manifest: dict, progress: Progress) -> list[Path]:
        """Write ``piece-SEED.mid`` and, where asked for, ``.wav``, ``.musicxml`` and ``.png`` into ``folder``."""
        from music.score import read_grid
        from music.shape import wishes_of

        wishes, bars = wishes_of(task, self.points(resolve(task.emotion), 1)[0, 1])
        seeds = list(range(task.seed, task.seed + task.count))
        if task.melody or task.replace or task.theme:
            return self._reworked(task, wishes, bars, seeds, folder, manifest, progress)
        opening = None if task.continue_from is None else encode(read_grid(task.continue_from), self.vocabulary)
        pieces = self.compose(
            [task.emotion] * task.count, bars, seeds, opening=opening, guidance=task.guidance,
            temperature=task.temperature, candidates=task.candidates, wishes=wishes,
            progress=lambda done: progress(done * 0.8, "composing"),
        )  # fmt: skip
        paths = []
        for place, (seed, piece) in enumerate(zip(seeds, pieces, strict=True)):
            progress(0.8 + 0.2 * place / len(pieces), "playing")
            paths += self._written(task, piece, folder / f"piece-{seed}", manifest | {"seed": seed}, bars)
        return paths

    def _written(self, task: MusicTask, piece: Piece, name: Path, facts: dict, new: int) -> list[Path]:
        """The files of a piece whose last ``new`` bars are new."""
        from music import synth
        from music.score import to_score

        paths = [name.with_suffix(".mid")]
        media.write_midi(paths[0], to_score(piece.grid, piece.key), facts, channel=0)
        if task.score:
            from music.notation import write

            paths += write(piece.grid, piece.key, name, facts, f"{task.emotion}")
        if task.audio:
            paths.append(name.with_suffix(f".{task.format}"))
            heard = self._heard(piece, new)
            sound = synth.render(to_score(heard))
            if task.loop or task.seconds or task.film:
                sound = synth.fitted(sound, controls.length(heard), 44100, task.loop)
            media.write_audio(paths[-1], sound, 44100, facts)
        return paths

    def _reworked(self, task: MusicTask, wishes: Wishes, bars: int, seeds: list[int], folder: Path, manifest: dict,
                  progress: Progress) -> list[Path]:  # fmt: skip
        """The files of pieces that begin from the user's (:mod:`music.rework`)."""
        from music import rework, synth

        paths = []
        for place, seed in enumerate(seeds):
            progress(place / len(seeds), "composing")
            name, facts = folder / f"piece-{seed}", manifest | {"seed": seed}
            if task.theme:
                grid, key = rework.turned(self, task, wishes, bars, seed)
                piece = Piece(encode(grid, self.vocabulary), grid, key)
                paths += self._written(task, piece, name, facts, bars)
                continue
            score = rework.kept(self, task, seed) if task.melody else rework.anew(self, task, seed)
            paths.append(name.with_suffix(".mid"))
            media.write_midi(paths[-1], score, facts)
            if task.audio:
                paths.append(name.with_suffix(f".{task.format}"))
                media.write_audio(paths[-1], synth.render(score), 44100, facts)
        return paths

    def _heard(self, piece: Piece, new: int) -> Grid:
        """What is played of a piece with ``new`` bars: of a long opening only its end, so that memory stays small."""
        opening = len(piece.grid.tempo) - new
        if opening <= PLAYED:
            return piece.grid
        note(f"The sound begins {LEAD} bars before the new music, since the opening has {opening:,}; the MIDI has all.")
        return decode(last_bars(piece.tokens, LEAD + new), self.vocabulary)

    def compose(
        self, curves: Sequence[EmotionCurve], bars: int, seeds: Sequence[int], *, opening: np.ndarray | None = None,
        guidance: float = GUIDANCE, temperature: float = TEMPERATURE, candidates: int = CANDIDATES,
        wishes: Wishes | None = None, progress: Callable[[float], None] = lambda done: None,
    ) -> list[Piece]:  # fmt: skip
        """One piece of ``bars`` new bars for each curve (its unit read as bars) and seed, after ``opening`` (T, 7):
        what is :meth:`drawn`, shaped to the ``wishes`` and to what every piece has (:mod:`music.shape`)."""
        rows = self.drawn(curves, bars, seeds, opening=opening, guidance=guidance, temperature=temperature,
                          candidates=candidates, progress=progress)  # fmt: skip
        each = zip(rows, map(resolve, curves), seeds, strict=True)
        found = [self._shaped(*one, bars, wishes or Wishes()) for one in each]
        if gone := sum(piece.gone for piece in found):
            note(f"{gone} notes that two hands do not reach were left out.")
        return [piece.piece for piece in found]

    def drawn(
        self, curves: Sequence[EmotionCurve], bars: int, seeds: Sequence[int], *, opening: np.ndarray | None = None,
        guidance: float = GUIDANCE, temperature: float = TEMPERATURE, candidates: int = CANDIDATES,
        progress: Callable[[float], None] = lambda done: None,
    ) -> list[np.ndarray]:  # fmt: skip
        """Rows (T, 7) as they are sampled, with the opening's.

        Of ``candidates`` drawn for each passage, the one stays whose features fit the emotion best by the training's
        labeller, which is not the judge that measures. It hears the codes, so only the one that stays is decoded:
        checkpoints without a labeller, or whose codes do not spell rows, draw one.
        """
        from music.muser.passes import one_thread

        chosen = candidates if self.critic is not None and self.autoencoder.literal else 1
        rows, size, curves = [], max(BATCH // chosen, 1), [*map(resolve, curves)]
        for i in range(0, len(seeds), size):
            part = slice(i, i + size)
            passes = self._passes()(self, curves[part], seeds[part], bars, guidance, temperature, chosen)
            share = lambda done, at=i: progress((at + size * done) / (len(seeds) + size - 1))
            with one_thread():
                rows += passes.run(opening, share)
        return rows

    def _shaped(self, rows: np.ndarray, curve: EmotionCurve, seed: int, bars: int, wishes: Wishes) -> _Shaped:
        """Sampled rows (T, 7) as a piece whose last ``bars`` bars are shaped."""
        from music.shape import followed, parted, shaped

        whole = decode(rows, self.vocabulary)
        old, new = parted(whole, len(whole.tempo) - bars)
        before = float(np.median(old.tempo[-6:])) if len(old.tempo) else None
        faders = None
        if wishes.density is not None or wishes.voices is not None:
            from music.faders.play import Faders

            faders = Faders.load(FADERS)
        new, key, gone = shaped(new, self.points(curve, bars)[:, 1], wishes, seed, before, faders)
        grid = followed(old, new)
        return _Shaped(Piece(encode(grid, self.vocabulary).astype(rows.dtype), grid, key), gone)

    @staticmethod
    def points(curve: EmotionCurve, bars: int) -> np.ndarray:
        """(bars, 2) the valence and arousal that a resolved curve asks for."""
        from music.muser.passes import points_of

        return points_of(track(curve, np.arange(bars, dtype=float)).in_numbers())

    def miss(self, rows: np.ndarray, curve: EmotionCurve, first: int, bars: int) -> float:
        """Mean squared distance in valence and arousal between asked and heard, over halves of the last ``bars`` of
        rows (T, 7); the first of them is bar ``first`` of the curve."""
        from music.muser.passes import points_of

        piece, total = Piece(rows, decode(rows, self.vocabulary)), 0.0
        lines, notes = piece.bars[-bars:], piece.notes
        for half in np.array_split(np.arange(bars), 2 if bars >= 8 else 1):
            told = track(curve, first + half.astype(float)).in_numbers()
            want = self.critic.asked(points_of(told)).mean(0)
            end = lines[half[-1] + 1] if half[-1] + 1 < bars else np.inf
            heard = notes[(notes[:, 0] >= lines[half[0]] - 1e-6) & (notes[:, 0] < end - 1e-6)]
            total += float(((self.critic(features(heard)[None])[0] - want) ** 2).sum())
        return total

    def _passes(self) -> type:
        from music.muser.passes import Passes
        from music.muser.upstream_passes import UpstreamPasses

        return Passes if self.autoencoder.config.marks_bars else UpstreamPasses
