"""The recording laid out anew: the same where nothing is asked for, else at the pitch and pace that are asked for."""

import numpy as np
import pytest
import soxr
from speech import voice

from voice_conversion import features, psola
from voice_conversion.features import HOP, RATE


@pytest.fixture(scope="module")
def spoken():
    samples = features.cut(voice(1.2))
    return samples, features.track(samples)


def test_nothing_asked_for_is_the_recording(spoken):
    samples, hz = spoken
    made = psola.lay(samples[None], RATE, hz, features.filled(hz), np.arange(len(hz), dtype=float))[0]
    np.testing.assert_allclose(made, samples, atol=1e-4)


@pytest.mark.parametrize("octaves", [-0.4, 0.3, 0.7])
def test_the_pitch_moves_and_the_formants_stay(spoken, octaves):
    import torch

    samples, hz = spoken
    made = psola.lay(samples[None], RATE, hz, features.filled(hz) + octaves, np.arange(len(hz), dtype=float))[0]
    after = features.track(made)
    both = (after > 0) & (hz > 0)
    assert np.median(np.log2(after[both] / hz[both])) == pytest.approx(octaves, abs=0.02)
    mels = [features.mel(torch.from_numpy(x)[None])[0].numpy()[both].mean(0) for x in (samples, made)]
    smooth = [np.convolve(mel[:60], np.ones(9) / 9, "valid") for mel in mels]
    assert np.corrcoef(*smooth)[0, 1] > 0.9


@pytest.mark.parametrize("pace", [0.8, 1.3])
def test_the_pace_moves_and_the_pitch_stays(spoken, pace):
    samples, hz = spoken
    at = psola.places(np.full(len(hz), 1 / pace))
    made = psola.lay(samples[None], RATE, hz, features.filled(hz), at)[0]
    assert len(made) == len(at) * HOP and len(at) == pytest.approx(len(hz) / pace, abs=1)
    after, before = features.track(made), hz[np.rint(at).astype(int).clip(0, len(hz) - 1)]
    both = (after > 0) & (before > 0)
    assert both.sum() > 0.8 * (before > 0).sum()
    assert np.median(np.abs(np.log2(after[both] / before[both]))) < 0.01


def test_marks_are_a_period_apart(spoken):
    samples, hz = spoken
    at, voiced = psola.marks(samples, RATE, hz)
    inside = voiced[:-1] & voiced[1:]
    periods = features.RATE / hz[np.minimum(at // HOP, len(hz) - 1)[:-1][inside]]
    assert np.median(np.abs(np.diff(at)[inside] / periods - 1)) < 0.02
    assert (np.diff(at) > 0).all()


def test_what_has_no_voice_and_hardly_a_length_passes():
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * HOP).astype(np.float32)
    hz = np.zeros(4, np.float32)
    np.testing.assert_allclose(psola.lay(noise[None], RATE, hz, np.full(4, 7.0), np.arange(4.0))[0], noise, atol=1e-6)
    longer = psola.lay(noise[None], RATE, hz, np.full(4, 7.0), psola.places(np.full(4, 2.0)))[0]
    assert len(longer) == 8 * HOP and longer.std() > 0.03


def test_places_follow_a_pace_that_changes():
    at = psola.places(np.concatenate((np.full(50, 0.5), np.full(50, 2.0))))
    assert len(at) == 125 and at[24] == pytest.approx(48.5, abs=1) and (np.diff(at) > 0).all()


@pytest.mark.parametrize("hz", [90.0, 140.0, 200.0, 333.0])
def test_marks_rise_also_where_a_voice_lasts_to_the_end(hz):
    for frames in range(40, 60):
        samples = np.sin(2 * np.pi * hz * np.arange(frames * HOP) / features.RATE).astype(np.float32)
        at, voiced = psola.marks(samples, RATE, np.full(frames, hz, np.float32))
        assert (np.diff(at) > 0).all() and len(at) == len(voiced)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_any_rate_and_several_channels_get_the_same_periods(rate):
    samples = voice(1.0, 130.0, rate=rate)
    frames = int(len(samples) * RATE / rate) // HOP
    hz = features.track(features.cut(voice(1.0, 130.0)))[:frames]
    both = np.stack([samples, -0.5 * samples])
    made = psola.lay(both, rate, hz, features.filled(hz) + 0.4, np.arange(frames, dtype=float))
    assert made.shape == (2, round(frames * HOP * rate / RATE))
    np.testing.assert_allclose(made[1], -0.5 * made[0], atol=1e-5)
    again = features.track(features.cut(soxr.resample(made[0], rate, RATE)))
    both = (again[:frames] > 0) & (hz[: len(again)] > 0)
    assert np.median(np.log2(again[: len(both)][both] / hz[both])) == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("rate", [RATE, 48000])
def test_a_filter_moves_bands_by_what_is_asked(rate):
    samples = np.random.default_rng(0).normal(0, 0.05, (1, rate)).astype(np.float32)
    np.testing.assert_allclose(psola.filtered(samples, rate, np.zeros((86, 80))), samples, atol=1e-5)
    change = np.zeros((86, 80))
    change[:, 40:] = np.log(2)
    made = psola.filtered(samples, rate, change)
    spectrum = lambda x: np.abs(np.fft.rfft(x[0, 4000:-4000])) ** 2
    hz = np.fft.rfftfreq(rate - 8000, 1 / rate)
    ratio = lambda low, high: (
        10
        * np.log10(spectrum(made)[(hz > low) & (hz < high)].sum() / spectrum(samples)[(hz > low) & (hz < high)].sum())
    )
    assert abs(ratio(100, 1000)) < 0.3 and ratio(4000, 7000) == pytest.approx(6.0, abs=0.4)
    assert ratio(8500, 10000) == pytest.approx(6.0, abs=0.5)


def test_noise_between_the_harmonics_falls():
    time = np.arange(features.RATE // HOP * HOP) / features.RATE
    tone = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 20))
    samples = (0.1 * tone + np.random.default_rng(0).normal(0, 0.02, len(time))).astype(np.float32)
    hz = np.full(len(time) // HOP, 150.0, np.float32)
    made = psola.lay(samples[None], RATE, hz, np.full(len(hz), np.log2(200.0)), np.arange(len(hz), dtype=float))[0]

    def noise(wave: np.ndarray, pitch: float) -> float:
        """Share of the power that is not at multiples of a pitch."""
        power = np.abs(np.fft.rfft(wave[4000:-4000] * np.hanning(len(wave) - 8000))) ** 2
        at = np.fft.rfftfreq(len(wave) - 8000, 1 / RATE)
        away = np.abs(at / pitch - np.round(at / pitch)) * pitch > 10
        return power[away].sum() / power.sum()

    assert noise(made, 200.0) < 0.8 * noise(samples, 150.0)
