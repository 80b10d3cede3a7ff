"""The contracts of generators and evaluators: kept by the example and by music, each violation detected."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from gen.emotion.spec import EmotionCurve
from gen.evaluate.report import Estimate, Report
from gen.evaluate.run import summary_of
from gen.generator import Bar, check_evaluator, check_generator
from gen.media import write_audio
from gen.registry import get

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "my_generator.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("my_generator", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def beats(example):
    return example.Heartbeat(emotion=EmotionCurve.parse("0: calm, 1: fear"), seconds=1.2)


def test_the_example_keeps_the_contract(example, beats):
    check_generator(example.HeartbeatGenerator, beats)


@pytest.mark.slow
def test_the_example_renders_from_the_command_line(tmp_path):
    command = [sys.executable, str(EXAMPLE), "heartbeat", "--emotion", "fear @ 1.3", "--seconds", "1", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.suffix for path in (tmp_path / "out").iterdir() if path.suffix != ".json"] == [".wav"]


@pytest.mark.slow
def test_music_keeps_the_contract():
    task = get("task", "music")(emotion=EmotionCurve.parse("sad"), bars=2, audio=False)
    check_generator(get("generator", "music"), task)


def broken(example, **parts):
    return type("Broken", (example.HeartbeatGenerator,), parts)


def writing(folder_of=lambda folder: folder, samples=None, facts=lambda manifest: manifest, shares=(1.0,)):
    """A render that violates one property."""

    def render(self, task, folder, manifest, progress):
        for share in shares:
            progress(share, "on the way")
        sound = np.full(800, 0.1, np.float32) if samples is None else samples(task)
        path = folder_of(folder) / "x.wav"
        write_audio(path, sound, 16000, facts(manifest))
        return [path]

    return render


NOISE = np.random.default_rng()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"reading": staticmethod(lambda emotion: "")}, "reading"),
        ({"checkpoints": staticmethod(lambda task: (Path("x"),))}, "not names"),
        ({"render": lambda self, task, folder, manifest, progress: []}, "no file"),
        ({"render": writing(lambda folder: folder.parent)}, "not a file in the given folder"),
        ({"render": writing(facts=lambda manifest: None)}, "has no manifest"),
        ({"render": writing(shares=(0.5, 1.5))}, r"outside 0\.\.1"),
        ({"render": writing(shares=(0.5, 0.2))}, "decreased"),
        ({"render": writing(samples=lambda task: NOISE.normal(size=800).astype(np.float32) / 9)}, "the second time"),
        ({"render": writing()}, "two emotions"),
    ],
)
def test_violations_of_generators_are_named(example, beats, parts, message):
    with pytest.raises(AssertionError, match=message):
        check_generator(broken(example, **parts), beats)


class Settings(NamedTuple):
    size: int = 3


class Ruler:
    """Measures a length."""

    bars = (Bar("length", 0.5, (0.4, 0.6), ">= 0.4", True), Bar("width", 2.0))

    def __init__(self, settings: Settings, out: Path):
        self.settings = settings

    def run(self) -> Report:
        return Report("A ruler", f"{self.settings.size} inches")

    def summary(self) -> list[Bar]:
        return list(self.bars)


class Careless(Ruler):
    def __init__(self, settings: dict[str, str], out: Path):
        self.settings = Settings()


def test_an_evaluator_that_keeps_the_contract():
    assert check_evaluator(Ruler, {"size": "4"}) == list(Ruler.bars)


@pytest.mark.parametrize(
    ("bars", "message"),
    [
        ((), "empty"),
        ((Bar("x", 1.0), Bar("x", 2.0)), "duplicate"),
        ((Bar("x", float("inf")),), "x is inf"),
        ((Bar("x", 1.0, None, ">= 2"),), "met is None"),
        ((Bar("x", 1.0, (2.0, 3.0)),), "outside its interval"),
    ],
)
def test_violations_of_evaluators_are_named(monkeypatch, bars, message):
    monkeypatch.setattr(Ruler, "bars", bars)
    with pytest.raises(AssertionError, match=message):
        check_evaluator(Ruler, {})


def test_an_evaluator_refuses_unknown_settings():
    with pytest.raises(AssertionError, match="not refused"):
        check_evaluator(Careless, {})


def test_bars_of_a_report_come_first_and_are_read_back(tmp_path):
    report = Report("A title", "a lead")
    report.bar("reached", Estimate(0.7, 0.6, 0.8), at_least=0.65)
    report.bar("missed", 2, at_most=1)
    report.bar("stated", np.float32(3))
    report.section("Numbers")
    report.write(tmp_path)
    assert summary_of(tmp_path) == report.bars
    assert [(bar.bar, bar.met) for bar in report.bars] == [(">= 0.65", True), ("<= 1", False), ("", None)]
    page = (tmp_path / "report.html").read_text()
    assert page.index("reached") < page.index("Numbers") and '<span class="missed">missed</span>' in page
    assert json.loads((tmp_path / "report.json").read_text())["bars"][0]["interval"] == [0.6, 0.8]
