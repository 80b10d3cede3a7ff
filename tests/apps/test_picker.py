"""The picker: every gesture gives a curve in the grammar, and what a browser sends is checked like any input."""

import pytest

pytest.importorskip("gradio")

from apps import picker
from apps.form import Form, default, to_yaml
from gen.emotion.spec import CANONICAL, Emotion, EmotionCurve
from gen.errors import InputError

TURN = EmotionCurve.parse("0: sad, 8: happy @ 1.3")


@pytest.fixture
def wire():
    return picker._Wire(picker.Picker(*[None] * 5), "music", "bars", 8.0)


def test_state_comes_back_as_the_curve():
    state = picker.state(TURN, 1, 16)
    assert picker.keyframes(state, "seconds") == TURN
    assert state["selected"] == 1 and len(state["path"]) == 81
    happy = Emotion.parse("happy @ 1.3").scaled()
    assert (state["keys"][1]["v"], state["keys"][1]["a"]) == pytest.approx(happy[:2], abs=1e-3)


def test_gestures(wire):
    plane = picker.state(EmotionCurve.parse("sad"), 0, 8)
    plane["keys"][0]["emotion"] = "v=0.5 a=-0.2"  # a drag
    text, drawn, intensity, _, reading = wire.moved(plane)
    assert text.startswith("v=0.5 a=-0.2") and intensity == 1 and "valence +0.50" in reading
    assert wire.stronger(drawn, 1.4)[0].endswith("@ 1.4")
    assert wire.said(drawn, "wistful")[0] == "wistful"
    weights = [0.5 if name in ("happy", "surprise") else 0.0 for name in CANONICAL]
    assert wire.blended(drawn, *weights)[0] == "happy 0.5 + surprise 0.5"
    text, drawn, *_ = wire.grown(drawn)
    assert drawn["selected"] == 1 and EmotionCurve.parse(text).keyframes[1].at == 8
    text, drawn, _, ease, _ = wire.eased(drawn, "hold")
    assert ease == "hold" and " hold:" in text
    text, drawn, *_ = wire.shrunk(drawn)
    assert len(drawn["keys"]) == 1


def test_while_typing_a_mistake_stands_where_the_reading_was(wire):
    plane = picker.state(TURN, 0, 8)
    *_, reading = wire.typed("hapy", plane)
    assert "wrong" in reading and "nearest" in reading
    assert len(wire.typed("0: happy, 4: sad", plane)[0]["keys"]) == 2


def test_reading_is_the_generator_s_own_and_escaped():
    assert "major" in picker.reading(EmotionCurve.parse("happy"), "music")
    assert "<script>" not in picker.reading(EmotionCurve.parse("happy"), "music")


def test_emotion_of_a_file(wire, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    note, elsewhere = tmp_path / "uploads" / "note.txt", tmp_path / "note.txt"
    note.parent.mkdir()
    for path in (note, elsewhere):
        path.write_text("I am very happy. Then I was sad.")
    text, *_ = wire.heard(str(note), False, picker.state(TURN, 0, 8))
    assert "happy" in text and text.startswith("bar 0")
    text, drawn, *_ = wire.heard(str(note), True, picker.state(TURN, 0, 8))
    assert len(drawn["keys"]) == 2 and text == f"follow: {note}"
    assert wire.settled(text, drawn)[0] == text and len(wire.typed(text, drawn)[0]["keys"]) == 2
    assert not wire.moved(drawn)[0].startswith("follow")  # edited, it is words
    task = Form("music").task(text, [default(place.field) for place in Form("music").places])
    assert task.emotion.source == note and task.emotion.follow
    assert "follow: note.txt" in to_yaml(task, "a")
    for refused in (f"from: {elsewhere}", f"from: {note.parent}/../note.txt", f"from: {note} against {elsewhere}"):
        with pytest.raises(InputError, match="upload it"):
            picker.parse(refused)
    with pytest.raises(InputError, match="upload it"):
        wire.heard(str(elsewhere), False, drawn)


@pytest.mark.parametrize("value", [
    None, 3, "x", {}, {"keys": []}, {"keys": [1]}, {"keys": [{"at": "0", "emotion": "sad", "ease": "hold"}]},
    {"keys": [{"at": 0, "emotion": "from: /etc/passwd", "ease": "hold"}]},
    {"keys": [{"at": float("nan"), "emotion": "sad", "ease": "hold"}]},
    {"keys": [{"at": 0, "emotion": "sad", "ease": "__import__"}]}, {"keys": [{"at": -1, "emotion": "sad"}]},
    {"keys": [{"at": n, "emotion": "sad", "ease": "hold"} for n in range(99)]},
])  # fmt: skip
def test_what_no_picker_sends_is_refused(value):
    with pytest.raises(InputError):
        picker.keyframes(value, "bars")
