"""Beat tracking of synthetic performances."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from music import beats
from music.beats import cover, events, track


def performance(beat_times: np.ndarray, seed: int = 0) -> np.ndarray:
    """Bars of I-vi-IV-V: bass and chord on beats 1 and 3, eighths above; 10 ms of jitter. Notes (n, 4)."""
    rng = np.random.default_rng(seed)
    rows = []
    for i, (start, end) in enumerate(pairwise(beat_times)):
        root, third = ((48, 4), (45, 3), (41, 4), (43, 4))[i // 4 % 4]
        step = end - start
        if i % 2 == 0:
            length = 4 if i % 4 == 0 else 2
            rows += [(start, start + length * step, root - 12 * (i % 4 == 0), 80 - 10 * (i % 4 == 2))]
            rows += [(start, start + 2 * step, root + 12 + x, 62) for x in (0, third, 7)]
        rows += [
            (start + part * step, start + (part + 0.5) * step, root + 24 + rng.choice([0, third, 7]), 70)
            for part in (0.0, 0.5)
        ]
    notes = np.array(rows)
    notes[:, :2] += rng.normal(0, 0.01, (len(notes), 1))
    return notes[np.lexsort((-notes[:, 2], notes[:, 0]))]


def hits(truth: np.ndarray, found: np.ndarray) -> float:
    return float((np.abs(truth[:, None] - found[None]).min(axis=1) < 0.05).mean())


@pytest.mark.parametrize("bpm", [66, 80, 100])
def test_metronomic_beats_and_bar_lines(bpm):
    truth = 1.3 + np.arange(49) * 60 / bpm
    grid = track(performance(truth))
    assert np.median(np.diff(grid.times)) == pytest.approx(60 / bpm, rel=0.01)
    assert hits(truth, grid.times) > 0.97
    assert hits(truth[::4], grid.times[grid.downbeat :: 4]) > 0.97


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_drifting_tempo_is_followed(seed):
    lengths = 0.65 * np.exp(0.15 * np.sin(np.arange(64) / 9 + seed))
    truth = np.cumsum(lengths)
    grid = track(performance(truth, seed))
    assert hits(truth, grid.times) > 0.95
    assert hits(truth[::4], grid.times[grid.downbeat :: 4]) > 0.9


def test_grid_encloses_the_notes():
    truth = 5.0 + np.arange(33) * 0.7
    notes = performance(truth)
    notes[-1, 1] += 6.0
    grid = track(notes)
    assert grid.times[0] <= notes[0, 0] + 0.05
    assert grid.times[-1] > notes[:, 1].max()
    assert (np.diff(grid.times) > 0.2).all()
    assert 0 <= grid.downbeat < 4


def test_later_start_moves_the_grid_along():
    notes = performance(np.arange(33) * 0.7)
    moved = notes.copy()
    moved[:, :2] += 3.0
    one, two = track(notes), track(moved)
    np.testing.assert_allclose(two.times - 3.0, one.times, atol=0.02)
    assert one.downbeat == two.downbeat


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_notes_give_a_sane_grid(count):
    notes = np.array([[2.0 + 0.6 * i, 3.5 + 0.6 * i, 60, 70] for i in range(count)]).reshape(-1, 4)
    grid = track(notes)
    steps = np.diff(grid.times)
    assert len(grid.times) >= 4
    assert ((steps > 0.25) & (steps < 1.2)).all()
    assert 0 <= grid.downbeat < 4
    if count:
        assert grid.times[0] <= 2.05
        assert grid.times[-1] > notes[-1, 1]


def test_chords_are_one_event():
    notes = np.array([[1.0, 2, 60, 70], [1.01, 2, 64, 70], [1.03, 2, 67, 70], [1.5, 2, 72, 70]])
    assert events(notes).which.tolist() == [0, 0, 0, 1]


def test_cover_extends_by_the_local_tempo():
    grid = cover(np.array([10.0, 10.5, 11.0]), 8.9, 12.0)
    np.testing.assert_allclose(grid, np.arange(8.5, 12.6, 0.5))


def test_beats_are_the_same_however_many_frames_are_weighed_at_once(monkeypatch):
    notes = performance(np.arange(0.5, 40, 0.55))
    whole = track(notes)
    monkeypatch.setattr(beats, "BLOCK", 300)
    np.testing.assert_allclose(track(notes).times, whole.times, atol=1e-9)
    assert track(notes).downbeat == whole.downbeat


@pytest.mark.slow
def test_a_long_performance_is_tracked_in_little_memory():
    notes = performance(np.arange(0.5, 240, 0.55))
    tracemalloc.start()
    track(notes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6  # four tables of frames by beat lengths would be 37 MB
