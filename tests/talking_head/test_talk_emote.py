"""FLINT and EMOTE: shapes, conditions, and that a checkpoint is the model."""

import pytest
import torch
from faces import networks
from same import same_weights

from gen.emotion.conditioner import check_conditioner
from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track
from gen.errors import InputError
from talking_head.face.points import INDEX
from talking_head.motion.emote.condition import EmoteCondition
from talking_head.motion.emote.flint import Flint
from talking_head.motion.emote.model import Emote
from talking_head.motion.emote.sizes import sizes
from talking_head.motion.expression import TABLE, express, strength


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
    made = [emote(speech, emote.emotion(**emote.emotion.prepare([track(c, times)])).tokens, torch.tensor([0]))
            for c in (calm, later)]  # fmt: skip
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


def test_expression_gives_way_to_closed_lips_and_fades_with_intensity():
    still, happy = torch.zeros(1, 3, 52), torch.eye(8)[1].expand(1, 3, 8)
    ones, none = torch.ones(1, 3), torch.zeros(1, 3)
    face = express(still, happy, ones, none, torch.tensor([[0.0, 0.5, 1.0]]))[0]
    parting = face[:, INDEX["mouthUpperUpLeft"]]
    assert parting[0] > parting[1] > parting[2] == 0 and face[2, INDEX["mouthSmileLeft"]] > 0.7
    assert torch.equal(express(still, happy, none, none, none), still)
    torch.testing.assert_close(face[0], TABLE[1])


def test_strength_rises_with_intensity():
    steps = strength(torch.linspace(0, 2, 21))
    assert steps[0] == 0 and steps[10] == pytest.approx(1.0) and bool((steps.diff() > 0).all())
