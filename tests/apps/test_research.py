"""The strip over intensity: what is asked for is scaled, and nothing else."""

import pytest

pytest.importorskip("gradio")

from apps.studio import research
from gen.errors import InputError
from gen.jobs.schema import parse_task


def strip(task):
    return [*research.over_intensity(task).values()]


def test_what_a_recording_has_already_is_not_scaled(tmp_path):
    task = parse_task({"kind": "voice", "source": str(tmp_path / "a.wav"), "emotion": "happy", "spoken": "sad @ 0.8"})
    made = strip(task)
    assert [one.emotion.keyframes[0].emotion.intensity for one in made] == list(research.STEPS)
    assert {str(one.spoken) for one in made} == {"sad @ 0.8"}


def test_the_emotion_of_a_file_is_read_and_scaled(tmp_path):
    (tmp_path / "letter.txt").write_text("How happy we are!")
    task = parse_task({"kind": "music", "emotion": {"from": str(tmp_path / "letter.txt")}})
    made = strip(task)
    keys = [one.emotion.keyframes[0].emotion for one in made]
    assert [key.intensity for key in keys] == list(research.STEPS) and {key.mix for key in keys} == {(("happy", 1.0),)}


def test_a_strip_needs_an_emotion(tmp_path):
    task = parse_task({"kind": "voice", "source": str(tmp_path / "a.wav"), "reference": str(tmp_path / "b.wav")})
    with pytest.raises(InputError, match="Say which emotion"):
        research.wanted(task)


def test_what_was_measured_stands_beside_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    told = research.measured("emote-compact")
    assert "speaking: six emotions recognised" in told and "bar &gt;= 0.65" in told
    assert "emote-compact-report.json" in told


def test_fields_of_one_model_are_left_out_for_another(tmp_path):
    task = parse_task({"kind": "talk", "portrait": "a.jpg", "audio": "b.wav", "model": "dice-compact", "steps": 4})
    assert research.unforeign(task, "emote-compact")["steps"] == 0
    assert "steps" not in research.unforeign(task, "dice-compact")
