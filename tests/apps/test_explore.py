"""The strip over intensity: what is asked for is scaled, and nothing else."""

import pytest

from apps import explore
from apps.rendering import Result
from gen.errors import InputError
from gen.jobs.schema import parse_task


class Kept:
    """A renderer that keeps the tasks it is given."""

    def __init__(self):
        self.tasks = []

    def render(self, task, session, tell):
        self.tasks.append(task)
        return Result([], {}, "")


class Asked:
    """A request of a browser, and a tab whose form holds one task."""

    session_hash = "one"

    def __init__(self, task):
        self.form = self
        self.task = lambda emotion, values: task


@pytest.fixture
def strip(monkeypatch):
    monkeypatch.setattr(explore, "figures", lambda made: "")

    def run(task):
        kept, asked = Kept(), Asked(task)
        explore._strip(kept, asked)("", request=asked, progress=lambda *args, **more: None)
        return kept.tasks

    return run


def test_what_a_recording_has_already_is_not_scaled(strip, tmp_path):
    task = parse_task({"kind": "voice", "source": str(tmp_path / "a.wav"), "emotion": "happy", "spoken": "sad @ 0.8"})
    made = strip(task)
    assert [one.emotion.keyframes[0].emotion.intensity for one in made] == list(explore.STEPS)
    assert {str(one.spoken) for one in made} == {"sad @ 0.8"}


def test_the_emotion_of_a_file_is_read_and_scaled(strip, tmp_path):
    (tmp_path / "letter.txt").write_text("How happy we are!")
    task = parse_task({"kind": "music", "emotion": {"from": str(tmp_path / "letter.txt")}})
    made = strip(task)
    keys = [one.emotion.keyframes[0].emotion for one in made]
    assert [key.intensity for key in keys] == list(explore.STEPS) and {key.mix for key in keys} == {(("happy", 1.0),)}


def test_a_strip_needs_an_emotion(tmp_path):
    task = parse_task({"kind": "voice", "source": str(tmp_path / "a.wav"), "reference": str(tmp_path / "b.wav")})
    with pytest.raises(InputError, match="Say which emotion"):
        explore.wanted(task)
