"""What `make demo` renders: every piece of the showcase can be opened, played and traced."""

import json
import re
from pathlib import Path

import pretty_midi
import pytest
import soundfile

from gen.cli import main
from gen.jobs.plan import plan_file
from gen.provenance import sidecar

SHOWCASE = Path(__file__).parent.parent / "examples" / "showcase.yaml"


def test_head_of_the_showcase_names_every_piece():
    head = SHOWCASE.read_text(encoding="utf-8").split("\n\n")[0]
    for item in plan_file(SHOWCASE).items:
        folder, _, name = item.name.rpartition("/")
        assert re.search(rf"\b{folder}\b", head), item.name
        assert name in head or name.removeprefix("angry") in head, item.name


@pytest.mark.slow
def test_showcase_in_short(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = Path("short.yaml")
    short.write_text(re.sub(r"bars: \d+", "bars: 1", SHOWCASE.read_text(encoding="utf-8")))
    assert main(["render", "short.yaml", "--device", "cpu"]) == 0
    names = [item.name for item in plan_file(short).items]
    assert len(names) == 9
    for name in names:
        score, sound = Path("out", f"{name}.mid"), Path("out", f"{name}.wav")
        notes = pretty_midi.PrettyMIDI(str(score)).instruments[0].notes
        samples, rate = soundfile.read(sound)
        assert len(notes) > 1 and abs(samples).max() > 0.05 and len(samples) / rate > notes[-1].end
        for path in (score, sound):
            manifest = json.loads(sidecar(path).read_text(encoding="utf-8"))
            assert manifest["ai_generated"] and "muser-compact" in manifest["checkpoints"]
