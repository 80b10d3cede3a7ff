"""Intensity calibration: monotone, saved and loaded, linear in the response, per emotion."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gen.emotion.calibration import INTENSITIES, Calibration
from gen.emotion.embedding.priors import shared
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.emotion.track import track

TRIED = (0.0, 0.3, 0.6, 1.0, 1.5, 2.0)


def asked(text: str, times=(0.0,)):
    return track(EmotionCurve.parse(text), times)


def test_response_is_linear_up_to_one_then_rises_to_the_maximum():
    felt = lambda strength: np.interp(strength, TRIED, [0.1, 0.12, 0.3, 0.5, 0.6, 0.4])
    strengths = Calibration.fit(TRIED, {"happy": felt(TRIED)}).strengths[CANONICAL.index("happy")]
    np.testing.assert_allclose(felt(strengths)[:5], 0.1 + 0.425 * np.arange(5) / 4, atol=3e-3)
    assert felt(strengths[-1]) == pytest.approx(0.6) and strengths[-1] == pytest.approx(1.5)


@given(st.lists(st.floats(0, 1), min_size=len(TRIED), max_size=len(TRIED)))
def test_calibration_is_monotone_for_any_measurement(shares):
    strengths = Calibration.fit(TRIED, {"sad": shares}).strengths
    assert (np.diff(strengths) >= -1e-9).all() and (strengths[:, 0] == 0).all() and (strengths[:, -1] <= 2).all()


def test_emotions_have_own_strengths_and_a_mix_is_between():
    early, late = [0.0, 0.5, 0.8, 0.9, 1.0, 1.0], [0.0, 0.0, 0.1, 0.2, 0.5, 1.0]
    calibration = Calibration.fit(TRIED, {"happy": early, "sad": late})
    happy, mix, sad, fear = (
        float(calibration(asked(text)).intensity[0]) for text in ("happy", "happy 0.5 + sad 0.5", "sad", "fear")
    )
    assert happy < mix < sad and happy < fear < sad
    assert mix == pytest.approx((happy + sad) / 2)


def test_calibration_is_saved_and_changes_only_intensity_and_embedding(tmp_path):
    Calibration(np.tile(1.2 * INTENSITIES, (8, 1))).save(tmp_path)
    before = asked("0: happy, 2: sad @ 2", np.linspace(0, 2, 5))
    found = Calibration.load(tmp_path)(before)
    assert np.array_equal(found.weights, before.weights) and np.array_equal(found.vad, before.vad)
    np.testing.assert_allclose(found.intensity, 1.2 * before.intensity, rtol=1e-5)
    prior = shared()(*(torch.from_numpy(x) for x in (found.weights, found.vad, found.intensity)))
    np.testing.assert_allclose(found.embedding, prior, atol=1e-4)


def test_without_a_file_strength_is_intensity(tmp_path):
    before = asked("v=0.4 a=-0.2")
    np.testing.assert_allclose(Calibration.load(tmp_path)(before).intensity, before.intensity)
