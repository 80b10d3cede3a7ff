"""Shifts are fitted from parallel readings, follow emotion and intensity, and move a track as they say."""

import numpy as np
import pytest
from speech import SHIFTS, table

from gen.emotion.spec import CANONICAL, EmotionCurve
from voice_conversion.corpus import Clip
from voice_conversion.prosody import SIGN, Prosody, Shift, bow, level, measure, moved, swung

LEVELS = (0.75, 1.25)


def clip(emotion, level, speaker="a", group="ravdess"):
    return Clip(0, 0, speaker, group, "train", emotion, level, "1", "", "")


def test_slopes_through_zero_are_found_again():
    spoken = {"happy": "happy", "sad": "sad", "anger": "angry"}
    rows = [(clip(spoken[name], level), level * table()[CANONICAL.index(name)] * SIGN)
            for name in SHIFTS for level in LEVELS]  # fmt: skip
    fitted = Prosody.fit(rows).table
    for name, wanted in SHIFTS.items():
        np.testing.assert_allclose(fitted[CANONICAL.index(name)][:3], wanted, atol=1e-9)
    assert np.abs(fitted[CANONICAL.index("contempt")]).max() > 0  # from its point, as no clips say


def test_what_speakers_do_not_agree_on_is_done_less():
    one = np.zeros(len(SIGN))
    one[:2] = 0.5, 0.6
    other = np.zeros(len(SIGN))
    other[:2] = 0.5, -0.4
    rows = [(clip("happy", 1.0, "a"), one), (clip("happy", 1.0, "b", "emodb"), other)]
    height, spread = Prosody.fit(rows).table[CANONICAL.index("happy")][:2]
    assert height == pytest.approx(0.5) and 0 < spread < 0.01  # of a mean of 0.1


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
    octave = 7.5 + 0.4 * np.sin(np.arange(200) / 30)
    shift = Prosody(table())(EmotionCurve.parse("happy").sample(np.arange(200.0)))
    found = moved(2**octave, 7.5, shift)
    np.testing.assert_allclose(found, 7.5 + shift.height[0] + (octave - 7.5) * shift.range[0], atol=0.02)
    still = moved(2**octave, 7.5, Prosody(0 * table())(EmotionCurve.parse("happy").sample(np.arange(200.0))))
    np.testing.assert_allclose(still, octave, atol=1e-5)
    quick = octave + 0.02 * (-1) ** np.arange(200)
    lively = moved(2**quick, 7.5, shift._replace(life=np.full(200, 2.0))) - found
    assert np.abs(lively[20:-20]).mean() == pytest.approx(0.04, rel=0.1)


def test_measures_of_a_reading():
    hz = np.where(np.arange(100) % 10 < 8, 2 ** np.linspace(7, 8, 100), 0)
    loud = np.where((np.arange(100) > 9) & (np.arange(100) < 90), 0.0, -20.0)
    mel = loud[:, None] + np.linspace(1, -1, 80)
    middle, spread, seconds, _, _, onset, end = measure(hz, mel)
    assert middle == pytest.approx(7.5, abs=0.02)
    assert spread == pytest.approx(np.log2(0.8), abs=0.1)
    assert 2**seconds == pytest.approx(80 * 256 / 22050, rel=0.01)
    assert end == pytest.approx(1 / 3, abs=0.02) and onset == pytest.approx(-1 / 3, abs=0.02)


def test_each_phrase_is_bent_by_itself():
    voiced = np.concatenate((np.ones(90, bool), np.zeros(40, bool), np.ones(60, bool)))
    shift = Prosody(table())(EmotionCurve.parse("neutral").sample(np.zeros(190)))
    bent = bow(voiced, shift._replace(onset=np.full(190, 0.1), end=np.full(190, 0.3)))
    for phrase in (bent[:90], bent[130:]):
        thirds = [part.mean() for part in np.array_split(phrase, 3)]
        np.testing.assert_allclose(thirds, [0.1, -0.4, 0.3], atol=0.16)
        assert thirds[2] > thirds[0] > thirds[1] and np.abs(np.diff(phrase)).max() < 0.06
    assert not bent[90:130].any()


def test_dynamics_are_what_is_asked_for():
    random = np.random.default_rng(0)
    mel = random.normal(size=(60, 80)) + np.sin(np.arange(60) / 3)[:, None]
    voiced, shift = np.ones(60, bool), Shift(*(np.ones(60),) * 7)
    assert not swung(mel, voiced, shift).any()
    assert level(mel + swung(mel, voiced, shift._replace(swing=np.full(60, 1.5)))).std() > 1.2 * level(mel).std()
    assert not swung(mel, ~voiced, shift._replace(swing=np.full(60, 1.5))).any()
