"""Rendering for the browser: what was noted stands under the result, progress is steady, files have telling names."""

import pytest

pytest.importorskip("gradio")

from apps.studio.work import Renderer, Steady, name
from gen.jobs.schema import parse_task


def test_notes_are_shown_with_the_result(tmp_path, tone_kind, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    task = parse_task({"kind": "tone", "remark": "the high notes were left out"})
    for how in ("Done in", "from the cache"):
        made = Renderer("cpu").render(task, "session", lambda share, text: None)
        assert how in made.summary and made.details.startswith("The high notes were left out\n")
        assert made.manifest["notes"] == ["the high notes were left out"]


def test_progress_never_goes_back():
    seen = []
    steady = Steady(lambda share, text: seen.append((share, text)))
    for share in (0.1, 0.7, 0.58, 0.9):
        steady(share, "drawing")
    assert [share for share, _ in seen] == [0.1, 0.7, 0.7, 0.9]
    assert seen[0][1] == "drawing" and "left" in seen[1][1]


@pytest.mark.parametrize(
    ("task", "called"),
    [
        (
            {"kind": "talk", "portrait": "eileen_collins.jpg", "audio": "b.wav", "emotion": "happy"},
            "eileen_collins-happy",
        ),
        ({"kind": "voice", "source": "my line.wav", "emotion": "sad @ 0.5"}, "my-line-sad-0.5"),
        ({"kind": "scene", "portrait": "me.jpg", "text": "b", "emotion": "0: sad, 2: happy"}, "me-0-sad-2-happy-scene"),
        ({"kind": "music", "emotion": "calm", "seed": 3}, "piano-calm-3"),
    ],
)
def test_files_are_called_after_what_they_are_made_from(task, called):
    assert name(parse_task(task)) == called
