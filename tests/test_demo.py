"""The results of `make demo`: a short showcase whose files open, play and have manifests."""

import json
import re
import shutil
from pathlib import Path

import pretty_midi
import pytest
import soundfile

from gen import media
from gen.cli import main
from gen.jobs.plan import plan_file
from gen.provenance import sidecar

EXAMPLES = Path(__file__).parent.parent / "examples"
SHOWCASE = EXAMPLES / "showcase.yaml"
FIRST = {"scene": "mp4", "face": "mp4", "voice": "wav", "piano": "wav"}


def test_head_of_the_showcase_names_what_it_makes():
    head = SHOWCASE.read_text(encoding="utf-8").split("\n\n")[0]
    for item in plan_file(SHOWCASE).items:
        folder, _, name = item.name.rpartition("/")
        assert re.search(rf"\b{folder}/", head), item.name
        assert "-" not in name or folder == "scene" or name[-4:] in head, item.name


@pytest.mark.slow
def test_showcase_in_short(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "grace_hopper.jpg", "grace_hopper.jpg")
    samples, rate = media.read_audio(EXAMPLES / "line.opus")
    media.write_audio("line.wav", samples[:rate], rate)
    text = SHOWCASE.read_text(encoding="utf-8").replace("line.opus", "line.wav").replace("size: 384", "size: 256")
    text = re.sub(r"emotion: \[.*\]", "emotion: [happy, anger @ 0.5]", re.sub(r"bars: \d+", "bars: 1", text))
    Path("short.yaml").write_text(text, encoding="utf-8")
    assert main(["render", "short.yaml", "--device", "cpu"]) == 0
    names = [item.name for item in plan_file(Path("short.yaml")).items]
    assert len(names) == 7
    for name in names:
        kind = name.partition("/")[0]
        found = Path("out", f"{name}.{FIRST[kind]}")
        manifest = json.loads(sidecar(found).read_text(encoding="utf-8"))
        assert manifest["ai_generated"] and manifest["checkpoints"], name
        heard, rate = media.read_audio(found)
        assert abs(heard).max() > 0.05 and len(heard) > 0.8 * rate
        if kind == "piano":
            notes = pretty_midi.PrettyMIDI(str(found.with_suffix(".mid"))).instruments[0].notes
            assert len(notes) > 1 and soundfile.info(found).duration > notes[-1].end
    assert main(["page", "out"]) == 0
    page = Path("out", "index.html").read_text(encoding="utf-8")
    assert all(f"{name}.{FIRST[name.partition('/')[0]]}" in page for name in names)
