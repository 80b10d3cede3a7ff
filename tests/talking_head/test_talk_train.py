"""Training on a tiny copy of the material: what is held out, that it learns, that it goes on where it stopped."""

import json

import numpy as np
import pytest
import torch
from faces import basis
from footage import FRAMES, write

from gen import checkpoints
from talking_head.evaluation import judge
from talking_head.evaluation.talk import Rendered, closure_rows, emotion_rows, estimate, exercise, lip_rows
from talking_head.face.points import coefficients
from talking_head.motion.emote.model import Emote
from talking_head.motion.emote.speaker import EmoteSpeaker
from talking_head.motion.speech import SpeechEncoder
from talking_head.pipeline import TalkGenerator
from talking_head.training import corpus, lips
from talking_head.training.data import FRAMES as WINDOW
from talking_head.training.data import Windows, varied
from talking_head.training.emote import HEARD, TAUGHT, Measures, Settings, train
from talking_head.training.teacher import Teacher


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return write(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def trained(material, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    train(material, out, 0.12, Settings(size="tiny", settle=4))
    return out


def test_what_is_held_out_is_never_trained_on(material):
    clips = corpus.build(material)
    held = {(c.source, c.name) for c in clips if c.part == "test"}
    assert {"grid", "facegood", "other", "aligned"} == {source for source, _ in held}
    assert ("facegood", "1114_3_15") in held and ("aligned", "af_nova.opus") in held
    assert not [c for c in clips if c.source == "other" and c.part == "train"]
    assert "other" not in HEARD and "facegood" not in HEARD  # so FACEGOOD is a speaker that lips are not learnt from
    paced = {c.name.split(" x")[0] for c in clips if c.source == "paced"}
    assert paced and not paced & {name for source, name in held if source == "grid"}


def test_rows_survive_being_kept(material, tmp_path):
    clips = corpus.build(material)
    corpus.save(clips, tmp_path / "f.npz")
    again = corpus.load(tmp_path / "f.npz")
    assert [c.name for c in again] == [c.name for c in clips]
    assert all(
        np.allclose(a.motion, b.motion, atol=1e-3) and a.rows.shape == b.rows.shape for a, b in zip(again, clips)
    )


def test_windows_have_what_they_promise(material):
    speech = SpeechEncoder(dim=8, layers=1)
    learnt = [c for c in corpus.build(material) if c.part == "train"]
    teacher = Teacher(speech, [c for c in learnt if c.source == "grid"])
    windows = Windows([teacher.taught(c) if c.source in TAUGHT else c for c in learnt], speech, HEARD, 0)
    batch = windows.batch()
    assert batch.rows.shape == (16, 4 * WINDOW, 80) and batch.motion.shape == (16, WINDOW, 52)
    assert batch.visemes.shape == (5, WINDOW, 15) and torch.isfinite(batch.rows).all()
    weights, intensity = windows.emotions(50)
    assert weights.shape == (50, WINDOW, 8) and torch.allclose(weights.sum(-1), torch.ones(50, WINDOW), atol=1e-5)
    assert intensity.min() >= 0 and intensity.max() <= 1.6 and FRAMES < WINDOW
    rows = np.full((40, 80), -5.0)
    assert varied(rows, np.random.default_rng(0)).shape == rows.shape


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
    parts = [checkpoints.load(str(trained / "checkpoint"), cls, part) for cls, part in
             ((SpeechEncoder, "speech"), (Emote, "emote"))]  # fmt: skip
    assert (trained / "checkpoint" / "flint" / "config.json").exists()
    assert all(torch.isfinite(p).all() for part in parts for p in part.parameters())


@pytest.mark.slow
def test_training_goes_on_where_it_stopped(trained, material):
    before = torch.load(trained / "emote.pt", weights_only=True)["step"]
    train(material, trained, 0.15, Settings(size="tiny", settle=4))
    assert torch.load(trained / "emote.pt", weights_only=True)["step"] > before


@pytest.mark.slow
def test_evaluation_tables_of_a_trained_model(trained, material):
    parts = [checkpoints.load(str(trained / "checkpoint"), cls, part) for cls, part in
             ((SpeechEncoder, "speech"), (Emote, "emote"))]  # fmt: skip
    generator = TalkGenerator(None, basis(), EmoteSpeaker(*parts, basis()))
    clips = corpus.build(material)
    rows = lip_rows(generator, clips)
    assert {row[0] for row in rows} >= {"GRID, held-out clips", "speakers never seen"} and rows[0][1] == "jaw"
    shares = closure_rows(generator, clips, 2)
    assert len(shares) == 8 and all(0 <= row[1].value <= 1 and row[2] > 0 for row in shares)


def test_lag_and_correlation():
    wave = np.sin(np.arange(80) / 3)
    assert lips.correlation(wave, wave) == pytest.approx(1) and lips.correlation(wave, 0 * wave) == 0
    assert lips.lag(np.roll(wave, 2), wave, 4) == 2


def test_judge_learns_from_one_actor_and_knows_another(material):
    verdict, right = judge.trained(material)
    assert right > 0.9  # the tiny material's expressions are the same on both
    rows, labels = judge.actors(material)["B"]
    assert (verdict(rows).argmax(1) == labels).mean() > 0.9
    assert np.allclose(verdict(rows).sum(1), 1)


def test_evaluation_counts():
    coefs, commands = exercise(8)
    assert coefs.shape == (32, 52) and set(commands) == {"jaw", "smile", "brow", "blink"}
    sure = lambda i: np.eye(7)[i]
    found = Rendered({}, [], [(n, s, sure(i)) for i, n in enumerate(judge.EMOTIONS) for s in (0.5, 1.0)], 1.0, 1)
    rows, right, _ = emotion_rows(found._replace(told=[
        (n, s, sure(i) * s) for i, n in enumerate(judge.EMOTIONS) for s in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
    ]))  # fmt: skip
    assert right == 1 and all(row[2] == pytest.approx(1) for row in rows)
    assert estimate([1, 1, 1]).value == 1
