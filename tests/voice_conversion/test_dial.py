"""The dial: rising, saved and read, even in what is heard."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gen.emotion.embedding.mixture import isotonic
from gen.emotion.spec import EmotionCurve
from voice_conversion.dial import INTENSITIES, TRIED, Dial


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12))
def test_rising_is_the_nearest_that_never_falls(values):
    found = isotonic(torch.tensor(values, dtype=torch.float64)).numpy()
    assert len(found) == len(values) and (np.diff(found) >= -1e-9).all()
    assert found.mean() == pytest.approx(np.mean(values), abs=1e-9)
    if (np.diff(values) >= 0).all():
        np.testing.assert_allclose(found, values)


def test_what_is_heard_rises_evenly_up_to_one_and_then_to_the_most():
    heard = lambda strength: np.interp(strength, TRIED, [0.1, 0.12, 0.3, 0.5, 0.6, 0.4])
    dial = Dial.fit(TRIED, heard(TRIED))
    np.testing.assert_allclose(heard(dial.strengths)[:5], 0.1 + 0.425 * np.arange(5) / 4, atol=3e-3)
    assert heard(dial.strengths[-1]) == pytest.approx(0.6) and dial.strengths[-1] == pytest.approx(1.5)


@given(st.lists(st.floats(0, 1), min_size=len(TRIED), max_size=len(TRIED)))
def test_it_rises_whatever_was_heard(shares):
    strengths = Dial.fit(TRIED, np.array(shares)).strengths
    assert (np.diff(strengths) >= -1e-9).all() and strengths[0] == 0 and strengths[-1] <= 2


def test_it_is_kept_and_turns_only_intensity(tmp_path):
    Dial(1.2 * np.array(INTENSITIES)).save(tmp_path)
    asked = EmotionCurve.parse("0: happy, 2: sad @ 2").sample(np.linspace(0, 2, 5))
    found = Dial.load(tmp_path)(asked)
    assert np.array_equal(found.weights, asked.weights) and np.array_equal(found.vad, asked.vad)
    np.testing.assert_allclose(found.intensity, 1.2 * asked.intensity, rtol=1e-5)


def test_without_a_file_strength_is_intensity(tmp_path):
    asked = EmotionCurve.parse("v=0.4 a=-0.2").sample([0.0])
    np.testing.assert_allclose(Dial.load(tmp_path)(asked).intensity, asked.intensity)
