"""Training on a tiny copy of the material: what is held out, that it learns, that it resumes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from faces import PICTURE, basis, expression, speaker, tone, tracker
from footage import FRAMES, write

from gen import checkpoints, media
from gen.emotion.spec import CANONICAL
from gen.evaluate.report import Report
from talking_head.evaluation import films
from talking_head.evaluation.seen import seen
from talking_head.evaluation.talk import closure_rows, exercise, lip_rows, sounds
from talking_head.face.points import coefficients
from talking_head.motion.emote.model import Emote
from talking_head.motion.emote.speaker import EmoteSpeaker
from talking_head.motion.expression import JAW
from talking_head.motion.speech import SpeechEncoder
from talking_head.pipeline import TalkGenerator
from talking_head.training import corpus, lips
from talking_head.training.data import FRAMES as WINDOW
from talking_head.training.data import Windows, echoed, varied
from talking_head.training.emote import HEARD, Measures, Settings, train
from talking_head.training.teacher import Ears, Teacher


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return write(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def clips(material):
    return corpus.build(material, material / "ears")


@pytest.fixture(scope="module")
def trained(material, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    train(material, out, 0.12, Settings(size="tiny", last_layer=4, ears=str(material / "ears")))
    return out


def test_what_is_held_out_is_never_trained_on(clips):
    held = {(c.source, c.name) for c in clips if c.part == "test"}
    assert {"grid", "facegood", "other", "aligned"} == {source for source, _ in held}
    assert ("facegood", "1114_3_15") in held and ("aligned", "af_nova.opus") in held
    assert not [c for c in clips if c.source == "other" and c.part == "train"]
    assert "other" not in HEARD and "facegood" not in HEARD  # so FACEGOOD is a speaker that lips are not learnt from
    paced = {c.name.split(" x")[0] for c in clips if c.source == "paced"}
    assert paced and not paced & {name for source, name in held if source == "grid"}


def test_people_of_acted_speech_are_held_out(tmp_path):
    place = tmp_path / "speech" / "emotional" / "emodb"
    place.mkdir(parents=True)
    for name in ("12a01Fa", "14a01Fa"):
        media.write_audio(place / f"{name}.flac", tone(0.2), 16_000)
        (place / f"{name}.flac").rename(place / f"{name}.opus")
    assert [clip.part for clip in corpus.voices(tmp_path, corpus.still)] == ["test", "train"]


def test_a_teacher_gives_other_voices_the_lips_that_it_learnt(material):
    speech = [tone(2.0) * np.repeat(np.random.default_rng(i).random(50), 640).astype(np.float32) for i in range(4)]
    jaw = lambda samples: np.outer(np.abs(samples).reshape(50, 640).mean(1), coefficients({"jawOpen": 1.0}))
    teacher = Teacher(Ears(material / "ears"), ((samples, jaw(samples)) for samples in speech[:3]))
    made = teacher(speech[3], 50)
    assert made.shape == (50, 52) and lips.correlation(made[:, JAW], jaw(speech[3])[:, JAW]) > 0.6
    assert teacher(tone(0.1), 4).shape == (4, 52)


def test_rows_survive_being_kept(clips, tmp_path):
    corpus.save(clips, tmp_path / "f.npz")
    again = corpus.load(tmp_path / "f.npz")
    assert [c.name for c in again] == [c.name for c in clips]
    assert all(
        np.allclose(a.motion, b.motion, atol=1e-3) and a.rows.shape == b.rows.shape for a, b in zip(again, clips)
    )


def test_windows_have_what_they_promise(clips):
    speech = SpeechEncoder(dim=8, layers=1)
    batch = Windows([c for c in clips if c.part == "train"], speech, HEARD, 0).batch()
    assert batch.rows.shape == (16, 4 * WINDOW, 80) and batch.motion.shape == (16, WINDOW, 52)
    assert batch.visemes.shape == (5, WINDOW, 15) and torch.isfinite(batch.rows).all()
    assert FRAMES < WINDOW
    rows = np.full((40, 80), -5.0)
    assert varied(rows, np.random.default_rng(0)).shape == rows.shape


def test_an_echo_fills_what_follows_a_sound_and_nothing_else():
    rows = np.full((60, 80), -9.0)
    rows[20:24] = -3.0
    made = echoed(rows, 0.1, 3.0)
    assert np.abs(made[:20] - rows[:20]).max() < 0.5 and (made[24:40] > made[25:41]).all() and made[24].min() > -6


def test_measures_are_distances_of_points():
    measures, off = Measures(basis()), torch.from_numpy(coefficients({"jawOpen": 0.2}))[None, None]
    frame, _ = measures.loss(off.expand(1, 4, 52), torch.zeros(1, 4, 52))
    still, _ = measures.loss(off.expand(1, 2, 52), off.expand(1, 2, 52))
    assert frame > 0.05 and still == 0
    assert float(measures.gap(off[0, 0])) == pytest.approx(float(basis().lip_gap(off[0, 0].numpy())), abs=1e-4)


@pytest.mark.slow
def test_training_learns_and_its_checkpoint_speaks(trained):
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert {line["model"] for line in lines} == {"flint", "speech", "emote"}
    parts = [
        checkpoints.load(str(trained / "checkpoint"), cls, part)
        for cls, part in ((SpeechEncoder, "speech"), (Emote, "emote"))
    ]
    assert (trained / "checkpoint" / "flint" / "config.json").exists()
    assert all(torch.isfinite(p).all() for part in parts for p in part.parameters())


@pytest.mark.slow
def test_training_goes_on_where_it_stopped(trained, material):
    before = torch.load(trained / "emote.pt", weights_only=True)["step"]
    train(material, trained, 0.15, Settings(size="tiny", last_layer=4, ears=str(material / "ears")))
    assert torch.load(trained / "emote.pt", weights_only=True)["step"] > before


@pytest.mark.slow
def test_a_checkpoint_learns_on(trained, material, tmp_path):
    begin, ears = str(trained / "checkpoint"), str(material / "ears")
    train(material, tmp_path, 1e-3, Settings(size="tiny", last_layer=1, expression_steps=1, ears=ears, begin=begin))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {line["model"] for line in lines} == {"emote"}


@pytest.mark.slow
def test_evaluation_tables_of_a_trained_model(trained, clips):
    parts = [
        checkpoints.load(str(trained / "checkpoint"), cls, part)
        for cls, part in ((SpeechEncoder, "speech"), (Emote, "emote"))
    ]
    generator = TalkGenerator(None, basis(), EmoteSpeaker(*parts, expression(), basis()))
    rows = lip_rows(generator, clips)
    assert {row[0] for row in rows} >= {"GRID, held-out clips", "speakers never seen"} and rows[0][1] == "jaw"
    assert sounds(np.array([1, 1, 0, 0, 1, 0, 1], bool)) == [(0, 2), (4, 5), (6, 7)]
    shares = closure_rows(generator, clips, 2)
    assert len(shares) == 8 and all(0 <= row[1].value <= 1 and row[2] > 0 for row in shares)


def test_lag_and_correlation():
    wave = np.sin(np.arange(80) / 3)
    assert lips.correlation(wave, wave) == pytest.approx(1) and lips.correlation(wave, 0 * wave) == 0
    assert lips.lag(np.roll(wave, 2), wave, 4) == 2


def test_evaluation_counts():
    coefs, commands = exercise(8)
    assert coefs.shape == (32, 52) and set(commands) == {"jaw", "smile", "brow", "blink"}


@pytest.mark.slow
def test_films_come_with_a_manifest(tmp_path):
    media.write_audio(tmp_path / "a.wav", tone(0.4), 16_000)
    generator = TalkGenerator(tracker(), basis(), speaker())
    paths = films.films(generator, [PICTURE], tmp_path / "a.wav", tmp_path / "films", 256, fps=5, seconds=0.2)
    for path, count in zip(paths, (8, 22), strict=True):
        rows = list(csv.DictReader(path.open()))
        assert len(rows) == count and {row["emotion"] for row in rows} == set(CANONICAL)
        for row in rows:
            assert (path.parent / row["video"]).is_file() and Path(row["portrait"]).is_file()
            assert Path(row["audio"]).is_file()


def test_what_judges_wrote_becomes_a_table(tmp_path):
    row = lambda person, asked, seen: {
        "portrait": person,
        "emotion": asked,
        "intensity": 1.0,
        "seen_as": seen,
        "seen_as_a": seen,
        "seen_as_b": "sad",
        "p": 0.5,
        "identity_distance": 0.4,
    }
    rows = [
        row("one", "fear", "fear"),
        row("one", "sad", "fear"),
        row("two", "fear", "fear"),
        row("two", "sad", "sad"),
        row("two", "neutral", "sad"),
        {"error": "no face"},
    ]
    (tmp_path / "films.json").write_text(json.dumps({"files": rows}))
    report = Report("a", "b")
    report.section("c")
    seen(report, tmp_path)
    (bar,) = report.bars
    assert bar.measured == 0.75 and bar.interval == (0.5, 1.0) and bar.met
    table = {line["asked"]: line for line in report.sections[0]["tables"][0]["rows"]}
    assert table["neutral at 1"]["films"] == 1 and table["sad at 1"]["b"]["value"] == 1
