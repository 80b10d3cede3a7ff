"""The voice recogniser: its output depends only on the recording and its reference."""

import numpy as np
import pytest
import soxr

from gen.emotion.embedding import features
from gen.emotion.embedding.recogniser import Recogniser
from gen.errors import InputError


def spoken(hz: float, seconds: float = 1.5) -> np.ndarray:
    t = np.arange(int(seconds * features.RATE)) / features.RATE
    return (0.2 * np.sign(np.sin(2 * np.pi * hz * t)) * np.sin(np.pi * t / seconds)).astype(np.float32)


def test_a_batch_equals_single_recordings():
    recogniser, sounds = Recogniser.load(), [spoken(120), spoken(220, 2.2), spoken(330, 1.0)]
    known = recogniser.reference([spoken(150)])
    for reference in (None, known):
        both = recogniser(sounds, reference)
        assert both.probabilities.shape == (3, 7) and both.mu.shape == both.log_var.shape == (3, 256)
        assert np.allclose(both.probabilities.sum(1), 1, atol=1e-5) and np.allclose(both.terms.sum(1), 1, atol=1e-5)
        for i, own in enumerate(sounds):
            assert np.allclose(recogniser([own], reference).mu[0], both.mu[i], atol=1e-3)
    assert not np.allclose(recogniser(sounds).mu, recogniser(sounds, known).mu, atol=1e-2)


def test_level_and_rate_have_no_effect():
    recogniser, sound = Recogniser.load(), spoken(180)
    loud = recogniser([sound]).probabilities
    assert np.allclose(recogniser([0.05 * sound]).probabilities, loud, atol=0.03)
    assert np.allclose(recogniser([soxr.resample(sound, 16_000, 22_050)], rate=22_050).probabilities, loud, atol=0.05)


def test_silence_is_refused():
    with pytest.raises(InputError, match="silent"):
        Recogniser.load()([np.zeros(16_000, np.float32)])
