"""Ablations: equal training and evaluation of all conditioners; mistakes are found before any training."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from gen import registry
from gen.ablate import ablate
from gen.errors import InputError
from gen.evaluate.report import Estimate, Report
from gen.generator import Bar
from gen.registry import UnknownName, register
from gen.settings import has_setting

trained: list[tuple[str, float]] = []


class Training(NamedTuple):
    conditioner: str = "vad"
    copies: int = 1


class Measuring(NamedTuple):
    data: str
    model: str
    bars: int = 1


@register("trainer", "echo")
def train(data: Path, out: Path, minutes: float | None, settings: Training) -> None:
    trained.append((settings.conditioner, minutes))
    (out / "checkpoint").mkdir(parents=True)
    (out / "checkpoint" / "name").write_text(settings.conditioner * settings.copies)


@register("evaluator", "echo")
class Letters:
    """Counts the letters of the trained conditioner's name."""

    def __init__(self, settings: Measuring, out: Path):
        self.settings, self.report = settings, Report("echo", "letters")

    def run(self) -> Report:
        size = len((Path(self.settings.model) / "name").read_text())
        self.report.section("Anything", "tables of a report may have any columns")
        self.report.table("Letters", ["letters", "share"], [["all", 1.0]])
        self.report.bar("letters", Estimate(float(size), 0.0, 99.0), at_least=8)
        self.report.bar("bars", self.settings.bars)
        return self.report

    def summary(self) -> list[Bar]:
        return self.report.bars


class Others(Letters):
    """An evaluator of another kind."""

    def run(self) -> Report:
        size = len((Path(self.settings.model) / "name").read_text())
        self.report.bar("other letters", float(size))
        return self.report


@register("trainer", "alone")
def train_alone(data: Path, out: Path, minutes: float | None, settings: Training) -> None:
    trained.append((settings.conditioner, minutes))


def run(out: Path, *names: str, kind: str = "echo", copies: str = "2", bars: str = "8") -> str:
    return ablate([kind], names, Path("data"), out, 2.0, {"copies": copies}, {"bars": bars}).read_text()


def test_every_conditioner_is_trained_equally_and_listed(tmp_path):
    trained.clear()
    table = run(tmp_path, "label", "vad")
    assert trained == [("label", 2.0), ("vad", 2.0)]
    assert "| letters | 10 (0 to 99) | 6 (0 to 99) | >= 8 |" in table
    assert "| bars | 8 | 8 |  |" in table
    kept = json.loads((tmp_path / "ablation.json").read_text())
    assert [bar["met"] for name in ("label", "vad") for bar in kept[name]] == [True, None, False, None]


def test_complete_trainings_are_not_repeated(tmp_path):
    run(tmp_path, "label")
    trained.clear()
    table = run(tmp_path, "label", "none")
    assert trained == [("none", 2.0)]
    assert "| letters | 10 (0 to 99) | 8 (0 to 99) | >= 8 |" in table


def test_other_settings_are_evaluated_again(tmp_path):
    run(tmp_path, "label")
    trained.clear()
    assert "| bars | 3 |  |" in run(tmp_path, "label", bars="3")
    assert not trained


def test_several_kinds_are_listed_in_one_table(tmp_path):
    register("trainer", "other")(train)
    register("evaluator", "other")(Others)
    given = {"echo.copies": "1", "other.copies": "3"}
    table = ablate(["echo", "other"], ["label"], Path("data"), tmp_path, None, given, {}).read_text()
    assert "| letters | 5 (0 to 99) | >= 8 |" in table
    assert "| other letters | 15 |  |" in table


def test_an_unknown_conditioner_is_refused_before_training(tmp_path):
    trained.clear()
    with pytest.raises(UnknownName, match="label"):
        run(tmp_path, "none", "lable")
    assert not trained


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"copies": "many"}, "train echo cannot use copies=many"),
        ({"bars": "few"}, "evaluate echo cannot use bars=few"),
        ({"kind": "alone"}, "no evaluator 'alone'"),
    ],
)
def test_mistakes_are_refused_before_training(tmp_path, mistake, message):
    trained.clear()
    with pytest.raises(InputError, match=message):
        run(tmp_path, "none", "vad", **mistake)
    assert not trained


@pytest.mark.parametrize(
    "kind",
    ["music", "talk", "dice", "music-conditioner", "emote-conditioner", "dice-conditioner", "voice-conditioner"],
)
def test_every_conditioned_generator_can_be_ablated(kind):
    for what, names in (("trainer", ["conditioner"]), ("evaluator", ["data", "model"])):
        part = registry.get(what, kind)
        assert all(has_setting(part, name) for name in names)
