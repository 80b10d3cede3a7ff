"""Shifts are fitted from parallel readings, follow emotion and intensity, and move a track as they say."""

import numpy as np
import pytest
from speech import SHIFTS, table

from gen.emotion.spec import CANONICAL, EmotionCurve
from voice_conversion.corpus import Clip
from voice_conversion.prosody import Prosody, measure, moved
from voice_conversion.stretch import places, stretch

LEVELS = (0.75, 1.25)


def clip(emotion, level, group="ravdess"):
    return Clip(0, 0, "a", group, "train", emotion, level, "1", "", "")


def test_slopes_through_zero_are_found_again():
    spoken = {"happy": "happy", "sad": "sad", "anger": "angry"}
    rows = [(clip(spoken[name], level), level * np.array([*SHIFTS[name][:2], -SHIFTS[name][2]]))
            for name in SHIFTS for level in LEVELS]  # fmt: skip
    fitted = Prosody.fit(rows).table
    for name, wanted in SHIFTS.items():
        np.testing.assert_allclose(fitted[CANONICAL.index(name)], wanted, atol=1e-9)
    assert np.abs(fitted[CANONICAL.index("contempt")]).max() > 0  # from its point, as no clips say


@pytest.mark.parametrize("text", ["neutral", "happy @ 0", "v=0 a=0 d=0"])
def test_neutral_changes_nothing(text):
    shift = Prosody(table())(EmotionCurve.parse(text).sample([0.0]))
    np.testing.assert_allclose([shift.height[0], shift.range[0], shift.pace[0]], [0, 1, 1], atol=5e-3)


def test_intensity_scales_and_away_from_turns_round():
    prosody = Prosody(table())
    at = lambda text: prosody(EmotionCurve.parse(text).sample([0.0])).height[0]
    assert at("happy @ 0.5") == pytest.approx(at("happy") / 2, rel=1e-5)
    assert at("happy") > 0.2 > 0 > at("-happy")


def test_it_is_kept(tmp_path):
    Prosody(table()).save(tmp_path / "prosody.json")
    np.testing.assert_allclose(Prosody.load(tmp_path / "prosody.json").table, table(), atol=1e-4)


def test_a_track_moves_by_height_and_range():
    hz = 2 ** np.array([7.0, 7.5, 8.0])
    shift = Prosody(table())(EmotionCurve.parse("happy").sample(np.arange(3.0)))
    found = moved(hz, 7.5, shift)
    assert found[1] == pytest.approx(7.5 + shift.height[0], abs=1e-5)
    assert found[2] - found[0] == pytest.approx(shift.range[0], abs=1e-5)


def test_measures_of_a_reading():
    hz = np.where(np.arange(100) % 10 < 8, 2 ** np.linspace(7, 8, 100), 0)
    middle, spread, seconds = measure(hz, np.where((np.arange(100) > 9) & (np.arange(100) < 90), 0.0, -20.0))
    assert middle == pytest.approx(7.5, abs=0.02)
    assert spread == pytest.approx(np.log2(0.8), abs=0.1)
    assert 2**seconds == pytest.approx(80 * 256 / 22050, rel=0.01)


@pytest.mark.parametrize("pace", [0.8, 1.0, 1.3])
def test_a_tone_keeps_its_pitch_at_any_pace(pace):
    from voice_conversion.features import HOP, RATE, track

    t = np.arange(100 * HOP) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 150 * t) + 0.2 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)
    at = places(np.full(100, pace))
    assert len(at) == pytest.approx(100 / pace, abs=1)
    made = stretch(tone, at)
    assert len(made) == len(at) * HOP
    found = track(made)[5:-5]
    np.testing.assert_allclose(found, 150, rtol=0.01)
    assert np.std(np.abs(made[1000:-1000])) == pytest.approx(np.std(np.abs(tone)), rel=0.05)


def test_places_follow_a_pace_that_changes():
    at = places(np.concatenate((np.full(50, 2.0), np.full(50, 0.5))))
    assert len(at) == 125 and at[24] == pytest.approx(48.5, abs=1) and (np.diff(at) > 0).all()
