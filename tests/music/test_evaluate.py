import json
from typing import NamedTuple

import numpy as np
import pytest
import torch
from clips import write_clips

from gen.emotion.spec import EmotionCurve
from gen.errors import InputError
from gen.generator import check_evaluator
from gen.settings import settings_of
from music.evaluation import evaluate as subject
from music.evaluation import report
from music.evaluation.evaluate import Composer, Music, Settings
from music.evaluation.judge import Judge


class Written(NamedTuple):
    """A piece in the form that the generator hands over."""

    notes: np.ndarray
    bars: np.ndarray

    def valid(self):
        return len(self.notes) > 0


class Rules:
    """A composer by rule: arousal makes it faster and louder, valence turns minor into major."""

    def compose(self, curves, bars, seeds, guidance, temperature, candidates):
        return [self.piece(curve, bars, seed) for curve, seed in zip(curves, seeds, strict=True)]

    def piece(self, curve: EmotionCurve, bars: int, seed: int) -> Written:
        rng, rows = np.random.default_rng(seed), []
        length, root = 2.0, 50 + seed % 7
        for bar, (valence, arousal, _) in enumerate(curve.sample(np.arange(bars)).vad):
            count = round(6 + 5 * arousal)
            for step in sorted(rng.choice(16, count, replace=False)):
                third = 4 if valence > rng.uniform(-0.5, 0.5) else 3
                start, held = (bar + step / 16) * length, rng.integers(1, 5) * length / 16
                for tone in rng.permutation([-12, 0, third, 7, 12, 15 + seed % 5])[: rng.integers(1, 4)]:
                    rows.append((start, start + held, root + tone, 70 + 25 * arousal + rng.integers(-5, 6)))
        return Written(np.array(rows), np.arange(bars) * length)


def clip(quadrant, seed):
    valence, arousal = ((0.7, 0.7), (-0.7, 0.7), (-0.7, -0.7), (0.7, -0.7))[quadrant - 1]
    return Rules().piece(EmotionCurve.parse(f"v={valence} a={arousal}"), 6, seed).notes


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    write_clips(data, clip, {"train": 3, "test": 3, "valid": 0})
    return Settings(data=str(data), bars=6, pieces=3, sweep=1, curves=2, valid=2, batch=5, listen=0)


@pytest.fixture(scope="module")
def found(chosen):
    torch.manual_seed(0)
    return subject.measure(Rules(), Judge(members=1, width=8).eval(), chosen)


@pytest.mark.slow
def test_control_is_measured_where_there_is_control(found):
    arousal, valence = found.sweeps["a"], found.sweeps["v"]
    assert arousal.correlations("notes per second")[0] > 0.95
    assert arousal.correlations("velocity")[0] > 0.95
    assert valence.correlations("mode")[0] > 0.7
    assert abs(valence.correlations("velocity")[0]) < 0.6


@pytest.mark.slow
def test_every_piece_is_counted(found):
    assert found.made == found.valid == 3 * 4 * 2 + 2 * 21 + 4 * 2 + 2 * 4
    assert [item.rises for item in found.following] == [True, False, True, False]
    assert all(item.told.shape == (2, 2) for item in found.following)


@pytest.mark.slow
def test_changing_emotions_are_followed_bar_by_bar(found):
    rising, falling = (np.mean(item.energy, axis=0)[:, 0] for item in found.following[:2])
    assert np.corrcoef(rising, np.arange(6))[0, 1] > 0.9
    assert np.corrcoef(falling, np.arange(6))[0, 1] < -0.9


@pytest.mark.slow
def test_report_holds_every_bar(found, tmp_path):
    report.report_of(found).write(tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    sections = {s["title"]: s for s in written["sections"]}
    assert len(written["bars"]) == 7
    first = {"what": "share of valid pieces, of 82", "measured": 1.0, "interval": None, "bar": ">= 1", "met": True}
    assert written["bars"][0] == first
    names = [row["pieces"] for row in sections["Emotion"]["tables"][0]["rows"]]
    assert names == [
        "held out, as performed",
        "held out, as tokens",
        "generated",
        "generated, labels shuffled",
        "neutral, first draw",
    ]
    assert len(sections["Likeness to real music"]["tables"]) == 4
    assert (tmp_path / "report.html").read_text().count("data:image/png") >= 9


@pytest.mark.slow
def test_the_evaluator_keeps_the_contract(chosen, monkeypatch):
    monkeypatch.setattr(subject, "STEPS", np.linspace(-1.0, 1.0, 4))
    sizes = {"bars": "2", "pieces": "2", "sweep": "1", "curves": "1", "candidates": "1", "listen": "0"}
    bars = check_evaluator(subject.MusicEvaluator, {"data": str(chosen.data)} | sizes)
    assert len(bars) == 7 and bars[0].met


def test_a_copied_song_is_found_and_an_own_one_is_not():
    def random(seed):
        rng = np.random.default_rng(seed)
        start = np.arange(40) * 0.25
        rows = np.stack([start, start + 0.25, rng.integers(40, 90, 40), np.full(40, 70)], axis=1)
        return Music(rows, np.arange(6) * 2.0)

    book = [random(seed) for seed in range(5)]
    runs = subject.copying(book, {"copied": [book[2]], "own": [random(99)]})
    for longest in runs.values():
        assert longest["copied"].tolist() == [40]
        assert longest["own"][0] <= 6


def test_invalid_pieces_are_counted():
    class Lazy(Rules):
        def piece(self, curve, bars, seed):
            made = super().piece(curve, bars, seed)
            return type("Bad", (Written,), {"valid": lambda self: False})(*made) if seed == 1 else made

    compose = Composer(Lazy(), Settings(data=".", bars=2, batch=2))
    compose(["happy", "sad", "Q1"], [0, 1, 2])
    assert (compose.made, compose.valid) == (3, 2)


def test_last_bar_is_as_long_as_the_one_before():
    music = subject.with_end(np.array([[0.0, 1.0, 60, 80]]), np.array([0.0, 2.0, 5.0]))
    assert music.bars.tolist() == [0, 2, 5, 8]


def test_settings():
    read = lambda **given: settings_of(Settings, "evaluate music", {"data": "."} | given)
    assert read(pieces="3").pieces == 3
    assert (read(full="1", sweep="2").valid, read(full="1", sweep="2").sweep) == (200, 2)
    assert read(full="False").valid == 0
    with pytest.raises(InputError, match="needs data"):
        settings_of(Settings, "evaluate music", {})
    with pytest.raises(InputError, match="colour"):
        read(colour="blue")
