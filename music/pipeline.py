"""From an emotion to piano pieces: what YAML, the command line and Python call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gen import checkpoints, media
from gen.emotion.embedding.perceive import listen
from gen.emotion.resolve import resolve
from gen.emotion.spec import Emotion, EmotionCurve
from gen.emotion.track import EmotionTrack, track
from gen.notes import note
from music import files, reading
from music.controls import Requests
from music.labels import Labeller, features, points_of
from music.piece import Piece
from music.shape import followed, parted
from music.task import CANDIDATES, GUIDANCE, TEMPERATURE
from music.tokens import Vocabulary, decode, encode

if TYPE_CHECKING:
    from torch import Tensor

    from music.muser.model import MusER
    from music.muser.prior import Prior
    from music.task import MusicTask

BATCH = 16  # pieces sampled side by side
EMBEDDED = 2.0  # weight of what the shared embedding hears in a candidate, beside the labeller
FADERS = "faders-compact"  # what moves density and voices
Progress = Callable[[float, str], None]


class _Shaped(NamedTuple):
    """A piece, and how many notes went because no two hands reach them."""

    piece: Piece
    gone: int


class MusicGenerator:
    """MusER with its prior, ready to play."""

    endings = (".mid", ".wav")
    rate = files.RATE

    def __init__(
        self,
        autoencoder: MusER,
        prior: Prior,
        vocabulary: Vocabulary,
        device: str = "cpu",
        critic: Labeller | None = None,
    ):
        self.autoencoder, self.prior = (m.to(device).eval().requires_grad_(False) for m in (autoencoder, prior))
        self.vocabulary, self.device, self.critic = vocabulary, device, critic

    @staticmethod
    def reading(emotion: Emotion) -> str:
        """The piano's interpretation of an emotion, in words."""
        valence, arousal, _ = emotion.scaled()
        pace = "fast, dense and loud" if arousal > 0.25 else "slow, sparse and soft" if arousal < -0.25 else "moderate"
        mode = "in major" if valence > 0.2 else "in minor" if valence < -0.2 else "between major and minor"
        return f"{pace}; {mode} (valence {valence:+.2f}, arousal {arousal:+.2f})"

    @staticmethod
    def checkpoints(task: MusicTask) -> tuple[str, ...]:
        moved = (FADERS,) if task.density is not None or task.voices is not None else ()
        return (task.model, *(("piano",) if task.audio and not task.instrument else ()), *moved)

    @classmethod
    def from_pretrained(
        cls, name: str | Path = "muser-compact", *others: str | Path, device: str = "cpu"
    ) -> MusicGenerator:
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
        """Write ``piece-SEED.mid`` and what else is asked for, such as ``.wav`` and ``.musicxml``, into ``folder``."""
        from music.rework import made
        from music.shape import wishes_of

        if task.stream:
            sound = np.concatenate([*self.stream(task)], axis=1)
            media.write_audio(folder / f"piece-{task.seed}.{task.format}", sound, self.rate, manifest)
            return [folder / f"piece-{task.seed}.{task.format}"]
        wishes, bars = wishes_of(task, self.points(resolve(task.emotion), 1)[0, 1])
        seeds, paths = list(range(task.seed, task.seed + task.count)), []
        for place, (seed, one) in enumerate(zip(seeds, made(self, task, wishes, bars, seeds, progress), strict=True)):
            progress(0.8 + 0.2 * place / len(seeds), "playing")
            paths += files.write(task, one, folder / f"piece-{seed}", manifest | {"seed": seed})
        return paths

    def stream(self, task: MusicTask) -> Iterator[np.ndarray]:
        """The sound of a task's piece while it is made: blocks float32 (2, n) at ``rate``, with their watermark."""
        from music.stream import blocks

        return blocks(self, task)

    def compose(
        self,
        curves: Sequence[EmotionCurve],
        bars: int,
        seeds: Sequence[int],
        *,
        opening: np.ndarray | None = None,
        guidance: float = GUIDANCE,
        temperature: float = TEMPERATURE,
        candidates: int = CANDIDATES,
        wishes: Requests | None = None,
        progress: Callable[[float], None] = lambda done: None,
    ) -> list[Piece]:
        """One piece of ``bars`` new bars for each curve (its unit read as bars) and seed, after ``opening`` (T, 7):
        what is :meth:`drawn`, shaped to the ``wishes`` and to what every piece has (:mod:`music.shape`)."""
        rows = self.drawn(
            curves,
            bars,
            seeds,
            opening=opening,
            guidance=guidance,
            temperature=temperature,
            candidates=candidates,
            progress=progress,
        )
        each = zip(rows, map(resolve, curves), seeds, strict=True)
        found = [self._shaped(*one, bars, wishes or Requests()) for one in each]
        if gone := sum(piece.gone for piece in found):
            note(f"Notes out of the reach of two hands, left out: {gone}.")
        return [piece.piece for piece in found]

    def drawn(
        self,
        curves: Sequence[EmotionCurve],
        bars: int,
        seeds: Sequence[int],
        *,
        opening: np.ndarray | None = None,
        guidance: float = GUIDANCE,
        temperature: float = TEMPERATURE,
        candidates: int = CANDIDATES,
        form: bool = True,
        progress: Callable[[float], None] = lambda done: None,
    ) -> list[np.ndarray]:
        """Rows (T, 7) as they are sampled, with the opening's; with ``form`` phrases return
        (:func:`music.finish.returning`).

        Of ``candidates`` drawn for each passage, the one stays whose features fit the emotion best by the training's
        labeller, which is not the judge that measures. It hears the codes, so only the one that stays is decoded:
        checkpoints without a labeller, or whose codes do not spell rows, draw one.
        """
        from music.finish import returning
        from music.muser.passes import one_thread

        chosen = candidates if self.critic is not None and self.autoencoder.literal else 1
        curves, size, rows = [*map(resolve, curves)], max(BATCH // chosen, 1), {}
        groups = defaultdict(list)  # pieces whose phrases return at the same bars are sampled side by side
        for at, curve in enumerate(curves):
            returns = returning(self.points(curve, bars)) if form and self.autoencoder.config.marks_bars else {}
            groups[tuple(returns.items())].append(at)
        batches = [(dict(key), some[i : i + size]) for key, some in groups.items() for i in range(0, len(some), size)]
        for at, (returns, some) in enumerate(batches):
            share = lambda done, at=at: progress((at + done) / len(batches))
            passes = self._passes()(
                self, [curves[i] for i in some], [seeds[i] for i in some], bars, guidance, temperature, chosen, returns
            )
            with one_thread():
                rows |= dict(zip(some, passes.run(opening, share), strict=True))
        return [rows[i] for i in range(len(seeds))]

    def _shaped(self, rows: np.ndarray, curve: EmotionCurve, seed: int, bars: int, wishes: Requests) -> _Shaped:
        """Sampled rows (T, 7) as a piece whose last ``bars`` bars are shaped."""
        from music.shape import shaped

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
        return points_of(track(curve, np.arange(bars, dtype=float)).in_numbers())

    def miss(self, rows: np.ndarray, curve: EmotionCurve, first: int, bars: int) -> float:
        """Mean squared distance in valence and arousal between asked and heard, over the last ``bars`` of rows (T, 7);
        the first of them is bar ``first`` of the curve. Heard: by the labeller in each half, and by the shared
        embedding in the whole."""
        piece, distances = Piece(rows, decode(rows, self.vocabulary)), []
        asked = self.points(curve, first + bars)[first:]
        lines, notes = [*piece.bars[-bars:], np.inf], piece.notes
        for half in np.array_split(np.arange(bars), 2 if bars >= 8 else 1):
            own = notes[(notes[:, 0] >= lines[half[0]] - 1e-6) & (notes[:, 0] < lines[half[-1] + 1] - 1e-6)]
            want = self.critic.asked(asked[half]).mean(0)
            distances.append(np.square(self.critic(features(own)[None])[0] - want).sum())
        (heard,) = listen("music", [(0.0, reading.rows(notes[notes[:, 0] >= lines[0] - 1e-6]))]).moments
        return float(np.mean(distances) + EMBEDDED * np.square(heard.vad[:2] - asked.mean(0)).sum())

    def conditions(self, model: MusER | Prior, tracks: Sequence[EmotionTrack]) -> Tensor:
        """(b, bars, c) what ``model`` is told in each bar: labels like those it was trained with."""
        if self.critic is not None:
            labels = lambda one: np.pad(self.critic.asked(points_of(one)), ((0, 0), (0, 1)))
            tracks = [one.restated(labels(one)) for one in tracks]
        prepared = model.emotion.prepare(tracks)
        return model.emotion(**{name: x.to(self.device) for name, x in prepared.items()}).tokens

    def _passes(self) -> type:
        from music.muser.passes import Passes
        from music.muser.upstream_passes import UpstreamPasses

        return Passes if self.autoencoder.config.marks_bars else UpstreamPasses
