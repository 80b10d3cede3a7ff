"""Rendering a file again from its manifest: equal bytes, or the reasons for a difference."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from gen import checkpoints, provenance
from gen.cli import main
from gen.jobs import again
from gen.media import write_audio, write_video
from gen.provenance import sidecar

SHOW = """
jobs:
  - {id: a, kind: tone, seconds: 2.5, seed: 5, emotion: "0: sad, 2: happy @ 1.3", continue: song.wav}
  - {id: b, kind: tone, continue: {job: a}, remark: "the high notes were left out", soft: true}
  - {id: c, kind: tone, remark: "read: grue is not understood", count: 2}
"""


@pytest.fixture
def affekt(tmp_path, tone_kind, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_audio(tmp_path / "in" / "song.wav", np.full(4000, 0.1, np.float32), 8000)
    (tmp_path / "in" / "show.yaml").write_text(SHOW)
    assert main(["render", "in/show.yaml", "--device", "cpu"]) == 0

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        output = capsys.readouterr()
        return code, output.out.strip(), output.err

    return call


@pytest.mark.parametrize("name", ["a.wav", "b.wav", "c/2.wav"])
@pytest.mark.parametrize("beside", [True, False])
def test_rendering_again_gives_the_same_bytes(affekt, tmp_path, name, beside):
    if not beside:
        sidecar(tmp_path / "out" / name).unlink()
    code, out, _ = affekt("render", f"out/{name}", "--out", "new")
    assert code == 0 and out.endswith(f"identical to out/{name}")
    code, out, _ = affekt("render", f"out/{name}", "--json")
    assert code == 0 and json.loads(out.splitlines()[-1]) == {"event": "compared", "same": True, "changed": []}


def test_cache_is_not_used_and_nothing_is_replaced(affekt, tmp_path):
    before = (tmp_path / "out" / "a.wav").stat().st_mtime_ns
    code, out, _ = affekt("render", "out/a.wav")
    assert code == 0 and "out/a-2.wav: identical" in out
    assert (tmp_path / "out" / "a.wav").stat().st_mtime_ns == before


def test_inputs_are_found_by_hash(affekt, tmp_path):
    (tmp_path / "far").mkdir()
    shutil.move(tmp_path / "in" / "song.wav", tmp_path / "in" / "other name.wav")
    assert affekt("render", "out/a.wav")[0] == 0
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    shutil.move(tmp_path / "in", elsewhere)
    code, _, err = affekt("render", "out/a.wav")
    assert code == 2 and "its before, a file whose sha256 begins with" in err and "--inputs" in err
    assert affekt("render", "out/a.wav", "--inputs", str(elsewhere))[0] == 0


def test_what_changed_is_reported(affekt, tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "code", lambda kind: "f" * 16)
    monkeypatch.setattr(again, "code", lambda kind: "f" * 16)
    code, out, _ = affekt("render", "out/a.wav")
    assert code == 0 and out.splitlines()[-1] == (
        "out/a-2.wav differs from out/a.wav in bytes: the program's code has changed"
    )


def test_changed_weights_are_reported(affekt, tmp_path):
    voice = tmp_path / "voice"
    voice.mkdir()
    (voice / "config.json").write_text("1")
    (tmp_path / "v.yaml").write_text(f"jobs: [{{id: v, kind: tone, voice: {voice}}}]")
    assert affekt("render", "v.yaml", "--device", "cpu")[0] == 0
    (voice / "config.json").write_text("22")
    checkpoints.digest.cache_clear()
    _, out, _ = affekt("render", "out/v.wav")
    assert "the weights voice@" in out and "are no longer used" in out and "were not used then" in out


def test_an_altered_and_a_foreign_file(affekt, tmp_path):
    path = tmp_path / "out" / "a.wav"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    assert "nothing in its manifest" in affekt("render", "out/a.wav")[1]
    soundfile.write(tmp_path / "x.wav", np.zeros(100), 8000)
    code, _, err = affekt("render", "x.wav")
    assert code == 2 and "has no Affekt manifest" in err


def test_same_content_ignores_metadata(tmp_path):
    frames = [np.full((64, 64, 3), 9 * i, np.uint8) for i in range(5)]
    facts = {"ai_generated": True, "n": 1}
    for name, change in (("a", 0), ("b", 0), ("c", 9)):
        write_video(tmp_path / f"{name}.mp4", [frame + change for frame in frames], 25, manifest=facts)
        write_audio(tmp_path / f"{name}.wav", np.full(800, change / 10, np.float32), 8000, facts)
    for end in ("mp4", "wav"):
        a, b, c = (tmp_path / f"{name}.{end}" for name in "abc")
        assert again.same_content(a, b) and not again.same_content(a, c)


def test_a_signature_differs_each_time(affekt, tmp_path, monkeypatch):
    pytest.importorskip("c2pa")
    monkeypatch.setenv("AFFEKT_SIGNING", str(tmp_path / "keys"))
    assert affekt("tone", "--seed", "9", "--seconds", "2", "--device", "cpu", "--out", "x.wav")[0] == 0
    assert "differs from x.wav only in bytes: the signature" in affekt("render", "x.wav")[1]
