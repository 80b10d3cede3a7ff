"""Anything dropped, reduced or not understood is noted once, and recorded in the manifest of each file."""

import json
import warnings
from contextvars import copy_context
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import soundfile

from gen import registry
from gen.cli import main
from gen.jobs.cache import Cache
from gen.jobs.plan import plan_file, plan_tasks
from gen.jobs.run import run
from gen.jobs.schema import parse_task
from gen.notes import UserNote, collect, note
from gen.provenance import sidecar

SHOW = """
jobs:
  - {id: a, kind: tone, remark: "the high notes were left out"}
  - {id: b, kind: tone, remark: "read: the word 'grue' is not understood", seed: 1}
  - {id: c, kind: tone, remark: "the high notes were left out", seed: 2, count: 2}
  - {id: d, kind: tone, fault: raise, remark: "the high notes were left out"}
"""
LEFT, READ = "the high notes were left out", "read: the word 'grue' is not understood"


def recorded(sound: Path) -> list[str]:
    """The notes of the embedded manifest, which equals the sidecar."""
    inside = json.loads(soundfile.SoundFile(sound).comment)
    assert inside == json.loads(sidecar(sound).read_text())
    return inside["notes"]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_notes_are_shown_and_recorded(tmp_path, tone_kind, workers):
    (tmp_path / "show.yaml").write_text(SHOW)
    plan, cache, out = plan_file(tmp_path / "show.yaml"), Cache(tmp_path / "cache"), tmp_path / "out"
    for _ in range(2):  # rendered, then from the cache
        events = []
        states = run(plan, out, cache, events.append, device="cpu", workers=workers)
        assert states["d"] == "failed"
        said = sorted((event.id, event.message) for event in events if event.state == "note")
        assert said == [("a", LEFT), ("b", READ), ("c", LEFT), ("d", LEFT)]
        ends = {event.id: event.notes for event in events if event.state in ("rendered", "cached")}
        assert ends == {"a": (LEFT,), "b": (READ,), "c": (LEFT,)}
    found = {name: recorded(out / name) for name in ("a.wav", "b.wav", "c/1.wav", "c/2.wav")}
    assert found == {"a.wav": [LEFT], "b.wav": [READ], "c/1.wav": [LEFT], "c/2.wav": [LEFT]}


@pytest.mark.slow
def test_notes_come_from_a_cluster(tmp_path, tone_kind):
    pytest.importorskip("ray")
    task = parse_task({"kind": "tone", "remark": LEFT})
    events = []
    run(plan_tasks({"x": task}), tmp_path / "out", Cache(tmp_path / "c"), events.append, device="cpu", on="ray")
    assert recorded(tmp_path / "out" / "x.wav") == [LEFT] == [*events[-1].notes]


def test_no_name_of_an_input_is_recorded(tmp_path, tone_kind):
    made = []
    for name in ("my wife's voice.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.full(800, 0.1), 8000)
        remark = "{name}: resampled; {before} is long; ab.wav stays"
        task = parse_task({"kind": "tone", "continue": tmp_path / name, "remark": remark})
        run(plan_tasks({"x": task}), tmp_path / name[0], Cache(tmp_path / f"c{name[0]}"), print, device="cpu")
        made.append((tmp_path / name[0] / "x.wav").read_bytes())
        assert recorded(tmp_path / name[0] / "x.wav") == ["continue: resampled; continue is long; ab.wav stays"]
    assert made[0] == made[1]


def test_no_notes_are_recorded_as_an_empty_list(tmp_path, tone_kind):
    run(plan_tasks({"x": parse_task({"kind": "tone"})}), tmp_path, Cache(tmp_path / "c"), print, device="cpu")
    assert recorded(tmp_path / "x.wav") == []


def test_the_command_line_shows_each_note_once(tmp_path, tone_kind, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("show.yaml").write_text(SHOW)
    main(["plan", "show.yaml"])
    assert capsys.readouterr().err == f"affekt: {READ}\n"
    main(["render", "show.yaml", "--device", "cpu"])
    output = capsys.readouterr().err.splitlines()
    noted = [line for line in output if "note" in line or "read:" in line]
    assert noted == [f"affekt: a: {LEFT}", f"affekt: b: {READ}"]
    main(["render", "show.yaml", "--device", "cpu", "--json"])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(e["id"], e["message"]) for e in events if e["event"] == "note"] == [
        ("a", LEFT),
        ("b", READ),
        ("c", LEFT),
        ("d", LEFT),
    ]
    main(["tone", "--remark", READ, "--device", "cpu"])
    assert READ in capsys.readouterr().err


def test_outside_a_collection_a_note_is_a_warning():
    with pytest.warns(UserNote, match="alone"):
        note("alone")


def test_a_collection_reports_new_notes():
    output = []
    with collect(output.append) as notes:
        for sentence in ("one", "two", "one"):
            note(sentence)
        with collect() as inner:
            note("three")
        thread = Thread(target=copy_context().run, args=(note, "four"))
        thread.start()
        thread.join()
    assert output == notes == ["one", "two", "four"] and inner == ["three"]


def test_a_task_keeps_what_was_noted_while_it_was_read(tone_kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = parse_task({"kind": "tone", "remark": READ})
    assert task.notes == (READ,) and task.model_copy(update={"seed": 3}).notes == (READ,)


def test_notes_of_a_part_are_notes_of_the_whole(tmp_path, tone_kind, monkeypatch):
    class Echo(registry.get("task", "tone")):
        kind: str = "echo"

    class EchoGenerator(registry.get("generator", "tone")):
        parts = ("tone",)

        def render(self, task, folder, manifest, progress, make):
            part = parse_task({"kind": "tone", "remark": LEFT, "seed": task.seed})
            longer = task.model_copy(update={"before": make(part, progress)[0]})
            return super().render(longer, folder, manifest, progress)

    monkeypatch.setitem(registry._registered["task"], "echo", Echo)
    monkeypatch.setitem(registry._registered["generator"], "echo", EchoGenerator)
    cache = Cache(tmp_path / "cache")
    for name, seconds in (("x", 0.1), ("y", 0.2)):  # the part is rendered, then cached
        task = parse_task({"kind": "echo", "seconds": seconds, "remark": "and the low ones"})
        events = []
        run(plan_tasks({name: task}), tmp_path / "out", cache, events.append, device="cpu")
        assert recorded(tmp_path / "out" / f"{name}.wav") == [LEFT, "and the low ones"] == [*events[-1].notes]
