"""The runner: cache, resume, failures, retries, twins, graph, workers, shards."""

import json
import os
import subprocess
from io import StringIO
from pathlib import Path

import pytest
import soundfile
from tone import Tone, ToneGenerator

from gen.cli import main
from gen.errors import InputError, RenderError
from gen.jobs import executors
from gen.jobs import run as runner
from gen.jobs.cache import Cache
from gen.jobs.plan import plan_file, plan_tasks
from gen.jobs.run import run
from gen.jobs.schema import parse_task
from gen.media import read_audio
from gen.provenance import sidecar

pytestmark = pytest.mark.usefixtures("tone_kind")


class Show:
    """A job file, its output folder and its events."""

    def __init__(self, folder: Path):
        self.folder, self.out, self.cache, self.events = folder, folder / "out", Cache(folder / "cache"), []

    def render(self, text: str, **options) -> dict[str, str]:
        (self.folder / "show.yaml").write_text(text)
        plan = plan_file(self.folder / "show.yaml")
        shard = options.pop("shard", None)
        plan = plan.shard(*shard) if shard else plan
        self.events = []
        return run(plan, self.out, self.cache, self.events.append, device="cpu", **options)

    def files(self) -> list[str]:
        return sorted(p.relative_to(self.out).as_posix() for p in self.out.rglob("*") if p.is_file())


@pytest.fixture
def show(tmp_path):
    runner.generator.cache_clear()
    return Show(tmp_path)


def test_a_second_run_uses_the_cache(show):
    text = "jobs: [{id: a, kind: tone, count: 2}, {id: b, kind: tone, emotion: happy @ 1.5}]"
    assert show.render(text) == {"a": "rendered", "b": "rendered"}
    assert show.files() == ["a/1.wav", "a/1.wav.json", "a/2.wav", "a/2.wav.json", "b.wav", "b.wav.json"]
    before = {name: (show.out / name).stat().st_mtime_ns for name in show.files()}
    assert show.render(text) == {"a": "cached", "b": "cached"}
    assert before == {name: (show.out / name).stat().st_mtime_ns for name in show.files()}
    assert not list((show.cache.root / "drafts").iterdir())


def test_manifest_is_embedded_and_beside(show):
    show.render("jobs: [{id: a, kind: tone, seed: 7}]")
    manifest = json.loads(sidecar(show.out / "a.wav").read_text())
    assert manifest["ai_generated"] is True and manifest["seed"] == 7 and manifest["device"] == "cpu"
    assert json.loads(soundfile.SoundFile(show.out / "a.wav").comment) == manifest


def test_progress_is_reported(show):
    show.render("jobs: [{id: a, kind: tone, count: 2}]")
    assert [(event.state, event.fraction, event.message) for event in show.events] == [
        ("progress", 0.5, "piece 1"),
        ("progress", 1.0, "piece 2"),
        ("rendered", 1.0, ""),
    ]


def test_output_of_one_job_is_input_of_another(show):
    states = show.render(
        "jobs:\n- {id: b, kind: tone, continue: {job: a}, seconds: 0.2}\n- {id: a, kind: tone, seconds: 0.1}\n"
    )
    assert [event.id for event in show.events if event.state == "rendered"] == ["a", "b"]
    assert states == {"a": "rendered", "b": "rendered"}
    assert len(read_audio(show.out / "b.wav")[0]) == 3 * len(read_audio(show.out / "a.wav")[0])


def test_a_changed_job_and_its_dependents_render_again(show):
    text = "jobs:\n- {id: a, kind: tone, seed: 1}\n- {id: b, kind: tone, continue: {job: a}}\n- {id: c, kind: tone}\n"
    show.render(text)
    assert show.render(text.replace("seed: 1", "seed: 2")) == {"a": "rendered", "b": "rendered", "c": "cached"}


def test_one_failing_item_does_not_affect_others(show):
    text = "\n".join(
        [
            "jobs:",
            "- {id: bad, kind: tone, fault: raise}",
            "- {id: after, kind: tone, continue: {job: bad}}",
            "- {id: last, kind: tone, continue: {job: after}}",
            "- {id: empty, kind: tone, seconds: 0.00001}",
            "- {id: hint, kind: tone, fault: mistake}",
            "- {id: good, kind: tone}",
        ]
    )
    states = show.render(text)
    assert states == {
        "bad": "failed",
        "after": "blocked",
        "last": "blocked",
        "empty": "failed",
        "hint": "failed",
        "good": "rendered",
    }
    error = json.loads((show.out / "bad.error.json").read_text())
    assert error["error"] == "ZeroDivisionError: the oscillator is upset" and "misbehave" in error["details"]
    assert json.loads((show.out / "after.error.json").read_text())["error"] == "needs bad, which failed"
    assert json.loads((show.out / "hint.error.json").read_text())["error"] == "turn the oscillator on"
    assert "length is zero" in json.loads((show.out / "empty.error.json").read_text())["error"]
    assert not list((show.cache.root / "drafts").glob("*/*"))
    show.render(text.replace("fault: raise", "fault: none"))
    assert show.files()[:2] == ["after.wav", "after.wav.json"] and "bad.error.json" not in show.files()


@pytest.mark.parametrize("fault", ["once", "memory"])
def test_transient_failures_are_retried_once(show, fault):
    assert show.render(f"jobs: [{{id: a, kind: tone, fault: {fault}}}]") == {"a": "rendered"}


def test_equal_items_render_once_and_appear_under_each_name(show):
    states = show.render("jobs: [{id: a, kind: tone}, {id: b, kind: tone}]")
    assert states == {"a": "rendered", "b": "cached"} and show.files()[::2] == ["a.wav", "b.wav"]
    states = show.render("jobs: [{id: c, kind: tone, fault: raise}, {id: d, kind: tone, fault: raise}]")
    assert states == {"c": "failed", "d": "failed"}
    errors = [json.loads((show.out / f"{name}.error.json").read_text()) for name in "cd"]
    assert errors[0]["error"] == errors[1]["error"] == "ZeroDivisionError: the oscillator is upset"


def test_a_long_chain_whose_first_fails(show):
    chain = "".join(f"- {{id: j{n}, kind: tone, continue: {{job: j{n - 1}}}}}\n" for n in range(1, 1100))
    states = show.render(f"jobs:\n- {{id: j0, kind: tone, fault: raise}}\n{chain}")
    assert states.pop("j0") == "failed" and set(states.values()) == {"blocked"} and len(states) == 1099
    assert json.loads((show.out / "j1099.error.json").read_text())["error"] == "needs j1098, which failed"


def test_items_of_one_model_load_it_once(show, tmp_path):
    for name in ("v0", "v1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    jobs = ", ".join(f"{{id: j{n}, kind: tone, seed: {n}, voice: {tmp_path}/v{n % 2}}}" for n in range(8))
    ToneGenerator.loaded = 0
    show.render(f"jobs: [{jobs}]")
    assert ToneGenerator.loaded == 2


def test_shards_render_everything_and_their_dependencies(show):
    text = (
        "jobs:\n- {id: a, kind: tone, matrix: {seed: [1, 2, 3, 4]}}\n"
        "- {id: b, kind: tone, matrix: {seed: [1, 2, 3, 4]}, continue: {job: a}}\n"
    )
    found: dict[str, str] = {}
    for part in (1, 2, 3):
        share = show.render(text, shard=(part, 3))
        assert not share.keys() & found.keys()
        found |= share
    assert len(found) == 8 and len(show.files()) == 16


def test_altered_output_is_restored(show):
    text = "jobs: [{id: a, kind: tone}]"
    show.render(text)
    good = (show.out / "a.wav").read_bytes()
    (show.out / "a.wav").write_bytes(b"cut")
    show.render(text)
    assert (show.out / "a.wav").read_bytes() == good


def test_old_drafts_are_deleted(show):
    old = show.cache.root / "drafts" / "old"
    old.mkdir(parents=True)
    os.utime(old, (1, 1))
    (show.cache.root / "drafts" / "new").mkdir()
    show.render("jobs: [{id: a, kind: tone}]")
    assert [path.name for path in (show.cache.root / "drafts").iterdir() if path.is_dir()] == ["new"]


def test_tasks_from_python(show):
    plan = plan_tasks({"one": parse_task({"kind": "tone"}), "two": parse_task({"kind": "tone", "seed": 1})})
    assert run(plan, show.out, show.cache, show.events.append, device="cpu") == {"one": "rendered", "two": "rendered"}


def test_a_generator_without_files_is_an_error(show, monkeypatch):
    monkeypatch.setattr(ToneGenerator, "render", lambda *args: [])
    assert show.render("jobs: [{id: a, kind: tone}]") == {"a": "failed"}
    assert "wrote no file" in show.events[-1].message


def test_an_earlier_result_is_replaced_with_a_note(show):
    text = "jobs: [{id: a, kind: tone, seed: 1}]"
    show.render(text)
    old = (show.out / "a.wav").read_bytes()
    assert show.render(text.replace("1", "2")) == {"a": "rendered"} and (show.out / "a.wav").read_bytes() != old
    assert "replaced" in next(event.message for event in show.events if event.state == "note")
    show.render(text.replace("1", "2"))
    assert not [event for event in show.events if event.state == "note"]


def test_foreign_files_are_kept(show):
    show.out.mkdir()
    (show.out / "a.wav").write_bytes(b"a recording of my grandmother")
    text = "jobs: [{id: a, kind: tone}, {id: b, kind: tone, continue: {job: a}}]"
    assert show.render(text) == {"a": "failed", "b": "rendered"}
    assert (show.out / "a.wav").read_bytes() == b"a recording of my grandmother"
    assert "--overwrite" in json.loads((show.out / "a.error.json").read_text())["error"]
    assert show.render(text, clash="overwrite") == {"a": "cached", "b": "cached"}
    assert len(read_audio(show.out / "a.wav")[0]) == 400 and not (show.out / "a.error.json").exists()


@pytest.mark.parametrize("option", ["out", "cache"])
def test_an_unwritable_folder_is_refused_before_rendering(show, option):
    (show.folder / "file").write_text("no folder")
    if option == "out":
        show.out = show.folder / "file" / "x"
    else:
        show.cache = Cache(show.folder / "file")
    with pytest.raises(InputError, match=f"is not writable .*: choose another --{option}"):
        show.render("jobs: [{id: a, kind: tone}]")
    assert show.events == []


def test_an_unwritable_key_is_refused_before_rendering(show, monkeypatch):
    pytest.importorskip("c2pa")
    monkeypatch.delenv("AFFEKT_SIGNING")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nohome")
    with pytest.raises(InputError, match="set AFFEKT_SIGNING"):
        show.render("jobs: [{id: a, kind: tone}]")
    assert show.events == []


def test_on_clash_number_keeps_both(show):
    text = "jobs: [{id: a, kind: tone, seed: 1, count: 1}]"
    for seed in (1, 2, 2, 1, 3):
        show.render(text.replace("seed: 1", f"seed: {seed}"), clash="number")
    sounds = [name for name in show.files() if name.endswith(".wav")]
    assert sounds == ["a-2.wav", "a-3.wav", "a.wav"]
    show.render(text.replace("count: 1", "count: 2"), clash="number")
    show.render(text.replace("count: 1", "count: 2, frequency: 220"), clash="number")
    assert {"a/1.wav", "a/2.wav", "a-2/1.wav", "a-2/2.wav"} < {*show.files()}


def test_existing_results_are_skipped(show):
    show.out.mkdir()
    (show.out / "a.wav").write_bytes(b"something")
    text = "jobs: [{id: a, kind: tone}, {id: b, kind: tone, continue: {job: a}}, {id: c, kind: tone, seed: 2}]"
    assert show.render(text, clash="skip") == {"a": "skipped", "b": "rendered", "c": "rendered"}
    assert (show.out / "a.wav").read_bytes() == b"something" and len(read_audio(show.out / "b.wav")[0]) == 800
    assert set(show.render(text, clash="skip").values()) == {"skipped"}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which only root may")
@pytest.mark.parametrize("full", ["out", "cache"])
def test_a_full_disk_leaves_no_partial_files_and_is_named(show, full, monkeypatch):
    small = show.folder / full
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        text = "jobs: [{id: a, kind: tone, seconds: 10}, {id: b, kind: tone, seconds: 10, seed: 2}]"
        (show.folder / "show.yaml").write_text(text)
        monkeypatch.chdir(show.folder)
        out = StringIO()
        monkeypatch.setattr("sys.stderr", out)
        code = main(["render", "show.yaml", "--out", "out", "--cache", "cache", "--device", "cpu"])
        if full == "out":
            assert code == 1 and out.getvalue().splitlines()[-1] == "affekt: out: No space left on device"
        else:
            error = json.loads((show.out / "b.error.json").read_text())["error"]
            assert code == 4 and error == f"the disk of {show.cache.root} is full: free space, or give another --cache"
        assert not [path for path in small.rglob(".*")] and not [*show.cache.root.glob("drafts/*/*")]
        assert all(path.stat().st_size > 100_000 for path in small.rglob("*.wav"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.slow
def test_workers_give_the_same_bytes_as_one_process(show, tmp_path):
    text = (
        "jobs:\n- {id: a, kind: tone, matrix: {seed: [1, 2, 3, 4, 5]}}\n"
        "- {id: b, kind: tone, matrix: {seed: [1, 2, 3]}, continue: {job: a}}\n- {id: bad, kind: tone, fault: raise}\n"
    )
    show.render(text)
    alone = {name: (show.out / name).read_bytes() for name in show.files() if "error" not in name}
    other = Show(tmp_path / "other")
    other.folder.mkdir()
    states = other.render(text, workers=2)
    assert states.pop("bad") == "failed" and set(states.values()) == {"rendered"}
    assert alone == {name: (other.out / name).read_bytes() for name in other.files() if "error" not in name}


@pytest.mark.slow
def test_killed_workers_are_replaced(show):
    others = "- {id: a, kind: tone, matrix: {seed: [1, 2, 3, 4]}}\n"
    shy = "- {id: shy, kind: tone, seed: 5, fault: die once}\n"
    assert set(show.render(f"jobs:\n{others}{shy}", workers=2).values()) == {"rendered"}
    dies = "- {id: dies, kind: tone, seed: 6, fault: die}\n- {id: after, kind: tone, continue: {job: dies}}\n"
    states = show.render(f"jobs:\n{dies}{others.replace('1,', '7, 8, 9,')}", workers=2)
    assert states.pop("dies") == "failed" and states.pop("after") == "blocked"
    assert set(states.values()) == {"cached", "rendered"} and len(states) == 6
    assert "worker died twice" in json.loads((show.out / "dies.error.json").read_text())["error"]


def test_missing_ray_is_an_error(show, monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"affekt\[ray\]"):
        show.render("jobs: [{id: a, kind: tone}]", on="ray")


@pytest.mark.slow
def test_ray_cluster(show):
    pytest.importorskip("ray")
    text = "jobs:\n- {id: a, kind: tone, matrix: {seed: [1, 2]}}\n- {id: b, kind: tone, continue: {job: a, seed: 2}}\n"
    states = show.render(f"{text}- {{id: bad, kind: tone, fault: raise}}\n", on="ray", workers=2)
    assert states == {"a.1": "rendered", "a.2": "rendered", "b": "rendered", "bad": "failed"}


def test_one_task_is_rendered_from_python(show):
    files = runner.files_of(Tone(seed=3), root=show.cache.root)
    before = files[0].stat().st_mtime_ns
    assert files == [files[0], sidecar(files[0])] and files[0].suffix == ".wav"
    assert runner.files_of(Tone(seed=3), root=show.cache.root) == files and files[0].stat().st_mtime_ns == before
    with pytest.raises(RenderError):
        runner.files_of(Tone(fault="raise"), root=show.cache.root)
