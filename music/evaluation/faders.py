"""``affekt evaluate faders``: whether each fader does what it says and nothing else, and what a shift of arousal does.

Measures of Music FaderNets (Tan and Herremans, ISMIR 2020, sec. 5) as its release computes them: of each of some bars a
fader is put to eight places, the rest of the latent stays; attributes are in spreads over training bars.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, DirectoryPath

from gen.evaluate.bootstrap import mean_of
from gen.evaluate.report import Estimate, Report
from gen.generator import Bar
from music import controls
from music.automation import Automation
from music.beats import track
from music.chords import estimate
from music.evaluation.judge import Judge
from music.faders import segments
from music.faders.model import FaderNet
from music.faders.play import NAMES, Faders, decode
from music.score import read_notes, to_notes
from music.tokens import Grid, quantise
from music.training.emopia import emopia
from music.training.faders import Bars, Batches, parts

PLACES = 8
SHIFT = 0.9  # of arousal, that songs are taken to


class Settings(BaseModel):
    """The ``--set`` options."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    data: DirectoryPath  # the folder that holds emopia/
    bars: DirectoryPath  # of the training: bars.npz, with the bars of held-out songs
    model: str = "faders-compact"
    pieces: int = 100  # bars of a repeat
    repeats: int = 5
    songs: int = 200  # held-out clips whose arousal is shifted, at most


class Moved(NamedTuple):
    """Of one repeat, for each attribute (2,): the paper's three measures."""

    consistency: np.ndarray
    restrictiveness: np.ndarray
    linearity: np.ndarray


@torch.inference_mode()
def sweep(
    net: FaderNet,
    data: Bars,
    at: np.ndarray,
    std: np.ndarray,
    centre: np.ndarray,
    places: np.ndarray | None = None,
    units: np.ndarray | None = None,
) -> Moved:
    """One repeat over the bars ``at``.

    ``places`` (2, PLACES) of the faders are by default from the least to the most that any held-out bar has, the most
    itself left out; ``units`` (2, PLACES) what they stand for, if not themselves; ``std`` and ``centre`` (2,) those of
    the attributes over training bars.
    """
    batches = Batches(data, 1, 0, "cpu")
    batch, every = batches.of(at), batches.of(np.arange(len(data.rows)))
    asked = lambda part: ((part["attributes"].numpy() - centre) / std).astype(np.float32)
    encode = lambda part: net.encode(part["rows"], part["lengths"], torch.from_numpy(asked(part))).mean
    z, given = encode(batch), torch.from_numpy(asked(batch))
    if places is None:
        own = asked(every) if net.config.given else fader(encode(every)).numpy()
        low, high = own.min(0), own.max(0)
        places = low[:, None] + (high - low)[:, None] * np.arange(PLACES) / PLACES
    measured = np.zeros((2, PLACES, len(at), 2))
    for which in range(2):
        for k, place in enumerate(places[which]):
            moved, told = z.clone(), given.clone()
            if net.config.given:
                told[:, which] = float(place)
            else:
                space, dimension = (which, 0) if z.shape[1] == 2 else (0, which)
                moved[:, space, dimension] = float(place)
            rows = decode(net, net.known(moved, batch["key"], told), 0.0).numpy()
            measured[which, k] = np.stack(segments.attributes(rows), 1) / std
    own = np.stack([measured[i, :, :, i] for i in range(2)])  # (2, places, bars)
    other = np.stack([measured[i, :, :, 1 - i] for i in range(2)])
    asked_for = places if units is None else units
    linear = [
        np.mean(
            [
                np.corrcoef(asked_for[i], own[i, :, b])[0, 1] ** 2 if np.ptp(own[i, :, b]) else 0.0
                for b in range(len(at))
            ]
        )
        for i in range(2)
    ]
    return Moved(1 - own.std(2).mean(1), 1 - other.std(1).mean(1), np.array(linear))


def fader(z: torch.Tensor) -> torch.Tensor:
    """z (b, s, d) -> (b, 2) the dimension that is each attribute's."""
    return z[:, :, 0] if z.shape[1] == 2 else z[:, 0, :2]


def repeated(
    net: FaderNet,
    data: Bars,
    train: np.ndarray,
    pieces: int,
    repeats: int,
    places: np.ndarray | None = None,
    units: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The measures (repeats, 2), each repeat over other bars; ``train`` (n, 2) attributes of training bars."""
    draws = (np.random.default_rng(seed).choice(len(data.rows), pieces, replace=False) for seed in range(repeats))
    found = [sweep(net, data, at, train.std(0), train.mean(0), places, units) for at in draws]
    return {name: np.stack([getattr(one, name) for one in found]) for name in Moved._fields}


def reconstruction(net: FaderNet, data: Bars, train: np.ndarray) -> float:
    """Nats a note of held-out bars, from the means of their latents."""
    with torch.inference_mode():
        batch = Batches(data, 1, 0, "cpu").of(np.arange(min(len(data.rows), 1024)))
        asked = (batch["attributes"] - torch.from_numpy(train.mean(0))) / torch.from_numpy(train.std(0))
        z = net.encode(batch["rows"], batch["lengths"], asked).mean
        nll = net.nll(batch["rows"], batch["lengths"], net.known(z, batch["key"], asked))
        return float((nll / batch["lengths"]).mean())


# ---------------------------------------------------------------- arousal


class Shifted(NamedTuple):
    """Held-out clips, low ones taken up and high ones down: the judge's probability of high arousal before and after,
    the similarity of tunes, that of tunes of different songs, and each clip's song."""

    high: np.ndarray  # (n,) bool as labelled
    before: np.ndarray
    after: np.ndarray
    alike: np.ndarray
    other_songs: np.ndarray
    song: np.ndarray


def gridded(path: Path) -> Grid:
    """A performance on its tracked sixteenths."""
    notes = read_notes(path)
    beats = track(notes)
    return quantise(notes, beats, estimate(notes, beats))


def shifted(faders: Faders, clips: list, judge: Judge) -> Shifted:
    """The clips with their arousal turned round."""
    grids = [gridded(clip.path) for clip in clips]
    high = np.array([clip.quadrant in (1, 2) for clip in clips])
    moved = [
        faders.moved(grid, {}, seed, Automation((0.0,), (-SHIFT if up else SHIFT,), False))
        for seed, (grid, up) in enumerate(zip(grids, high, strict=True))
    ]
    before, after = (judge([to_notes(grid) for grid in part]).arousal for part in (grids, moved))
    tunes = [controls.tune(grid) for grid in grids]
    alike = np.array([controls.melody_likeness(tune, controls.tune(grid)) for tune, grid in zip(tunes, moved)])
    other_songs = np.array([controls.melody_likeness(tune, other) for tune, other in zip(tunes, tunes[7:] + tunes[:7])])
    return Shifted(high, before, after, alike, other_songs, np.array([clip.song for clip in clips]))


class FadersEvaluator:
    """``affekt evaluate faders``."""

    def __init__(self, settings: Settings, out: Path):
        self.settings = settings

    def run(self) -> Report:
        s = self.settings
        kept = parts(s.data, s.bars)
        train, test = kept["train"].attributes, kept["test"]
        faders = Faders.load(s.model)
        self.report = report = Report(
            "Music FaderNets: evaluation",
            "Made by `affekt evaluate faders --set data=DIR "
            f"bars=DIR pieces={s.pieces} repeats={s.repeats} songs={s.songs}`.",
        )
        raw = repeated(faders.net, test, train, s.pieces, s.repeats)
        low, high = np.quantile(test.attributes, (0.05, 0.95), axis=0)
        units = np.linspace(low, high, PLACES).T
        places = np.stack([faders.curves[name].place(units[i]) for i, name in enumerate(NAMES)])
        by_curve = repeated(faders.net, test, train, s.pieces, s.repeats, places, units)
        report.section("Faders", f"{s.repeats} repeats over {s.pieces} bars of held-out songs, likeliest decoding.")
        rows = []
        for i, name in enumerate(NAMES):
            for kind, found in (("along z_0, as in the paper", raw), ("in its unit, by the curve", by_curve)):
                rows.append([f"{name}, {kind}", *(_spread(found[m][:, i]) for m in Moved._fields)])
            report.bar(f"{name}: linearity (R2) in its unit; the bar is .9", _spread(by_curve["linearity"][:, i]), 0.9)
            report.bar(f"{name}: restrictiveness", _spread(raw["restrictiveness"][:, i]))
            report.bar(f"{name}: consistency", _spread(raw["consistency"][:, i]))
        report.table("Measures", ["fader", *Moved._fields], rows)
        self._arousal(report, faders)
        return report

    def _arousal(self, report: Report, faders: Faders) -> None:
        clips = [clip for clip in emopia(self.settings.data) if clip.part == "test"][: self.settings.songs]
        found = shifted(faders, clips, Judge.load())
        report.section(
            "Arousal",
            f"{len(clips)} clips of held-out songs, each taken to arousal {SHIFT} the other way; "
            "the judge hears both. Its figure on the clips as they are is what it can measure.",
        )
        rows = []
        for name, chosen, aim in (("low, taken up", ~found.high, True), ("high, taken down", found.high, False)):
            song = found.song[chosen]
            right = mean_of((found.after[chosen] > 0.5) == aim, song)
            real = mean_of((found.before[chosen] > 0.5) == (not aim), song)
            alike = mean_of(found.alike[chosen], song)
            rows.append([name, int(chosen.sum()), right, real, alike, mean_of(found.other_songs[chosen], song)])
            report.bar(f"{name}: judge's arousal right; on the clips as they are {real.value:.2f}", right, at_least=0.8)
        columns = ["clips", "n", "right after", "right before", "tune alike", "tunes of other songs"]
        report.table("Shifts", columns, rows)

    def summary(self) -> list[Bar]:
        return self.report.bars


def _spread(values: np.ndarray) -> Estimate:
    """The mean of repeats, with 1.96 of their standard errors on each side."""
    error = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return Estimate(float(values.mean()), float(values.mean() - error), float(values.mean() + error))
