"""Transfer of emotions between modalities, and comparison of conditioners."""

import csv

import numpy as np
import pytest

from apps.embedding import conditioners, transfer
from apps.embedding.transfer import Clip, TransferEvaluator, outside, spearman, withheld
from gen import registry
from gen.emotion import lexicon
from gen.emotion.spec import Embedding, Emotion, EmotionCurve, Keyframe
from gen.evaluate.run import measured
from music.score import to_score


def placed() -> EmotionCurve:
    key = Keyframe(at=0.0, emotion=Emotion.parse("sad"), embedding=Embedding(mean=[0.1] * 256, variance=[1.0] * 256))
    return EmotionCurve(keyframes=(key,))


def test_a_clip_without_its_embedding_equals_its_words():
    assert withheld(placed()).keyframes[0].embedding is None
    assert withheld(placed()).keyframes[0].emotion == placed().keyframes[0].emotion


def test_outside_predictions_become_points(tmp_path):
    path = tmp_path / "seen.csv"
    path.write_text("file,happy,sad\na.mp4,1,0\nb.mp4,0.25,0.75\n")
    found, terms = outside(str(path)), lexicon.terms()
    np.testing.assert_allclose(found["a.mp4"], terms["happy"].mean[:2])
    np.testing.assert_allclose(found["b.mp4"], 0.25 * terms["happy"].mean[:2] + 0.75 * terms["sad"].mean[:2])


def test_correlations_have_intervals():
    x = np.arange(20.0)
    assert spearman(x, x**3).value == pytest.approx(1)
    found = spearman(x, np.random.default_rng(0).permutation(20))
    assert found.low <= found.value <= found.high and found.high - found.low > 0.3
    assert spearman(x, np.zeros(20)).value == 0


def test_differences_within_a_portrait_lose_what_the_portrait_adds():
    expressions, portraits = np.array([[0.1, 0.2], [-0.1, -0.2]]), np.array([[0.5, 0.0], [-0.3, 0.4]])
    seen = (expressions[None] + portraits[:, None]).reshape(4, 2)
    np.testing.assert_allclose(transfer._within(seen, ["a", "a", "b", "b"]), np.tile(expressions, (2, 1)), atol=1e-12)


@pytest.mark.slow
def test_every_modality_is_transferred_to_the_others(tmp_path, monkeypatch):
    from pathlib import Path

    from gen import media
    from music.pipeline import MusicGenerator

    examples = Path(__file__).parents[3] / "examples"
    (piece,) = MusicGenerator.from_pretrained().compose([EmotionCurve.parse("Q1")], 4, [0])
    media.write_midi(tmp_path / "piece.mid", to_score(piece.grid), {})
    line, face = examples / "line.opus", examples / "grace_hopper.jpg"
    monkeypatch.setattr(transfer, "lines", lambda data: [line])
    monkeypatch.setattr(transfer, "voices", lambda data, count: [Clip("voice", line, "neutral")])
    monkeypatch.setattr(transfer, "pieces", lambda data, count: [Clip("music", tmp_path / "piece.mid", "Q1")])
    monkeypatch.setattr(transfer, "faces", lambda data, count, *rest: [Clip("face", face, "neutral")])
    settings = transfer.Settings(data=tmp_path, clips=1, bars=2, portrait=str(face))
    bars = measured(TransferEvaluator, settings, tmp_path / "out")
    assert len(bars) == 12
    with open(tmp_path / "out" / "files" / "transfer.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and all((tmp_path / "out" / "files" / row["made"]).is_file() for row in rows)
    assert {(row["from"], row["to"]) for row in rows} == set(transfer.WAYS)


@pytest.mark.parametrize(("name", "least"), [("none", 0), ("vad", 0.01), ("gaussian", 0.05), ("direction", 0.05)])
def test_clip_embeddings_reach_conditioners_that_read_them(name, least):
    found = conditioners.reach(registry.build("conditioner", dim=16, **conditioners.configuration(name)).eval())
    assert found == 0 if least == 0 else found > least


def test_the_expression_layer_trains_with_any_conditioner(tmp_path):
    conditioners.emote(tmp_path, tmp_path / "label", None, conditioners.Training("label", layer=5))
    assert (tmp_path / "label" / "checkpoint" / "expression" / "config.json").is_file()
