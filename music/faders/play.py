"""Faders on a piece: bars are encoded, moved in the latent space, decoded several times, and joined.

b bars, c candidates a bar. A fader's place in the latent space comes from a curve measured after training (what is
decoded there, made to rise), so it is set in onsets a beat and in notes that sound; of the candidates the path is kept
that measures nearest to what is wanted, stays near the bar that was there, and leaps least over the bar lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gen import checkpoints
from gen.emotion.embedding.direction import DirectionSpace
from music.automation import Automation
from music.controls import on_keyboard
from music.faders import segments
from music.faders.model import FaderNet
from music.finish import merged
from music.keys import home
from music.labels import Labeller, features
from music.score import bar_lines, to_notes
from music.tokens import POSITIONS, Grid, Vocabulary, encode

NAMES = ("rhythm", "notes")
CANDIDATES = 24
TEMPERATURE = 0.9
SPREAD = 0.5  # of the faders' places around the one that the curve tells, in spreads of z_0
TUNE, NEAR, CLASS = 4.0, 4.0, 1.0  # nats for the tune's pitch at an onset, what else sounds there, its pitch classes
EXACT, ALIKE, LEAP = 6.0, 2.0, 0.4  # weights: of what is wanted, of the old bar, of an octave's leap at a bar line
WINDOW = 4  # bars on each side whose arousal is heard as a bar's


class Curve(NamedTuple):
    """Decoded values (k,) at positions (k,) of a fader, and the standard deviations of both over music.

    For arousal: the change of predicted arousal at intensities along its direction.
    """

    places: np.ndarray
    values: np.ndarray
    place_spread: float
    value_spread: float

    def place(self, wanted: np.ndarray) -> np.ndarray:
        return np.interp(wanted, self.values, self.places)


class Faders:
    """A trained network with its curves and its direction of arousal."""

    def __init__(self, net: FaderNet, curves: Mapping[str, Curve], directions: DirectionSpace, labeller: Labeller):
        self.net, self.curves = net.float().eval().requires_grad_(False), dict(curves)
        self.directions, self.labeller, self.vocabulary = directions, labeller, Vocabulary.default()

    @classmethod
    @cache
    def load(cls, name: str = "faders-compact") -> Faders:
        net, folder = checkpoints.load(name, FaderNet), checkpoints.folder(name)
        return cls(net, load_curves(folder), DirectionSpace.load(folder), Labeller.load(folder / "labeller.json"))

    def moved(
        self,
        grid: Grid,
        wanted: Mapping[str, float | Automation | None],
        seed: int,
        arousal: Automation | None = None,
        candidates: int = CANDIDATES,
    ) -> Grid:
        """The grid with its faders where they are ``wanted``, and its arousal (-1 to 1), as far as bars go there.

        An attribute that nothing is said of stays as it is, unless arousal moves it. Empty bars stay empty; of more
        than :data:`segments.MOST` notes in a bar the softest go first.
        """
        by = home(encode(grid, self.vocabulary), self.vocabulary)
        at_home = grid._replace(notes=grid.notes + np.array([0, by, 0, 0]))
        bars = segments.bars_of(at_home)
        bars = [_thinned(bar) for bar in bars]
        which = np.flatnonzero([len(bar) > 0 for bar in bars])
        if not len(which):
            return grid
        rows, lengths = segments.padded([segments.rows_of(bars[i]) for i in which])
        has = np.stack(segments.attributes(rows), 1)
        goal, weight = self._goal(wanted, has, which, len(bars), arousal)
        keys = segments.keys_of(bars)[which]
        z = self.net.encode(torch.from_numpy(rows), torch.from_numpy(lengths)).mean
        if arousal is not None:
            z = self._aroused(z, grid, which, arousal)
        drawn = self._drawn(z, keys, goal, weight, rows, arousal is None, seed, candidates)
        best = _path(drawn, rows, goal, weight, [self.curves[name].value_spread for name in NAMES], arousal is None)
        for place, bar in enumerate(which):
            if arousal is None and best[place] == 0:
                continue  # the bar as it was
            found = segments.notes_of(drawn[place, best[place]])
            if arousal is None:
                found[:, 3] = _loudness(found, bars[bar])
            bars[bar] = found
        return _back(segments.joined(bars, at_home), by)

    def _goal(self, wanted, has: np.ndarray, which: np.ndarray, count: int, arousal: Automation | None):
        """(b, 2) what each bar should measure, and (2,) how much that counts."""
        whole, goal, weight = np.zeros(count), has.copy(), np.zeros(2)
        for at, name in enumerate(NAMES):
            curve = wanted.get(name)
            curve = Automation((0.0,), (float(curve),), False) if isinstance(curve, int | float) else curve
            weight[at] = 1.0 if curve is not None else 0.5 if arousal is None else 0.0
            if curve is not None:
                whole[which] = has[:, at]
                goal[:, at] = curve.at(count, whole)[which].clip(0.25, 4 if at == 0 else 12)
        return goal, weight

    def _aroused(self, z: Tensor, grid: Grid, which: np.ndarray, arousal: Automation) -> Tensor:
        """z (b, s, d) moved along the direction from low to high arousal by what is missing."""
        heard = self.heard(grid)
        lacks = (arousal.at(len(heard), heard) - heard)[which]
        intensity = torch.from_numpy(self.curves["arousal"].place(lacks)).float()
        moved = self.directions.apply(z.flatten(1), "high", intensity, guard=False)
        return moved.view_as(z)

    def heard(self, grid: Grid) -> np.ndarray:
        """(bars,) the arousal of the music around each bar, by the training's own labeller."""
        notes, lines = to_notes(grid), bar_lines(grid)
        bar = np.searchsorted(lines, notes[:, 0] + 1e-6, side="right") - 1
        found = np.zeros(len(lines))
        for i in range(len(lines)):
            near = notes[np.abs(bar - i) <= WINDOW]
            found[i] = self.labeller(features(near)[None])[0, 1] if len(near) > 4 else 0.0
        return found

    def _drawn(
        self,
        z: Tensor,
        keys: np.ndarray,
        goal: np.ndarray,
        weight: np.ndarray,
        old: np.ndarray,
        keep: bool,
        seed: int,
        count: int,
    ) -> np.ndarray:
        """Candidates (b, c, n, 4) of each bar, drawn near the ``old`` ones; with ``keep`` the first is the old one."""
        random = torch.Generator().manual_seed(seed)
        many = z[:, None].expand(-1, count, -1, -1).clone()
        for at, name in enumerate(NAMES):
            if weight[at] == 0:
                continue
            curve = self.curves[name]
            around = torch.randn(len(z), count, generator=random) * SPREAD * curve.place_spread
            around[:, 0] = 0
            many[:, :, at, 0] = torch.from_numpy(curve.place(goal[:, at])).float()[:, None] + around
        key = torch.from_numpy(keys)[:, None].expand(-1, count, -1)
        bias = [torch.from_numpy(x)[:, None].expand(-1, count, -1, -1).flatten(0, 1) for x in _bias(old)]
        known = self.net.known(many.flatten(0, 1), key.flatten(0, 1))
        rows = decode(self.net, known, TEMPERATURE, random, bias).view(len(z), count, -1, 4).numpy()
        if not keep:
            return rows
        size = max(rows.shape[2], old.shape[1])
        return np.concatenate((_longer(old[:, None], size), _longer(rows, size)), 1)


def _thinned(bar: np.ndarray) -> np.ndarray:
    """A bar's notes, the loudest of them where they are too many."""
    if len(bar) <= segments.MOST:
        return bar
    return bar[np.sort(np.argsort(-bar[:, 3], kind="stable")[: segments.MOST])]


def _longer(rows: np.ndarray, size: int) -> np.ndarray:
    """Ids (..., n, 4) with ends after them, (..., size, 4)."""
    ends = np.tile([segments.END, 0, 0, 0], (*rows.shape[:-2], size - rows.shape[-2], 1))
    return np.concatenate((rows, ends), -2)


def _bias(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(b, 16, 88) nats for each pitch at each position, of the first note of an onset and of those under it, by what
    sounds there in bars (b, n, 4) of ids."""
    under = np.zeros((len(rows), POSITIONS, segments.KEYS), np.float32)
    first = np.zeros_like(under)
    for b, bar in enumerate(rows):
        notes = segments.notes_of(bar)
        classes = np.unique(notes[:, 1] % 12)
        under[b, :, np.isin((np.arange(segments.KEYS) + segments.LOWEST) % 12, classes)] = CLASS
        for position, pitch, length, _ in notes.astype(int):
            stop = min(position + max(length, 1), POSITIONS)
            under[b, position:stop, pitch - segments.LOWEST] = CLASS + NEAR
        tops = notes[np.concatenate(([True], np.diff(notes[:, 0]) > 0))].astype(int)
        for (position, pitch, *_), stop in zip(tops, [*tops[1:, 0], POSITIONS], strict=True):
            first[b, position:stop, pitch - segments.LOWEST] = TUNE
    return first + under, under


@torch.inference_mode()
def decode(
    net: FaderNet,
    known: Tensor,
    temperature: float,
    random: torch.Generator | None = None,
    bias: Sequence[Tensor] | None = None,
) -> Tensor:
    """The decoder's condition (b, c) -> ids (b, n, 4): the likeliest at ``temperature`` 0, else sampled.

    Masks enforce the grammar: positions rise within the bar, notes of a chord go down, no bar is empty. ``bias``,
    two of (b, 16, 88), is added to the logits of an onset's first pitch and of those under it, by position.
    """
    batch, ids, state = len(known), torch.arange(segments.KEYS), None
    wait_ids = torch.arange(segments.FIELDS[0])
    row, rows = net.opening(batch), []
    position, pitch = torch.zeros(batch, dtype=torch.long), torch.full((batch,), segments.KEYS)
    ended = torch.zeros(batch, dtype=torch.bool)
    for step in range(segments.MOST + 1):
        hidden, state = net.hidden(row, known, state)
        chosen = torch.zeros(batch, 4, dtype=torch.long)
        for field in range(4):
            logits = net.logits(hidden[:, 0], chosen, field)
            if field == 0:
                bad = (position[:, None] + wait_ids >= POSITIONS) & (wait_ids != segments.END)
                bad |= (wait_ids == 0) & (pitch[:, None] == 0)
                bad |= (wait_ids == segments.END) if step == 0 else torch.zeros_like(bad)
                bad |= (wait_ids != segments.END) & (step == segments.MOST)
                logits = logits.masked_fill(bad, -torch.inf)
            elif field == 1:
                wait = chosen[:, 0].clamp_max(POSITIONS - 1)
                here = (position + wait).clamp_max(POSITIONS - 1)
                together = (chosen[:, 0] == 0) & (step > 0)
                if bias is not None:
                    at = torch.arange(batch), here
                    logits = logits + torch.where(together[:, None], bias[1][at], bias[0][at])
                logits = logits.masked_fill(together[:, None] & (ids >= pitch[:, None]), -torch.inf)
                logits = torch.where((chosen[:, 0] == segments.END)[:, None], torch.zeros_like(logits), logits)
            chosen[:, field] = _pick(logits, temperature, random)
        chosen[ended] = torch.tensor([segments.END, 0, 0, 0])
        ended = ended | (chosen[:, 0] == segments.END)
        position = torch.where(ended, position, position + chosen[:, 0])
        pitch = torch.where(ended, pitch, chosen[:, 1])
        rows.append(chosen)
        if ended.all():
            break
        row = chosen[:, None]
    return torch.stack(rows, 1)


def _pick(logits: Tensor, temperature: float, random: torch.Generator | None) -> Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    p = (logits / temperature).softmax(-1)
    return torch.multinomial(p, 1, generator=random)[:, 0]


def _path(
    drawn: np.ndarray, old: np.ndarray, goal: np.ndarray, weight: np.ndarray, spread: list[float], keep: bool
) -> np.ndarray:
    """(b,) the candidate of each bar on the cheapest way through (Viterbi)."""
    b, c = drawn.shape[:2]
    measured = np.stack(segments.attributes(drawn.reshape(b * c, *drawn.shape[2:])), 1).reshape(b, c, 2)
    cost = (EXACT * weight * ((measured - goal[:, None]) / np.array(spread)) ** 2).sum(-1)
    cost += ALIKE * (1 - np.array([[_alike(old[i], one) for one in drawn[i]] for i in range(b)])) * (1 if keep else 0.5)
    tops = np.array([[_edges(one) for one in drawn[i]] for i in range(b)])  # (b, c, 2) first and last of the top line
    best, source = cost[0], np.zeros((b, c), int)
    for i in range(1, b):
        leap = np.abs(tops[i - 1, :, 1][:, None] - tops[i, :, 0]) / 12
        total = best[:, None] + LEAP * (leap - 1).clip(0)
        source[i], best = total.argmin(0), total.min(0) + cost[i]
    path = [int(best.argmin())]
    for i in range(b - 1, 0, -1):
        path.append(int(source[i, path[-1]]))
    return np.array(path[::-1])


def _edges(rows: np.ndarray) -> tuple[float, float]:
    """The highest pitches of a bar's first and last onset."""
    notes = segments.notes_of(rows)
    return notes[0, 1], notes[notes[:, 0] == notes[-1, 0], 1].max()


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    """0..1: cosine of pitch classes, and the share of the other's top notes that the first has there."""
    a, b = segments.notes_of(one), segments.notes_of(other)
    x, y = (np.bincount(n[:, 1].astype(int) % 12, weights=n[:, 2], minlength=12) for n in (a, b))
    cosine = x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-9)
    top = lambda n: n[np.concatenate(([True], np.diff(n[:, 0]) > 0))]
    p, q = top(a), top(b)
    sounding = p[np.searchsorted(p[:, 0], q[:, 0], side="right").clip(1) - 1, 1]
    return 0.5 * cosine + 0.5 * float((sounding == q[:, 1]).mean())


def _loudness(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """(n,) velocities of new notes, as loud as the old bar was there."""
    at, inverse = np.unique(old[:, 0], return_inverse=True)
    loud = np.bincount(inverse, old[:, 3]) / np.bincount(inverse)
    return np.interp(new[:, 0], at, loud).round()


def _back(grid: Grid, by: int) -> Grid:
    """A grid from home in its own key again, what leaves the keyboard by an octave back."""
    notes = grid.notes - np.array([0, by, 0, 0])
    notes[:, 1] = on_keyboard(notes[:, 1])
    return grid._replace(notes=merged(notes))


def load_curves(folder: Path) -> dict[str, Curve]:
    """Loads the curves written by :func:`save_curves`."""
    kept = json.loads((folder / "faders.json").read_text(encoding="utf-8"))
    return {
        name: Curve(np.array(x["places"]), np.array(x["values"]), x["place_spread"], x["value_spread"])
        for name, x in kept.items()
    }


def save_curves(curves: Mapping[str, Curve], folder: Path) -> None:
    """``faders.json`` in a checkpoint's folder."""
    plain = {
        name: {
            "places": curve.places.round(5).tolist(),
            "values": curve.values.round(5).tolist(),
            "place_spread": round(curve.place_spread, 5),
            "value_spread": round(curve.value_spread, 5),
        }
        for name, curve in curves.items()
    }
    (folder / "faders.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
