"""A voice or a piece of music drives another generator's emotion, end to end with the shipped weights."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
import symusic

from gen import checkpoints
from gen.cli import main
from gen.emotion import lexicon
from gen.jobs.plan import plan_tasks
from gen.jobs.schema import parse_task
from gen.media import read_midi, write_audio, write_midi

RATE = 16_000
ROOT = Path(__file__).parent.parent


@pytest.fixture
def heard(tmp_path):
    """A modulated buzz and a tune in a folder."""
    t = np.arange(2 * RATE) / RATE
    wave = 0.2 * np.sign(np.sin(2 * np.pi * (170 * t + 3 * np.sin(5 * t)))) * np.sin(2 * np.pi * t) ** 2
    write_audio(tmp_path / "voice.wav", wave.astype(np.float32)[None], RATE)
    score = symusic.Score(480)
    score.tracks.append(symusic.Track(program=0))
    for i in range(64):
        score.tracks[0].notes.append(symusic.Note(i * 240, 240, 60 + (0, 4, 7, 12)[i % 4], 80))
    write_midi(tmp_path / "tune.mid", score)
    return tmp_path


@pytest.mark.slow
def test_a_voice_and_a_tune_drive_music(heard):
    (heard / "jobs.yaml").write_text(
        textwrap.dedent("""
        defaults: {kind: music, bars: 1, candidates: 1, audio: false}
        jobs:
          - {id: voiced, emotion: {from: voice.wav}}
          - {id: tuned, emotion: {from: tune.mid}}
          - {id: along, emotion: {from: voice.wav, follow: true}}
    """)
    )
    assert main(["render", str(heard / "jobs.yaml"), "--out", str(heard / "out"), "--json"]) == 0
    for name, source in (("voiced", "voice.wav"), ("tuned", "tune.mid"), ("along", "voice.wav")):
        (written,) = (heard / "out").rglob(f"{name}*.mid")
        assert any(track.notes for track in read_midi(written).tracks)
        recorded = json.loads(written.with_name(written.name + ".json").read_text())["task"]["emotion"]["source"]
        assert recorded == {"sha256": checkpoints.sha256(heard / source)}


@pytest.mark.slow
def test_a_tune_drives_a_voice(heard, capsys):
    line, out = str(ROOT / "examples" / "line.opus"), heard / "driven.wav"
    tune = f"from: {heard / 'tune.mid'}"
    assert main(["voice", line, "--emotion", tune, "--candidates", "1", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["perceive", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "voice"


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFEKT_EMOTIONS", str(tmp_path / "emotions"))
    lexicon.terms.cache_clear()
    yield
    lexicon.terms.cache_clear()


@pytest.mark.usefixtures("own_folder")
def test_a_user_defined_emotion_works_in_every_domain(heard):
    assert main(["emotion", "make", "tidewise", str(heard / "tune.mid")]) == 0
    line, face = str(ROOT / "examples" / "line.opus"), str(ROOT / "examples" / "grace_hopper.jpg")
    given = {"music": {}, "voice": {"source": line}, "talk": {"portrait": face, "audio": line}}
    tasks = {k: parse_task({"kind": k, "emotion": "tidewise @ 1.2"} | rest) for k, rest in given.items()}
    assert len(plan_tasks(tasks).items) == 3
