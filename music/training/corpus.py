"""The training corpora as compound words with a valence and an arousal per bar; batches of random passages."""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from gen.errors import InputError
from music.beats import Beats, track
from music.chords import estimate
from music.keys import from_bar, home, transpose
from music.labels import Labeller, anchored, features, signs
from music.score import bar_lines, read_notes, to_notes
from music.tokens import BAR, BEAT, TEMPO, VELOCITY, Vocabulary, encode, quantise
from music.training.emopia import emopia

VARIED = {TEMPO: 1, VELOCITY: 2}  # ids by which passages differ from what was played: 3 bpm, 6 of velocity
GROUPS = ("emopia", "pop909", "giantmidi")
BLOCK = 4  # bars that share a label; it is read off the eight bars around them
LEAST = 16  # notes of a piece
SKIP_GROUPS = {"ground_truth"}  # GiantMIDI files whose origin is not stated


class Piece(NamedTuple):
    """Compound words (T, 7), valence and arousal (bars, 2), whether the last bar is the music's own end, and whence."""

    rows: np.ndarray
    feeling: np.ndarray
    ends: bool
    group: str
    part: str


class Source(NamedTuple):
    """One file: ``beats`` where they are known, ``quadrant`` 1..4 or 0, ``ends`` if its last bar is the music's own."""

    path: Path
    beats: Beats | None
    group: str
    part: str
    quadrant: int
    ends: bool


def pop909_beats(meta: dict) -> tuple[Beats, bool] | None:
    """The longest stretch of a POP909 song whose annotated bars all have four beats, if it has at least 16 bars.

    With it: whether it goes to the song's last bar.
    """
    downbeats = np.array([i for i, flag in enumerate(meta["beat_flags"]) if int(flag) & 2])
    breaks = np.flatnonzero(np.diff(downbeats) != 4) + 1
    stretch = max(np.split(downbeats, breaks), key=len)
    if len(stretch) < 16:
        return None
    to_end = stretch[-1] == downbeats[-1]
    last = len(meta["beats"]) if to_end else stretch[-1] + 1
    return Beats(np.array(meta["beats"][stretch[0] : last]) / 1000.0, 0), bool(to_end)


def sources(data: Path):
    """Every file of the corpora."""
    for clip in emopia(data):
        yield Source(clip.path, None, "emopia", clip.part, clip.quadrant, False)
    songs = json.loads((data / "pop909" / "pop909_meta.json").read_text())
    for name, meta in songs.items():
        if found := pop909_beats(meta):
            beats, to_end = found
            yield Source(data / "pop909" / f"{name}.mid", beats, "pop909", "train", 0, to_end)
    with open(data / "giantmidi" / "index.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["group"] not in SKIP_GROUPS:
                yield Source(data / "giantmidi" / row["file"], None, "giantmidi", "train", 0, True)


def read(source: Source) -> np.ndarray:
    """The notes of a file (n, 4), or of the stretch of it whose beats are known."""
    notes = read_notes(source.path)
    if source.beats is None:
        return notes
    first, last = source.beats.times[0] - 0.03, source.beats.times[-1] + (0 if not source.ends else 60)
    notes = notes[(notes[:, 0] >= first) & (notes[:, 0] < last)]
    if not source.ends:
        notes[:, 1] = np.minimum(notes[:, 1], last)
    return notes


def tokenise(notes: np.ndarray, beats: Beats | None, vocabulary: Vocabulary) -> tuple[np.ndarray, list[np.ndarray]]:
    """Notes -> compound words, and the notes of the eight bars around each block of :data:`BLOCK` bars."""
    beats = track(notes) if beats is None else beats
    grid = quantise(notes, beats, estimate(notes, beats))
    played, lines = to_notes(grid), bar_lines(grid)
    bar = np.searchsorted(lines, played[:, 0] + 1e-6, side="right") - 1
    around = [played[(bar >= b - 2) & (bar < b + BLOCK + 2)] for b in range(0, len(lines), BLOCK)]
    return encode(grid, vocabulary), around


def labeller_of(data: Path) -> Labeller:
    """The labeller, which learns from EMOPIA's training songs alone."""
    clips = [c for c in emopia(data) if c.part == "train"]
    return Labeller(np.array([features(read_notes(c.path)) for c in clips]), np.array([c.quadrant for c in clips]))


def build(data: Path, vocabulary: Vocabulary) -> list[Piece]:
    """Tokenise and label every corpus under ``data``; those without labels on the scale of their own windows."""
    labeller, tokenised = labeller_of(data), []
    for source in tqdm(list(sources(data)), desc="tokens", mininterval=10):
        notes = read(source)
        if len(notes) >= LEAST:
            rows, around = tokenise(notes, source.beats, vocabulary)
            tokenised.append((source, rows, [features(w) if len(w) > 4 else None for w in around]))
    scales = {"emopia": (labeller.mean, labeller.spread)}
    for group in GROUPS[1:]:
        windows = [x for source, _, found in tokenised if source.group == group for x in found if x is not None]
        scales[group] = np.mean(windows, 0), np.std(windows, 0) + 1e-6
    return [labelled(source, rows, found, labeller, scales[source.group]) for source, rows, found in tokenised]


def labelled(
    source: Source, rows: np.ndarray, windows: list, labeller: Labeller, scale: tuple[np.ndarray, np.ndarray]
) -> Piece:
    """A tokenised file with a valence and an arousal for each bar, by the features of the windows around its blocks."""
    felt = np.repeat(feelings(labeller, windows, scale, source.quadrant), BLOCK, axis=0)
    bars = int((rows[:, BEAT] == BAR).sum())
    return Piece(rows, felt[:bars], source.ends, source.group, source.part)


def feelings(labeller: Labeller, windows: list, scale: tuple[np.ndarray, np.ndarray], quadrant: int) -> np.ndarray:
    """(blocks, 2) valence and arousal by each window's features; windows with very few notes repeat the last values."""
    found = [np.zeros(2)]
    for x in windows:
        found.append(found[-1] if x is None else labeller(x[None], scale)[0])
    found = np.array(found[1:], dtype=np.float32)
    return anchored(found, signs(quadrant)) if quadrant else found


def save(pieces: list[Piece], path: Path) -> None:
    np.savez_compressed(
        path,
        rows=np.concatenate([p.rows for p in pieces]),
        feeling=np.concatenate([p.feeling for p in pieces]),
        sizes=np.array([(len(p.rows), len(p.feeling), p.ends) for p in pieces]),
        names=np.array([(p.group, p.part) for p in pieces]),
    )


def load(path: Path) -> list[Piece]:
    with np.load(path, allow_pickle=False) as file:
        rows, feeling, sizes, names = (file[key] for key in ("rows", "feeling", "sizes", "names"))
    t, b = np.cumsum(sizes[:, 0])[:-1], np.cumsum(sizes[:, 1])[:-1]
    split = zip(np.split(rows, t), np.split(feeling, b), sizes[:, 2], names, strict=True)
    return [Piece(r, f, bool(ends), str(group), str(part)) for r, f, ends, (group, part) in split]


def shifted(rows: np.ndarray, element: int, by: int, vocabulary: Vocabulary) -> np.ndarray:
    """The rows with every number of an element ``by`` ids higher, as far as the vocabulary goes."""
    out, first = rows.copy(), int(np.flatnonzero(np.isfinite(vocabulary.numbers(element)))[0])
    known = rows[:, element] >= first
    out[known, element] = (rows[known, element] + by).clip(first, vocabulary.sizes[element] - 1)
    return out


class Batch(NamedTuple):
    rows: np.ndarray  # (b, n, 7)
    lengths: np.ndarray  # (b,)
    bar: np.ndarray  # (b, n) index of the bar of each step
    left: np.ndarray  # (b, n) bars after the current one until the music ends
    feeling: list[np.ndarray]  # each (bars, 2)
    whole: np.ndarray  # (b,) bool: the passage reaches the end of its piece
    group: np.ndarray  # (b,) index into GROUPS
    piece: np.ndarray  # (b,) index into the pieces of the groups that are drawn from


class Passages:
    """Endless random passages that begin at a bar line, brought :func:`home`.

    ``shares`` gives each group's part of the passages; within a group, longer pieces come more often. ``vary`` plays
    each a little faster or slower, louder or softer.
    """

    def __init__(
        self,
        pieces: list[Piece],
        shares: dict[str, float],
        length: int,
        vocabulary: Vocabulary,
        seed: int,
        vary: bool = False,
    ):
        self.pieces = [p for p in pieces if p.group in shares]
        if not self.pieces:
            raise InputError(
                f"no song of {' or '.join(shares)} is in this part of the data: add songs (the split is by song name, "
                "and puts 8 % of EMOPIA's songs into validation)"
            )
        self.length, self.vocabulary, self.vary = length, vocabulary, vary
        self.random = np.random.default_rng(seed)
        sizes = np.array([min(len(p.rows), 4 * length) for p in self.pieces], dtype=float)
        group = np.array([p.group for p in self.pieces])
        weight = sum(share * sizes * (group == g) / max(sizes[group == g].sum(), 1) for g, share in shares.items())
        self.weight = weight / weight.sum()
        self.lines = [np.flatnonzero(p.rows[:, BEAT] == BAR) for p in self.pieces]

    def _draw(self, far: int):
        at = self.random.choice(len(self.pieces), p=self.weight)
        piece, lines = self.pieces[at], self.lines[at]
        last = max(np.searchsorted(lines, len(piece.rows) - self.length // 2), 1)
        first = self.random.integers(last)
        rows = from_bar(piece.rows, lines[first])[: self.length]
        whole = lines[first] + len(rows) == len(piece.rows)
        bar = np.cumsum(rows[:, BEAT] == BAR) - 1
        left = len(lines) - 1 - first - bar if piece.ends else np.full(len(rows), far)
        rows = transpose(rows, home(rows, self.vocabulary), self.vocabulary)
        if self.vary:
            for element, most in VARIED.items():
                rows = shifted(rows, element, int(self.random.integers(-most, most + 1)), self.vocabulary)
        return rows, bar, left, piece.feeling[first : first + bar[-1] + 1], whole, GROUPS.index(piece.group), at

    def batch(self, size: int, far: int) -> Batch:
        """``size`` passages, padded with zeros; ``far`` stands for an end out of sight."""
        drawn = [self._draw(far) for _ in range(size)]
        lengths = np.array([len(rows) for rows, *_ in drawn])
        rows = np.zeros((size, lengths.max(), 7), dtype=np.int64)
        bar, left = np.zeros((2, size, lengths.max()), dtype=np.int64)
        for i, (r, b, to_go, *_) in enumerate(drawn):
            rows[i, : len(r)], bar[i, : len(b)], left[i, : len(to_go)] = r, b, to_go
        whole, group, piece = (np.array([d[i] for d in drawn]) for i in (4, 5, 6))
        return Batch(rows, lengths, bar, left, [d[3] for d in drawn], whole, group, piece)
