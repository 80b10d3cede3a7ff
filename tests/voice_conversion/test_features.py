"""Mel, pitch and loudness: against definitions, against another library's numbers, against known sounds."""

import numpy as np
import pytest
import torch
from speech import voice

from gen import mel
from voice_conversion import features
from voice_conversion.features import BANDS, FLOOR, HOP, RATE


def test_mel_scale_is_its_own_inverse_and_has_its_known_points():
    hz = np.array([0.0, 200.0, 1000.0, 4000.0, 8000.0])
    for scale in ("htk", "slaney"):
        np.testing.assert_allclose(mel.hertz(mel.mel(hz, scale), scale), hz, atol=1e-6)
    np.testing.assert_allclose(mel.mel([1000.0, 6400.0], "slaney"), [15.0, 42.0], atol=1e-9)


def test_bands_have_unit_area():
    width = RATE / features.FFT
    np.testing.assert_allclose(features.filters().numpy()[:, 40:].sum(0) * width, 1, atol=0.05)


def test_mel_has_a_row_for_each_hop_and_a_floor():
    rows = features.mel(torch.zeros(2, 10 * HOP))
    assert rows.shape == (2, 10, BANDS)
    assert rows.min() >= np.log(FLOOR) - 1e-4


def test_a_tone_is_in_its_band():
    t = np.arange(RATE // HOP * HOP) / RATE
    rows = features.mel(torch.from_numpy(0.3 * np.sin(2 * np.pi * 1500 * t)).float()[None])[0]
    assert abs(features.centres()[int(rows[20].argmax())] - 1500) < 60


@pytest.mark.parametrize("hz", [85.0, 140.0, 260.0, 480.0])
def test_pitch_is_found(hz):
    track = features.track(features.cut(voice(1.0, hz, glide=0.3)))
    voiced = track > 0
    wanted = hz * 2 ** (0.3 * np.arange(len(track)) / len(track))
    assert voiced.mean() > 0.4
    assert np.median(np.abs(np.log2(track[voiced] / wanted[voiced]))) < 0.01


def test_noise_and_silence_have_no_pitch():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert (features.track(features.cut(noise)) > 0).mean() < 0.1
    assert not features.track(np.zeros(20 * HOP, np.float32)).any()


def test_loudness_counts_the_loud_frames_alone():
    loud = np.full(40 * HOP, 0.1, np.float32)
    assert features.loudness(loud) == pytest.approx(0.1, rel=1e-4)
    assert features.loudness(np.concatenate((loud, np.zeros_like(loud)))) == pytest.approx(0.1, rel=1e-3)
    assert features.loudness(np.zeros(RATE, np.float32)) == 0.0


def test_a_track_is_filled_between_voices():
    np.testing.assert_allclose(features.filled(np.array([0, 128.0, 0, 512.0, 0])), [7, 7, 8, 9, 9])
    np.testing.assert_allclose(features.filled(np.zeros(3)), np.log2(120.0))


def test_a_pitch_is_tracked_in_blocks_as_in_one(monkeypatch):
    samples = features.cut(voice(1.5))
    whole = features.track(samples)
    monkeypatch.setattr(features, "BLOCK", 7)
    np.testing.assert_allclose(features.track(samples), whole, rtol=1e-4)
