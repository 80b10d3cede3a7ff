"""The dial: rising, saved and read, even in what is heard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen.emotion.spec import CANONICAL, EmotionCurve
from voice_conversion.dial import INTENSITIES, Dial, rising

TRIED = np.array([0, 0.5, 1, 1.5, 2, 2.5])


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12))
def test_rising_is_the_nearest_that_never_falls(values):
    found = rising(np.array(values))
    assert len(found) == len(values) and (np.diff(found) >= -1e-9).all()
    assert found.mean() == pytest.approx(np.mean(values), abs=1e-9)
    if (np.diff(values) >= 0).all():
        np.testing.assert_allclose(found, values)


def test_what_is_heard_rises_evenly_to_real_speech_at_one():
    heard = np.full((len(CANONICAL), len(TRIED)), np.nan)
    heard[1] = 0.1 + 0.6 * (TRIED / 2.5) ** 2
    dial = Dial.fit(TRIED, heard, np.full(len(CANONICAL), 0.4))
    again = np.interp(np.interp(INTENSITIES, INTENSITIES, dial.strengths[1]), TRIED, heard[1])
    np.testing.assert_allclose(again, 0.1 + 0.3 * np.array(INTENSITIES), atol=0.02)
    np.testing.assert_allclose(dial.strengths[2], dial.strengths[1])  # what the judge does not know


def test_a_dial_is_kept_and_turns_only_intensity(tmp_path):
    dial = Dial(np.outer(np.linspace(0.5, 1.5, len(CANONICAL)), INTENSITIES))
    dial.save(tmp_path)
    asked = EmotionCurve.parse("0: happy, 2: sad @ 2").sample(np.linspace(0, 2, 5))
    found = Dial.load(tmp_path)(asked)
    assert np.array_equal(found.weights, asked.weights) and np.array_equal(found.vad, asked.vad)
    assert found.intensity[0] == pytest.approx(dial.strengths[1][4], abs=1e-3)
    assert found.intensity[-1] == pytest.approx(dial.strengths[2][8], abs=1e-3)


def test_without_a_file_strength_is_intensity(tmp_path):
    asked = EmotionCurve.parse("v=0.4 a=-0.2").sample([0.0])
    np.testing.assert_allclose(Dial.load(tmp_path)(asked).intensity, asked.intensity)
