"""Rendering for the browser: what was noted stands under the result."""

import pytest

pytest.importorskip("gradio")

from apps.rendering import Renderer
from gen.jobs.schema import parse_task


def test_notes_are_shown_with_the_result(tmp_path, tone_kind, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    task = parse_task({"kind": "tone", "remark": "the high notes were left out"})
    for how in ("made in", "from the cache"):
        made = Renderer("cpu").render(task, "session", lambda share, text: None)
        assert how in made.summary and made.summary.endswith("\nthe high notes were left out")
        assert made.manifest["notes"] == ["the high notes were left out"]
