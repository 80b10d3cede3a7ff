"""``affekt evaluate music``: generated pieces against real ones that no model has heard, on the same measures."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, DirectoryPath, model_validator
from scipy.stats import spearmanr

from gen.emotion.spec import EmotionCurve
from gen.errors import InputError
from gen.evaluate.report import Report
from gen.generator import Bar
from music.evaluation import metrics
from music.evaluation.judge import Judge, Verdict, on_bars
from music.score import bar_lines, read_notes, to_notes
from music.task import CANDIDATES, GUIDANCE, TEMPERATURE
from music.tokens import Vocabulary, decode
from music.training import corpus
from music.training.emopia import emopia

STEPS = np.linspace(-1.0, 1.0, 21)
AROUSAL = ("judge: high arousal", "notes per second", "onsets per second", "velocity", "tempo")
VALENCE = ("judge: positive valence", "mode", "consonance", "register")


FULL = {"pieces": 50, "sweep": 8, "curves": 24, "valid": 200}


class Settings(BaseModel):
    """The ``--set`` options; ``full`` uses the sizes of :data:`FULL` as defaults (two hours)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    data: DirectoryPath  # the folder that holds emopia/
    full: bool = False
    tokens: str = ""  # tokens.npz of the training: then shared runs are looked for in all that was trained on
    model: str = "muser-compact"
    device: str = "cpu"
    bars: int = 16
    pieces: int = 12  # per quadrant
    sweep: int = 2  # pieces per step of a control curve
    curves: int = 6  # pieces per emotion that changes
    valid: int = 0  # seeds per quadrant that are checked for validity alone
    batch: int = 16
    guidance: float = GUIDANCE
    temperature: float = TEMPERATURE
    candidates: int = CANDIDATES
    listen: int = 1  # pieces per quadrant to hear

    @model_validator(mode="before")
    @classmethod
    def _sizes(cls, given: dict) -> dict:
        return (FULL if str(given.get("full")).lower() in ("1", "true", "yes", "on") else {}) | given


class Music(NamedTuple):
    """Notes (n, 4) in seconds, and bar lines in seconds, the end of the last bar among them."""

    notes: np.ndarray
    bars: np.ndarray


class Pieces(NamedTuple):
    """Pieces of one origin with the quadrants (0..3) they have or should have, and what counts as one draw."""

    music: list[Music]
    quadrant: np.ndarray
    song: np.ndarray


def with_end(notes: np.ndarray, bars: np.ndarray) -> Music:
    """Music whose last bar is as long as the one before."""
    last = bars[-1] - bars[-2] if len(bars) > 1 else notes[:, 1].max() - bars[-1]
    return Music(notes, np.append(bars, bars[-1] + last))


class Real(NamedTuple):
    """EMOPIA by part of the split as tokens keep it, its test clips as performed, and all that training heard."""

    parts: dict[str, Pieces]
    performed: list[np.ndarray]
    book: list[Music]
    corpora: str


def real(chosen: Settings) -> Real:
    """The real music: from EMOPIA's files or, where given, from the training's own ``tokens``, which is quicker."""
    clips = emopia(chosen.data)
    if chosen.tokens:
        kept = corpus.load(Path(chosen.tokens))
        music = [from_rows(piece.rows) for piece in kept if piece.group == "emopia"]
        book = [from_rows(piece.rows) for piece in kept if piece.group != "emopia" and piece.part == "train"]
        corpora = ", ".join(sorted({piece.group for piece in kept if piece.part == "train"}))
    else:
        music, book, corpora = [with_end(*on_bars(read_notes(clip.path))) for clip in clips], [], "emopia"
    parts = {}
    for part in ("train", "test"):
        found = [(piece, clip) for piece, clip in zip(music, clips, strict=True) if clip.part == part]
        if missing := {1, 2, 3, 4} - {clip.quadrant for _, clip in found}:
            quadrants = ", ".join(f"Q{q}" for q in sorted(missing))
            raise InputError(
                f"{chosen.data}: no {part} song of EMOPIA is in {quadrants}: add songs (the split is by song name, and "
                "puts 15 % of the songs into test)"
            )
        quadrant, song = (np.array(x) for x in zip(*((c.quadrant - 1, c.song) for _, c in found), strict=True))
        parts[part] = Pieces([piece for piece, _ in found], quadrant, song)
    performed = [read_notes(clip.path) for clip in clips if clip.part == "test"]
    return Real(parts, performed, parts["train"].music + book, corpora)


def from_rows(rows: np.ndarray) -> Music:
    """Compound words (T, 7) as music."""
    grid = decode(rows, Vocabulary.default())
    return with_end(to_notes(grid), bar_lines(grid))


class Composer:
    """The generator under test, called in batches; counts pieces, valid pieces and time."""

    def __init__(self, generator, chosen: Settings):
        self.generator, self.chosen = generator, chosen
        self.made, self.valid, self.seconds = 0, 0, 0.0

    def __call__(self, emotions: list[str], seeds: list[int], **other) -> list[Music]:
        """One piece per emotion and seed, drawn as the settings say but for what ``other`` says."""
        size, music = self.chosen.batch, []
        how = {name: getattr(self.chosen, name) for name in ("guidance", "temperature", "candidates")} | other
        curves = [EmotionCurve.parse(emotion) for emotion in emotions]
        for i in range(0, len(curves), size):
            begun = time.perf_counter()
            part = slice(i, i + size)
            pieces = self.generator.compose(curves[part], self.chosen.bars, seeds[part], **how)
            self.seconds += time.perf_counter() - begun
            self.made += len(pieces)
            self.valid += sum(piece.valid() for piece in pieces)
            music += [with_end(piece.notes, piece.bars) for piece in pieces]
        return music


def by_quadrant(compose: Composer, count: int, **other) -> Pieces:
    """``count`` pieces per quadrant."""
    quadrant, seeds = np.repeat(np.arange(4), count), list(range(4 * count))
    return Pieces(compose([f"Q{q + 1}" for q in quadrant], seeds, **other), quadrant, np.array(seeds))


def neutral(compose: Composer, count: int) -> Pieces:
    """As many first draws without an emotion, given the quadrants that pieces with one have."""
    quadrant, seeds = np.repeat(np.arange(4), count), list(range(4 * count))
    music = compose(["v=0 a=0"] * len(seeds), seeds, guidance=1.0, candidates=1)
    return Pieces(music, quadrant, np.array(seeds))


# Each part measures, and returns what the report shows


def rank_correlation(x: np.ndarray, y: list[float] | np.ndarray) -> float:
    """Spearman's rho, and 0 where ``y`` never changes."""
    return float(spearmanr(x, y)[0]) if np.ptp(y) else 0.0


class Sweep(NamedTuple):
    """Requested levels (n,) of one axis, and each measure of the pieces that were made for them (n,)."""

    requested: np.ndarray
    measured: dict[str, np.ndarray]

    def correlations(self, name: str) -> tuple[float, float]:
        """Spearman's rho between level and measure: of the means per level, and of single pieces."""
        values = self.measured[name]
        means = [values[self.requested == level].mean() for level in STEPS]
        return rank_correlation(STEPS, means), rank_correlation(self.requested, values)


def sweep(compose: Composer, judge: Judge, axis: str, count: int) -> Sweep:
    """21 steps of one axis, the other at 0, with the same ``count`` seeds at each step."""
    other = {"v": "a", "a": "v"}[axis]
    levels = np.repeat(STEPS, count)
    music = compose([f"{axis}={x:.2f} {other}=0" for x in levels], list(range(count)) * len(STEPS))
    told = judge([piece.notes for piece in music])
    measured = {"judge: high arousal": told.arousal, "judge: positive valence": told.valence}
    rows = [metrics.control_measures(piece.notes, piece.bars) for piece in music]
    return Sweep(levels, measured | {name: np.array([row[name] for row in rows]) for name in rows[0]})


def energy(piece: Music) -> np.ndarray:
    """(bars, 2): notes per second and mean velocity of each bar (a bar of rest has the piece's mean velocity)."""
    bar, _ = metrics.on_grid(piece.notes, piece.bars)
    count = np.bincount(bar, minlength=len(piece.bars) - 1)
    loud = np.bincount(bar, weights=piece.notes[:, 3], minlength=len(count)) / np.maximum(count, 1)
    return np.stack([count / np.diff(piece.bars), np.where(count, loud, piece.notes[:, 3].mean())], axis=1)


def halves(pieces: list[Music]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The notes that begin in the first and in the second half of each piece's bars."""
    middle = [piece.bars[len(piece.bars) // 2] for piece in pieces]
    parts = [(p.notes[p.notes[:, 0] < m], p.notes[p.notes[:, 0] >= m]) for p, m in zip(pieces, middle, strict=True)]
    return [first for first, _ in parts], [second for _, second in parts]


class Following(NamedTuple):
    """An emotion that changes from bar to bar, and the pieces made for it."""

    asked: str
    axis: str  # a or v
    rises: bool
    told: np.ndarray  # (pieces, 2) the judge's probability that the axis is positive, in the first and second half
    energy: list[np.ndarray]


def follow(compose: Composer, judge: Judge, chosen: Settings) -> list[Following]:
    """Arousal that rises and falls, valence that turns, from the first bar to the last."""
    last, found = chosen.bars - 1, []
    for axis, other in (("a", "v"), ("v", "a")):
        for begin, end in ((-0.8, 0.8), (0.8, -0.8)):
            asked = f"bar 0: {axis}={begin} {other}=0, bar {last}: {axis}={end} {other}=0"
            music = compose([asked] * chosen.curves, list(range(chosen.curves)))
            told = [judge(half) for half in halves(music)]
            probability = [verdict.arousal if axis == "a" else verdict.valence for verdict in told]
            both = np.stack(probability, axis=1)
            found.append(Following(asked, axis, end > begin, both, [energy(piece) for piece in music]))
    return found


def copying(book_songs: list[Music], sets: dict[str, list[Music]]) -> dict[str, dict[str, np.ndarray]]:
    """For pitches in any key and as written: the longest run of notes that each piece shares with the book."""
    found = {}
    for name, absolute in (("in any key", False), ("in the same key", True)):
        book = metrics.Songbook([metrics.transitions(*song, absolute) for song in book_songs])
        found[name] = {
            origin: np.array([book.longest(metrics.transitions(*piece, absolute)) for piece in music])
            for origin, music in sets.items()
        }
    return found


class Results(NamedTuple):
    """All that was measured; origins are "held out", "training", "generated" and "neutral"."""

    chosen: Settings
    pieces: dict[str, Pieces]
    told: dict[str, Verdict]
    performed: Verdict
    sweeps: dict[str, Sweep]
    following: list[Following]
    copies: dict[str, dict[str, np.ndarray]]
    corpora: str  # where shared runs were looked for
    made: int
    valid: int
    seconds: float


def measure(generator, judge: Judge, chosen: Settings) -> Results:
    """Compose and measure everything; some minutes."""
    parts, performed, book, corpora = real(chosen)
    compose = Composer(generator, chosen)
    pieces = {
        "held out": parts["test"],
        "training": parts["train"],
        "generated": by_quadrant(compose, chosen.pieces),
        "neutral": neutral(compose, chosen.pieces),
    }
    told = {origin: judge([m.notes for m in pieces[origin].music]) for origin in pieces if origin != "training"}
    sweeps = {axis: sweep(compose, judge, axis, chosen.sweep) for axis in "av"}
    following = follow(compose, judge, chosen)
    sets = {origin: pieces[origin].music for origin in ("generated", "held out")}
    copies = copying(book, sets)
    by_quadrant(compose, chosen.valid, candidates=1)  # each draw is a piece that must be valid
    facts = compose.made, compose.valid, compose.seconds
    return Results(chosen, pieces, told, judge(performed), sweeps, following, copies, corpora, *facts)


class MusicEvaluator:
    """``affekt evaluate music``."""

    def __init__(self, settings: Settings, out: Path):
        self.settings = settings

    def run(self) -> Report:
        from music.evaluation.report import report_of
        from music.pipeline import MusicGenerator

        generator = MusicGenerator.from_pretrained(self.settings.model, device=self.settings.device)
        self.report = report_of(measure(generator, Judge.load(), self.settings))
        return self.report

    def summary(self) -> list[Bar]:
        return self.report.bars
