"""The manifest: complete, without volatile values or paths."""

import json
from pathlib import Path

import pytest

from gen import checkpoints
from gen.jobs.schema import parse_task
from gen.provenance import identified, manifest, sidecar


def test_sidecar():
    assert sidecar(Path("a/x.mid")) == Path("a/x.mid.json")


@pytest.mark.usefixtures("tone_kind")
def test_manifest(tmp_path):
    checkpoints.digest.cache_clear()
    song, voice = tmp_path / "song.wav", tmp_path / "voice"
    song.write_bytes(b"sound")
    voice.mkdir()
    (voice / "config.json").write_text("{}")
    task = parse_task({"kind": "tone", "seed": 4, "emotion": "sad", "continue": str(song), "voice": "x"})
    facts = manifest(task, 4, "cpu", (str(voice),))
    assert facts == manifest(task, 4, "cpu", (str(voice),)) == json.loads(json.dumps(facts))
    assert facts["ai_generated"] is True and facts["seed"] == 4 and facts["device"] == "cpu"
    assert facts["task"]["before"] == {"sha256": checkpoints.sha256(song)}
    digest = checkpoints.digest(str(voice))
    assert facts["checkpoints"] == {f"voice@{digest[:12]}": digest}
    assert identified("muser-compact") == identified(str(checkpoints.folder("muser-compact"))) == "muser-compact"
    assert str(tmp_path) not in json.dumps(facts)


@pytest.mark.usefixtures("tone_kind")
def test_models_in_folders_of_equal_names_have_different_hashes(tmp_path):
    for run in "ab":
        (tmp_path / run / "checkpoint").mkdir(parents=True)
        (tmp_path / run / "checkpoint" / "config.json").write_text(f'"{run}"')
    names = [str(tmp_path / run / "checkpoint") for run in "ab"]
    found = manifest(parse_task({"kind": "tone"}), 0, "cpu", names)["checkpoints"]
    assert list(found.values()) == [checkpoints.digest(name) for name in names]
