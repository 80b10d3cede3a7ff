"""FLINT and EMOTE: shapes, conditions, and that a checkpoint is the model."""

import numpy as np
import pytest
import torch
from faces import expression, networks
from same import same_weights

from gen.emotion.conditioner import check_conditioner
from gen.emotion.spec import EmotionCurve
from gen.emotion.track import plain, track
from gen.errors import InputError
from talking_head.face.points import INDEX
from talking_head.motion.emote.condition import EmoteCondition
from talking_head.motion.emote.flint import Flint
from talking_head.motion.emote.model import Emote
from talking_head.motion.emote.sizes import sizes
from talking_head.motion.expression import TABLE, express, target
from talking_head.training.expression import threshold


def test_flint_gives_what_it_takes():
    model = Flint(features=52, dim=16, heads=2, ffn=32).eval()
    made, kl = model(torch.randn(2, 24, 52))
    assert made.shape == (2, 24, 52) and kl > 0
    assert model.encoder(torch.randn(1, 24, 52))[0].shape == (1, 3, 16)


@pytest.mark.parametrize("frames", [1, 7, 8, 30])
def test_any_number_of_frames(frames):
    _, emote = networks()
    made = emote(torch.randn(2, frames, 24), torch.randn(2, frames, 16), torch.tensor([0, 1]))
    assert made.shape == (2, frames, 52)


def test_emotion_changes_where_the_curve_does():
    _, emote = networks()
    times = [i / 25 for i in range(64)]
    calm, later = EmotionCurve.parse("neutral"), EmotionCurve.parse("0: neutral, 1.6: happy")
    speech = torch.randn(1, 64, 24)
    made = [
        emote(speech, emote.emotion(**emote.emotion.prepare([track(c, times)])).tokens, torch.tensor([0]))
        for c in (calm, later)
    ]
    change = (made[0] - made[1]).abs().mean((0, 2))
    assert change[:8].mean() < change[56:].mean()


def test_a_saved_model_is_the_same_model(tmp_path):
    _, emote = networks()
    emote.save_pretrained(tmp_path)
    again = Emote.from_pretrained(tmp_path, low_cpu_mem_usage=False).eval()
    given = torch.randn(1, 16, 24), torch.randn(1, 16, 16), torch.tensor([1])
    same_weights(again, emote)
    torch.testing.assert_close(again(*given), emote(*given), atol=1e-4, rtol=1e-4)


def test_published_condition_keeps_the_contract():
    check_conditioner(EmoteCondition)


def test_unknown_size_names_the_sizes():
    with pytest.raises(InputError, match="compact"):
        sizes("huge")


def test_expression_gives_way_to_closed_lips():
    still, ones, none = np.zeros((3, 52)), np.ones(3), np.zeros(3)
    anger = np.repeat(TABLE[6:7], 3, 0)
    face = express(still, anger, ones, ones, np.array([0.0, 0.5, 1.0]), none)
    parting = face[:, INDEX["mouthUpperUpLeft"]]
    assert parting[0] > parting[1] > parting[2] == 0 and face[2, INDEX["mouthFrownLeft"]] > 0.7
    np.testing.assert_allclose(face[:, INDEX["browDownLeft"]], TABLE[6, INDEX["browDownLeft"]])
    np.testing.assert_allclose(express(still, anger, none, ones, none, none), anger, atol=1e-6)


def test_a_quiet_voice_is_not_shouted():
    anger, ones = TABLE[6:7], np.ones(1)
    quiet, loud = (express(np.zeros((1, 52)), anger, ones, e * ones, 0 * ones, 0 * ones)[0] for e in (0.0, 1.0))
    opening = [INDEX[name] for name in ("jawOpen", "mouthLowerDownLeft", "mouthUpperUpLeft")]
    assert (quiet[opening] < 0.85 * loud[opening]).all()
    assert quiet[INDEX["browDownLeft"]] == loud[INDEX["browDownLeft"]]


@pytest.mark.parametrize("conditioner", ["gaussian", "label"])
def test_the_layer_learns_the_table(conditioner):
    layer = expression(conditioner)
    faces = layer.face(plain(np.eye(8), np.ones(8)))
    nearest = np.linalg.norm(faces[:, None] - TABLE, axis=-1).argmin(1)
    assert (nearest == np.arange(8)).all() and np.abs(faces - TABLE).mean() < 0.08
    assert np.abs(layer.face(plain(np.eye(8), np.zeros(8)))).max() < 1e-6


def test_where_a_clip_lies_changes_the_face():
    told = plain(np.eye(8)[[1, 1]], np.ones(2))
    moved = told.embedding.copy()
    moved[1] += np.random.default_rng(0).normal(0, 0.5, moved.shape[1])
    faces = expression("gaussian").face(told._replace(embedding=moved, known=np.float32([0, 1])))
    assert np.abs(faces[0] - faces[1]).max() > 0.05


def test_points_have_faces_of_their_own():
    calm, wild = (target(np.eye(8)[[1]], np.array([[0.8, a, 0.4]]))[0] for a in (-0.5, 0.9))
    assert wild[INDEX["eyeWideLeft"]] > calm[INDEX["eyeWideLeft"]] + 0.2


def test_half_an_intensity_is_read_half_as_often():
    strengths = threshold().strengths
    assert (np.diff(strengths) > 0).all()
    half, whole, double = np.interp((0.5, 1, 2), np.arange(9) / 4, strengths[1])
    assert 0.55 < half < 0.7 and 0.95 < whole < 1.15 and 1.3 < double < 1.6
