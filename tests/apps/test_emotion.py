"""The emotion of the page: a text means what it means everywhere; what a browser sends is checked like any input."""

import pytest

pytest.importorskip("gradio")

from apps.studio import emotion
from apps.studio.form import Form, default, to_yaml
from gen.emotion.spec import Emotion
from gen.errors import InputError


def ask(text, **more):
    return emotion.read({"text": text, "unit": "bars", "span": 16, "kind": "music", **more})


def test_a_text_is_drawn():
    found = ask("0: sad, 8: happy @ 1.3")
    assert [(key["at"], key["emotion"], key["i"]) for key in found["keys"]] == [(0, "sad", 1), (8, "happy", 1.3)]
    happy = Emotion.parse("happy @ 1.3").scaled()
    assert (found["keys"][1]["v"], found["keys"][1]["a"]) == pytest.approx(happy[:2], abs=1e-3)
    assert len(found["path"]) == 81 and found["span"] == 16 and not found["wrong"]
    assert sum(ask("v=0.6 a=-0.3")["keys"][0]["mix"]) == pytest.approx(1, abs=0.01)


def test_a_long_curve_is_thinned():
    text = ", ".join(f"{n}: {'sad' if n % 2 else 'happy'}" for n in range(99))
    assert len(ask(text)["keys"]) == emotion.MOST_KEYS


def test_reading_is_the_generator_s_own_and_escaped():
    assert "major" in ask("happy")["reading"]
    assert "<script>" not in ask('"I am <script>alert(1)</script> happy"').get("reading", "")


def test_emotion_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    note, elsewhere = tmp_path / "uploads" / "note.txt", tmp_path / "note.txt"
    note.parent.mkdir()
    for path in (note, elsewhere):
        path.write_text("I am very happy. Then I was sad.")
    files = {"note.txt": str(note)}
    assert "happy" in ask("from: note.txt", files=files)["keys"][0]["emotion"]
    value = ask("follow: note.txt", files=files) | {"files": files}
    assert len(value["keys"]) == 2 and value["text"] == "follow: note.txt"
    task = Form("music").task(emotion.asked(value), [default(place.field) for place in Form("music").places])
    assert task.emotion.source == note and task.emotion.follow
    assert "follow: note.txt" in to_yaml(task, "a")
    for refused in (f"from: {elsewhere}", f"from: {note.parent}/../note.txt", f"from: {note} against {elsewhere}"):
        with pytest.raises(InputError, match="upload it"):
            emotion.parse(refused)
    assert "upload the file" in ask("from: note.txt", files={"note.txt": str(elsewhere)})["wrong"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "x",
        {},
        {"text": None},
        {"text": "happy", "span": "long"},
        {"text": "happy", "files": 3},
        {"text": "from: /etc/passwd"},
        {"text": "happy", "files": {"a": "/etc/passwd"}},
        {"text": "happy " * 5000},
        {"text": "__import__('os')"},
    ],
)
def test_what_no_panel_sends_is_refused(value):
    found = emotion.read(value)
    assert found.keys() == {"wrong"} and found["wrong"].endswith((".", "?")) and "/etc" not in found["wrong"]
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        with pytest.raises(InputError, match="emotion"):
            emotion.asked(value)
