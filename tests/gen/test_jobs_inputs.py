"""Input files of a command: files, folders, patterns; which field they go to."""

from pathlib import Path

import pytest

from gen.errors import InputError
from gen.jobs.inputs import inputs, positional
from gen.jobs.schema import Task


class Sound(Task):
    kind: str = "sound"
    source: Path
    other: Path | None = None


def test_files_that_there_is_no_task_without_need_no_option():
    assert positional(Sound) == ["source"]
    assert positional(Task) == []


def test_files_folders_and_patterns(tmp_path):
    for name in ("b.wav", "a.opus", "note.txt", "sub/c.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = inputs([str(tmp_path), str(tmp_path / "sub" / "*.flac"), "else.wav"])
    assert [Path(name).name for name in found] == ["a.opus", "b.wav", "c.flac", "else.wav"]


def test_nothing_found_is_said(tmp_path):
    with pytest.raises(InputError, match="no sound"):
        inputs([str(tmp_path)])
