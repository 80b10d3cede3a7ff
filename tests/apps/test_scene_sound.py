"""Loudness, ducking and the mix of a scene."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.scene import sound
from apps.scene.sound import FRAME, RATE


def noise(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    """(2, n) at ``level`` dBFS RMS, with more power in the bass, like music and speech."""
    white = np.random.default_rng(seed).standard_normal((2, round(seconds * RATE)))
    pink = np.cumsum(white, 1) - np.cumsum(np.pad(white, ((0, 0), (200, 0))), 1)[:, :-200]
    return pink / np.sqrt(np.square(pink).mean()) * 10 ** (level / 20)


def phrases() -> np.ndarray:
    """Speech-like: 3 s of silence, 4 s with a pause of half a second, 3 s of silence."""
    speech = noise(10, -25)
    speech[:, : 3 * RATE] = speech[:, 7 * RATE :] = 0
    speech[:, round(4.5 * RATE) : 5 * RATE] = 0
    return speech


def test_a_full_scale_sine_has_the_standard_loudness():
    times = np.arange(3 * 48000) / 48000
    sine = np.sin(2 * np.pi * 997 * times)[None]
    assert sound.loudness(sine, 48000) == pytest.approx(-3.01, abs=0.02)
    assert sound.loudness(np.repeat(sine, 2, 0), 48000) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_loudness_equals_that_of_another_meter(rate):
    meter = pytest.importorskip("pyloudnorm").Meter(rate)
    samples = noise(6, -20, 3)[:, : 6 * rate]
    samples[:, : 2 * rate] *= 0.01
    assert sound.loudness(samples, rate) == pytest.approx(meter.integrated_loudness(samples.T), abs=0.1)


def test_silence_has_minus_infinite_loudness():
    assert sound.loudness(np.zeros((2, RATE))) == -np.inf


@settings(max_examples=8)
@given(st.floats(10, 24), st.floats(0, 12), st.floats(-40, -6))
def test_music_is_below_the_speech_and_the_mix_has_the_target_loudness(under, swell, level):
    mix = sound.mixed(phrases(), noise(10, level, 1), under, swell)
    active = sound.spoken(mix.speech)
    over = sound.loudness_where(mix.speech, active) - sound.loudness_where(mix.music, active)
    assert over == pytest.approx(under, abs=0.7) and over >= 10 - 0.7
    assert sound.loudness(mix.whole) == pytest.approx(sound.TARGET, abs=0.3)
    assert np.abs(mix.whole).max() < 1


def test_pauses_between_words_do_not_pump():
    active = sound.spoken(phrases())
    assert active[round(3.2 / FRAME) : round(6.8 / FRAME)].all()
    assert not active[: round(2.5 / FRAME)].any()
    gain = sound.ducked(active, 8.0)
    assert gain[round(2.9 / FRAME)] == pytest.approx(-8, abs=0.5)  # down before the first word
    assert gain[0] == pytest.approx(0, abs=0.01) and gain[-1] == pytest.approx(0, abs=0.01)
    assert np.abs(np.diff(gain)).max() < 0.5  # dB per 10 ms: no audible step


def test_one_part_alone():
    assert sound.loudness(sound.mixed(None, noise(5, -30), 14, 8).whole) == pytest.approx(sound.TARGET, abs=0.3)
    mix = sound.mixed(phrases(), None, 14, 8)
    assert sound.loudness(mix.whole) == pytest.approx(sound.TARGET, abs=0.3) and not mix.music.any()
