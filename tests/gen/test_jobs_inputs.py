"""Input files of a command: files, folders, patterns; which field they go to."""

from argparse import Namespace
from pathlib import Path

import pytest

from gen import cli
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


def test_files_of_one_name_in_two_folders_both_stay(tmp_path, monkeypatch):
    planned = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.wav").touch()
    monkeypatch.setattr("gen.jobs.schema.task_class", lambda kind: Sound)
    monkeypatch.setattr("gen.jobs.plan.plan_tasks", planned.append)
    monkeypatch.setattr(cli, "_run", lambda plan, options: None)
    files = [str(tmp_path / folder / "x.wav") for folder in ("a", "b")]
    options = Namespace(kind="sound", source=files, out=Path("out"))
    cli._render_one(options)
    assert list(planned[0]) == ["sound-x", "sound-x~2"]
    assert [task.source.parent.name for task in planned[0].values()] == ["a", "b"]
