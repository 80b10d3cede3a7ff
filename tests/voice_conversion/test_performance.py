"""Performances: alignment, phrases, the bank's files, what is laid on, and what stays as it was."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from speech import bank, chooser, measured, voice

from gen.emotion.spec import CANONICAL
from gen.emotion.track import plain
from gen.errors import InputError
from gen.notes import collect
from voice_conversion import features, separate
from voice_conversion.features import HOP, RATE
from voice_conversion.performance import lay
from voice_conversion.performance.bank import Bank, fitted, predicted
from voice_conversion.performance.choose import kept, proposals, shares
from voice_conversion.performance.phrase import ends, unfolded
from voice_conversion.performance.recording import alone, heard, spans
from voice_conversion.performance.warp import align


def one_hot(name, n=1):
    return np.eye(len(CANONICAL))[[CANONICAL.index(name)] * n]


def test_alignment_finds_a_known_warp():
    random = np.random.default_rng(0)
    path = np.cumsum(random.choice([0.6, 1.0, 1.5], 8).repeat(15))
    path = path / path[-1]
    base = np.stack([np.sin(np.linspace(0, 14 + 3 * i, 200) + i) for i in range(6)], 1)
    take = lambda at: np.stack([np.interp(at, np.linspace(0, 1, 200), column) for column in base.T], 1)
    found = align(take(path), [base, take(np.linspace(0, 1, 90))], 1.0, 0.1)
    assert found.shape == (2, len(path)) and (np.diff(found) >= 0).all()
    assert np.abs(found - path).mean(1).max() < 0.02


def test_an_octave_leap_is_taken_back_and_a_real_rise_is_not():
    hz = np.full(120, 120.0)
    hz[50:56] *= 2
    assert np.abs(unfolded(hz) - np.log2(120)).max() < 1e-3
    rise = 120 * 2 ** np.concatenate([np.zeros(40), np.linspace(0, 1.2, 50), np.full(30, 1.2)])
    np.testing.assert_allclose(unfolded(rise), np.log2(rise), atol=1e-3)


def test_noise_around_the_voice_is_no_part_of_the_phrase():
    level, hz = np.full(200, -1.0), np.zeros(200)
    hz[80:120] = 100
    first, last = ends(level, hz)
    assert 60 < first < 80 and 120 < last < 140


def test_phrases_end_at_pauses_and_long_ones_are_cut():
    level = np.full(1200, -9.0)
    level[50:200] = level[300:1100] = 0.0
    level[690:700] = -2.0
    found = spans(level)
    assert found[0][0] < 51 and 199 < found[0][1] < 210
    assert all(last - first <= 400 for first, last in found) and found[-1][1] > 1099
    assert all(before[1] <= after[0] for before, after in pairwise(found))


def test_channels_that_cancel_are_not_silent():
    x = voice(0.5)
    same = heard(np.stack([x, -x]), RATE).plain
    np.testing.assert_allclose(same, heard(x[None], RATE).plain, atol=1e-6)


def test_a_map_learns_what_a_frame_says():
    random = np.random.default_rng(0)
    x, wanted = random.normal(size=(300, 5)), random.normal(size=(5, 3))
    found = fitted(x, x @ wanted + 2, np.ones(300), 1e-6)
    np.testing.assert_allclose(predicted(found, x), x @ wanted + 2, atol=1e-3)


def test_a_bank_is_read_back_as_it_was_written(tmp_path):
    bank().save(tmp_path)
    again = Bank.load(tmp_path)
    assert again.medians == bank().medians and again.means == bank().means
    for one, other in zip(again.performances, bank().performances):
        assert (one.emotion, one.speaker, one.reading) == (other.emotion, other.speaker, other.reading)
        np.testing.assert_allclose(one.pitch, other.pitch, atol=0.005)
        np.testing.assert_allclose(one.map, other.map, atol=np.abs(other.map).max() / 50)
    for one, other in zip(again.readings, bank().readings):
        np.testing.assert_allclose(one, other, atol=np.abs(other).max() / 100)


def test_numbers_of_performers():
    assert bank().performer(1) == "high"
    with pytest.raises(InputError, match="give 1 to 3"):
        bank().performer(4)


def test_unknown_emotions_are_shared_among_those_near():
    assert shares(one_hot("sad")[0], bank()) == {"sad": 1.0, "anger": 0.0, "happy": 0.0}
    found = shares(one_hot("contempt")[0], bank())
    assert sum(found.values()) == pytest.approx(1) and max(found, key=found.get) == "anger"
    assert shares(-one_hot("sad")[0] + 2 * one_hot("neutral")[0], bank())["sad"] == -1.0


def test_who_is_near_in_register_is_proposed_first():
    own = measured(voice(1.2, 215.0))
    found = [proposals(bank(), "happy", own, np.log2(215.0), 3, np.random.default_rng(seed))[0] for seed in range(9)]
    names = [bank().performances[i].speaker for i in found]
    assert names.count("high") >= 7
    assert not proposals(bank(), "fear", own, 7.5, 3, np.random.default_rng(0))


@pytest.fixture(scope="module")
def spoken():
    recording = heard(voice(1.3, 130.0)[None], RATE)
    first, last = recording.spans[0][0], recording.spans[-1][1]
    return recording, recording.whole.part(first, last)


def test_a_performance_moves_pitch_and_pace_as_it_did(spoken):
    recording, own = spoken
    which = next(i for i, p in enumerate(bank().performances) if (p.emotion, p.speaker) == ("sad", "middle"))
    laid = lay.contours(bank(), [which], own, recording.median)[0]
    change = lay.changed(own, recording.median, laid, 1.0)
    assert np.median(change.octave - recording.median) == pytest.approx(-0.2, abs=0.02)
    assert np.median(np.log(change.stretch)) == pytest.approx(0.2, abs=0.02)
    half = lay.changed(own, recording.median, laid, 0.5)
    np.testing.assert_allclose(half.octave - own.octave, (change.octave - own.octave) / 2, atol=1e-3)


def test_nothing_is_done_at_intensity_0(spoken):
    recording, own = spoken
    laid = lay.contours(bank(), [0], own, recording.median)[0]
    change = lay.changed(own, recording.median, laid, 0.0)
    np.testing.assert_allclose(change.octave, own.octave, atol=1e-6)
    assert not change.bands.any() and (change.stretch == 1).all()


def test_sounds_without_a_voice_keep_their_spectrum_and_the_voice_its_power(spoken):
    recording, own = spoken
    laid = lay.contours(bank(), [0], own, recording.median)[0]
    laid = laid._replace(change=laid.change + np.linspace(4, -4, laid.change.shape[1]))
    hiss = own._replace(hz=np.where(np.arange(len(own.hz)) < 40, 0, own.hz).astype(np.float32))
    change = lay.changed(hiss, recording.median, laid, 1.0)
    assert np.abs(change.bands[:36]).max() * 8.686 < 0.1
    voiced = (hiss.hz > 0) & (own.level > -2)
    power = lambda bands: np.exp(2 * (own.mel + bands))[voiced].sum()
    assert 10 * np.log10(power(change.bands) / power(0)) == pytest.approx(0, abs=1.0)


def test_the_choice_is_one_of_the_wanted_emotion_and_a_seed_repeats_it(spoken):
    recording, own = spoken
    asked = plain(one_hot("happy", len(own.hz)), np.ones(len(own.hz)))
    choose = lambda seed: chooser()(
        bank(), recording, recording.spans[0][0], recording.spans[-1][1], asked, 3, np.random.default_rng(seed)
    )
    one, again = choose(0), choose(0)
    assert bank().performances[one.which].emotion == "happy" and one.which == again.which
    neutral = plain(one_hot("neutral", len(own.hz)), np.ones(len(own.hz)))
    assert chooser()(bank(), recording, 0, len(own.hz), neutral, 3, np.random.default_rng(0)) is None


@pytest.mark.parametrize("hz", [80.0, 110.0, 200.0])
def test_no_octave_leaps_at_half_strength(hz):
    recording = heard(voice(1.6, hz)[None], RATE)
    first, last = recording.spans[0][0], recording.spans[-1][1]
    own = recording.whole.part(first, last)
    laid = lay.contours(bank(), [2], own, recording.median)[0]
    change = lay.changed(own, recording.median, laid, 0.5)._replace(stretch=np.ones(len(own.hz)))
    from voice_conversion.performance.recording import sounding

    made = sounding(recording.plain[None, first * HOP : last * HOP], RATE, own.hz, change)[0]
    again = features.track(features.cut(made))
    n = min(len(again), len(own.hz))
    both = (again[:n] > 0) & (own.hz[:n] > 0)
    leaps = np.abs(np.log2(again[:n][both]) - change.octave[:n][both]) > 0.6
    assert both.sum() > 30 and leaps.mean() < 0.02


def test_mel_of_a_phrase_is_finite():
    own = measured(np.concatenate([np.zeros(RATE // 2, np.float32), voice(0.8)]))
    assert np.isfinite(own.cepstra).all() and torch.isfinite(torch.from_numpy(own.level)).all()


def test_music_under_speech_is_said_and_clean_speech_is_not(monkeypatch):
    monkeypatch.setattr(separate, "installed", lambda: False)
    clean = np.concatenate([voice(1.0), np.zeros(RATE // 3, np.float32), voice(1.0)])
    t = np.arange(len(clean)) / RATE
    chord = sum(np.sin(2 * np.pi * hz * t) + np.sin(4 * np.pi * hz * t) / 2 for hz in (220, 277, 330))
    chord = chord * features.loudness(clean) * 10 ** (-12 / 20) / chord.std()
    for samples, says in ((clean, 0), (clean + chord.astype(np.float32), 1)):
        with collect() as notes:
            assert alone(samples[None], RATE)[1] is None
        assert len(notes) == says


def test_shares_of_lift_and_movement_are_taken(spoken):
    recording, own = spoken
    height = own.octave[own.hz > 0].mean() - recording.median
    pitch = 0.8 + 0.1 * np.sin(np.arange(len(own.hz)))
    whole, still = (lay.taken(pitch, own, recording.median, *share) for share in ((1, 1), (0.5, 0)))
    np.testing.assert_allclose(whole, pitch, atol=1e-6)
    np.testing.assert_allclose(still, (height + pitch[own.hz > 0].mean()) / 2, atol=1e-6)


def test_a_reference_gives_its_melody_and_the_performance_its_height(spoken):
    recording, own = spoken
    laid = lay.contours(bank(), [0], own, recording.median)[0]
    rise = np.linspace(7.0, 7.8, len(own.hz))
    made = lay.sung(laid, own, own.cepstra, rise)
    assert np.median(made.pitch) == pytest.approx(np.median(laid.pitch), abs=1e-6)
    assert made.pitch[-5] - made.pitch[5] == pytest.approx(0.75, abs=0.1)


def test_the_place_of_a_clip_changes_what_is_proposed(spoken):
    recording, own = spoken
    n = len(own.hz)
    happy, sad = (plain(one_hot(name, n), np.ones(n)) for name in ("happy", "sad"))
    placed = happy._replace(embedding=sad.embedding, known=np.ones(n, np.float32))
    choose = lambda asked: chooser()(bank(), recording, 0, n, asked, 3, np.random.default_rng(0)).which
    emotions = [bank().performances[choose(asked)].emotion for asked in (happy, placed)]
    assert emotions == ["happy", "sad"]


def test_what_is_said_is_kept_by_a_new_pitch_and_lost_in_noise(spoken):
    recording, own = spoken
    plain_wave = recording.plain[recording.spans[0][0] * HOP : recording.spans[-1][1] * HOP]
    still = np.ones(len(own.hz))
    noise = np.random.default_rng(0).normal(0, 0.1, len(plain_wave)).astype(np.float32)
    assert kept(own, plain_wave, still) > 0.99
    assert kept(own, noise, still) < 0.3
