"""Guidance is distilled into the prior."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from grids import VOCABULARY, random_grid

from apps.embedding import music_guidance as subject
from music.tokens import encode
from music.training.corpus import Piece
from music.training.train import Settings, build

TINY = Settings(size="tiny", batch=2, length=48, device="cpu")


def told(**chosen) -> subject.Told:
    rows = [encode(random_grid(np.random.default_rng(seed), 4, 0.2), VOCABULARY) for seed in range(4)]
    pieces = [Piece(own, np.full((4, 2), 0.7, np.float32), True, "emopia", "train") for own in rows]
    return subject.Told(pieces, np.zeros((4, 256), np.float32), subject.Settings(**chosen), TINY)


def test_passages_are_told_their_own_labels_or_points_that_change_once_at_most():
    own, other = told(placed=0.0, any=0.0), told(placed=0.0, any=1.0)
    for one in own.tracks(own.batch()):
        np.testing.assert_allclose(one.vad[:, :2], 0.7, atol=1e-6)
    for _ in range(5):
        for one in other.tracks(other.batch()):
            changes = np.any(np.diff(one.vad[:, :2], axis=0) != 0, axis=1)
            assert changes.sum() <= 1 and np.abs(one.vad).max() <= 1 and not np.allclose(one.vad[:, :2], 0.7)


@pytest.mark.slow
def test_the_prior_learns_the_guided_distribution_of_its_original():
    autoencoder, teacher = build(TINY)
    autoencoder.eval().requires_grad_(False)
    teacher.eval().requires_grad_(False)
    with torch.no_grad():
        teacher.cond_in.weight.mul_(20)  # an untrained prior hardly reads its condition
    student, data = deepcopy(teacher).requires_grad_(True), told(placed=0.0)
    same, _ = subject.loss(student, teacher, autoencoder, data, 1.0)
    assert float(same.detach()) == pytest.approx(0, abs=1e-5)
    optimiser, seen = torch.optim.AdamW(student.parameters(), 3e-3), []
    for _ in range(60):
        value, named = subject.loss(student, teacher, autoencoder, data, 3.0)
        value.backward()
        optimiser.step()
        optimiser.zero_grad()
        seen.append(float(named["divergence"]))
    assert np.mean(seen[-10:]) < 0.5 * np.mean(seen[:5])
