"""Sound as rows: their number, their place, and visemes on time."""

import numpy as np
import pytest
import torch
from faces import networks, tone

from talking_head.motion.speech import CLOSED, FRAME, ROWS, SILENT, VISEMES, log_mel
from talking_head.training import corpus


@pytest.mark.parametrize("samples", [1, 319, 640, 16_000, 16_321])
def test_four_rows_a_frame(samples):
    assert len(log_mel(np.zeros(samples, np.float32))) == ROWS * max(1, round(samples / FRAME))


def test_a_click_is_where_it_sounds():
    wave = np.zeros(16_000, np.float32)
    wave[160 * 50 + 80] = 1
    assert int(log_mel(wave).mean(1).argmax()) == 50


def test_blocks_are_the_whole():
    wave = tone(2.0)
    whole, parts = log_mel(wave), torch.cat((log_mel(wave[:16_000]), log_mel(wave[16_000:])))
    assert (whole - parts).abs().mean(1).gt(1e-4).sum() <= 4  # but for the rows at the seam


def test_encoder_hears_frames():
    speech, _ = networks()
    features, logits = speech(torch.randn(2, 40, 80))
    assert features.shape == (2, 10, 24) and logits.shape == (2, 10, len(VISEMES))


def test_visemes_fall_on_their_frames():
    rows = corpus.viseme_rows(["^", "b", "ˈ", "ɑ", " ", "m", "^"], [8, 4, 2, 6, 4, 4, 4], 0.025, 20)
    assert rows.shape == (20, len(VISEMES)) and np.allclose(rows.sum(1), 1)
    assert rows[:5, SILENT].min() == 1 and rows[5:7, CLOSED].min() == 1
    assert rows[14, CLOSED] == 1  # the second half of the gap between the words belongs to the m


def test_kinds_of_sound_are_apart():
    symbols = "".join(VISEMES)
    assert len(set(symbols)) == len(symbols)
