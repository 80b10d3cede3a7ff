from pathlib import Path

import pytest

from gen.ablate import ablate
from gen.evaluate.report import Estimate, Report
from gen.registry import UnknownName, register

trained: list[tuple[str, float]] = []


@register("trainer", "echo")
def train(data: Path, out: Path, minutes: float, settings: dict[str, str]) -> None:
    trained.append((settings["conditioner"], minutes))
    (out / "checkpoint").mkdir(parents=True)
    (out / "checkpoint" / "name").write_text(settings["conditioner"] * int(settings["copies"]))


@register("evaluator", "echo")
def evaluate(out: Path, settings: dict[str, str]) -> None:
    size = len((Path(settings["model"]) / "name").read_text())
    report = Report("echo", f"{settings['bars']} bars")
    report.section("Promises")
    rows = [["letters", Estimate(float(size), 0.0, 99.0)], ["bars", settings["bars"]]]
    report.table("Promises", ["what", "measured"], rows)
    report.write(out)


def run(out: Path, *names: str) -> str:
    return ablate("echo", names, Path("data"), out, 2.0, {"copies": "2"}, {"bars": "8"}).read_text()


def test_every_conditioner_is_trained_alike_and_stands_in_one_table(tmp_path):
    trained.clear()
    table = run(tmp_path, "label", "vad")
    assert trained == [("label", 2.0), ("vad", 2.0)]
    assert "| letters | 10 | 6 |" in table
    assert "| bars | 8 | 8 |" in table


def test_what_is_finished_is_not_done_again(tmp_path):
    run(tmp_path, "label")
    trained.clear()
    table = run(tmp_path, "label", "none")
    assert trained == [("none", 2.0)]
    assert "| letters | 10 | 8 |" in table


def test_an_unknown_conditioner_stops_it_before_any_training(tmp_path):
    trained.clear()
    with pytest.raises(UnknownName, match="label"):
        run(tmp_path, "none", "lable")
    assert not trained
