"""The refiner: its file, its score, and what it makes of a performance."""

import numpy as np
import pytest
import torch
from speech import bank, chooser, generator, voice

from gen.emotion.calibration import Calibration
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.emotion.track import plain
from voice_conversion.emoreg.refine import Refiner, adapted, rival
from voice_conversion.features import RATE
from voice_conversion.performance.lay import contours
from voice_conversion.performance.phrase import CHANGED
from voice_conversion.performance.recording import heard
from voice_conversion.pipeline import VoiceGenerator


@pytest.fixture(scope="module")
def refiner():
    torch.manual_seed(0)
    model = Refiner()
    for layer in (model.last, *(one.norm.modulate for one in model.layers)):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return model.eval()


def test_its_file_holds_it_in_8_bits(refiner, tmp_path):
    refiner.save(tmp_path)
    again = Refiner.load(tmp_path).state_dict()
    for name, value in refiner.state_dict().items():
        assert (again[name] - value).abs().max() <= 0.01 * value.abs().max() + 1e-6, name
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) < 1_200_000


def test_the_score_is_that_of_a_gaussian_where_the_network_says_nothing():
    model, x, t = Refiner(), torch.randn(2, 5, CHANGED), torch.tensor([0.2, 0.7])
    rest = {"moved": torch.zeros(2, 5, 80), "told": torch.zeros(2, 5, 3), "emotion": torch.zeros(2, 5, 64)}
    left = model.sde.gamma(0.0, t)[:, None, None]  # changes of unit variance stay of unit variance
    torch.testing.assert_close(model(x, t, torch.zeros_like(x), **rest), -x / (1 - left**2 + left**2))


def test_it_changes_the_sound_alone_and_another_emotion_otherwise(refiner):
    recording = heard(voice(1.3)[None], RATE)
    first, last = recording.spans[0]
    own = recording.whole.part(first, last)
    laid = contours(bank(), [0], own, recording.median)[0]
    track = lambda name: plain(np.eye(8)[[CANONICAL.index(name)] * len(own.hz)], np.ones(len(own.hz)))
    one, same, other = (adapted(refiner, recording, first, last, laid, track(n)) for n in ("happy", "happy", "sad"))
    assert one.pitch is laid.pitch and one.stretch is laid.stretch
    assert one.change.shape == laid.change.shape
    assert np.array_equal(one.change, same.change) and np.abs(one.change - other.change).max() > 1e-3


def test_happiness_and_surprise_alone_have_a_rival():
    track = lambda **mix: plain(np.array([[mix.get(name, 0.0) for name in CANONICAL]]), np.ones(1))
    assert rival(track(happy=1.0)).weights.argmax() == CANONICAL.index("surprise")
    assert rival(track(surprise=1.0)).weights.argmax() == CANONICAL.index("happy")
    others = [{name: 1.0} for name in CANONICAL if name not in ("happy", "surprise")]
    assert not any(rival(track(**mix)) for mix in (*others, {"happy": 0.5, "surprise": 0.5}))


def test_the_generator_uses_it_unless_told_not_to(refiner):
    recording, happy = voice(1.3), EmotionCurve.parse("happy")
    made = VoiceGenerator(bank(), chooser(), Calibration.linear(), refiner=refiner)
    adapted, plainly = (made.convert(recording, RATE, happy, refine=one) for one in (True, False))
    assert adapted.shape == plainly.shape and np.abs(adapted - plainly).max() > 1e-3
    assert np.array_equal(plainly, generator().convert(recording, RATE, happy))
    assert made.convert(recording, RATE, EmotionCurve.parse("happy @ 0")) is recording
