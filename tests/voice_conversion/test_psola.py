"""The recording laid out anew: the same where nothing is asked for, else at the pitch and pace that are asked for."""

import numpy as np
import pytest
from speech import voice

from voice_conversion import features, psola
from voice_conversion.features import HOP


@pytest.fixture(scope="module")
def spoken():
    samples = features.cut(voice(1.2))
    return samples, features.track(samples)


def test_nothing_asked_for_is_the_recording(spoken):
    samples, hz = spoken
    made = psola.lay(samples, hz, features.filled(hz), np.arange(len(hz), dtype=float))
    np.testing.assert_allclose(made, samples, atol=1e-4)


@pytest.mark.parametrize("octaves", [-0.4, 0.3, 0.7])
def test_the_pitch_moves_and_the_formants_stay(spoken, octaves):
    import torch

    samples, hz = spoken
    made = psola.lay(samples, hz, features.filled(hz) + octaves, np.arange(len(hz), dtype=float))
    after = features.track(made)
    both = (after > 0) & (hz > 0)
    assert np.median(np.log2(after[both] / hz[both])) == pytest.approx(octaves, abs=0.02)
    mels = [features.mel(torch.from_numpy(x)[None])[0].numpy()[both].mean(0) for x in (samples, made)]
    smooth = [np.convolve(mel[:60], np.ones(9) / 9, "valid") for mel in mels]
    assert np.corrcoef(*smooth)[0, 1] > 0.9


@pytest.mark.parametrize("pace", [0.8, 1.3])
def test_the_pace_moves_and_the_pitch_stays(spoken, pace):
    samples, hz = spoken
    at = psola.places(np.full(len(hz), pace))
    made = psola.lay(samples, hz, features.filled(hz), at)
    assert len(made) == len(at) * HOP and len(at) == pytest.approx(len(hz) / pace, abs=1)
    after, before = features.track(made), hz[np.rint(at).astype(int).clip(0, len(hz) - 1)]
    both = (after > 0) & (before > 0)
    assert both.sum() > 0.8 * (before > 0).sum()
    assert np.median(np.abs(np.log2(after[both] / before[both]))) < 0.01


def test_marks_are_a_period_apart(spoken):
    samples, hz = spoken
    at, voiced = psola.marks(samples, hz)
    inside = voiced[:-1] & voiced[1:]
    periods = features.RATE / hz[np.minimum(at // HOP, len(hz) - 1)[:-1][inside]]
    assert np.median(np.abs(np.diff(at)[inside] / periods - 1)) < 0.02
    assert (np.diff(at) > 0).all()


def test_what_has_no_voice_and_hardly_a_length_passes():
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * HOP).astype(np.float32)
    hz = np.zeros(4, np.float32)
    np.testing.assert_allclose(psola.lay(noise, hz, np.full(4, 7.0), np.arange(4.0)), noise, atol=1e-6)
    longer = psola.lay(noise, hz, np.full(4, 7.0), psola.places(np.full(4, 0.5)))
    assert len(longer) == 8 * HOP and longer.std() > 0.03


def test_places_follow_a_pace_that_changes():
    at = psola.places(np.concatenate((np.full(50, 2.0), np.full(50, 0.5))))
    assert len(at) == 125 and at[24] == pytest.approx(48.5, abs=1) and (np.diff(at) > 0).all()


@pytest.mark.parametrize("hz", [90.0, 140.0, 200.0, 333.0])
def test_marks_rise_also_where_a_voice_lasts_to_the_end(hz):
    for frames in range(40, 60):
        samples = np.sin(2 * np.pi * hz * np.arange(frames * HOP) / features.RATE).astype(np.float32)
        at, voiced = psola.marks(samples, np.full(frames, hz, np.float32))
        assert (np.diff(at) > 0).all() and len(at) == len(voiced)
