import json

import numpy as np
import pytest
import torch
from clips import write_clips

from gen import checkpoints
from music.evaluation.judge import Judge, on_bars, piece_features
from music.reading import note_features
from music.training import judge as subject
from music.training.emopia import snap


def piece(quadrant, seed, seconds=24.0):
    """Q1, Q2 fast and loud, Q3, Q4 slow and soft; Q1, Q4 major, Q2, Q3 minor."""
    rng = np.random.default_rng(seed)
    lively, third = quadrant in (1, 2), 4 if quadrant in (1, 4) else 3
    step, loud = (0.25, 95) if lively else (0.8, 50)
    starts = np.arange(0, seconds, step) + rng.normal(0, 0.01, int(np.ceil(seconds / step)))
    root = rng.integers(48, 60)
    rows = []
    for start in np.maximum(starts, 0):
        for tone in rng.permutation([0, third, 7, 12])[:2]:
            rows.append((start, start + 2 * step, root + tone, np.clip(rng.normal(loud, 6), 1, 127)))
    notes = np.array(rows)
    return notes[np.lexsort((-notes[:, 2], notes[:, 0]))]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    write_clips(data, piece, {"train": 8, "valid": 1, "test": 2})
    return data


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("judge") / "out"
    sizes = subject.Settings(members=2, width=16, epochs=10, copies=3, batch=8, rate=0.005)
    subject.train(corpus, out, None, sizes)
    return out


def tiny():
    torch.manual_seed(0)
    return Judge(members=2, width=16).eval()


def test_a_judgement_does_not_depend_on_its_company():
    pieces = [piece(q, q, 6.0 * q) for q in (1, 2, 3, 4)]
    judge = tiny()
    together, alone = judge(pieces), [judge([notes]) for notes in pieces]
    for whole, parts in zip(together, zip(*alone, strict=True), strict=True):
        np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-5)


def test_probabilities_add_up():
    told = tiny()([piece(1, 0), piece(3, 1)])
    np.testing.assert_allclose(told.quadrant.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(told.valence, told.quadrant[:, [0, 3]].sum(axis=1))
    np.testing.assert_allclose(told.arousal, told.quadrant[:, [0, 1]].sum(axis=1))


def test_transposing_changes_nothing_but_height():
    notes = piece(2, 5)
    moved = notes + np.array([0, 0, 3, 0])
    np.testing.assert_allclose(note_features(notes)[:, 1:], note_features(moved)[:, 1:], atol=1e-5)
    height = [6, 11, 12]
    np.testing.assert_allclose(
        np.delete(piece_features(notes), height), np.delete(piece_features(moved), height), atol=1e-4
    )


def test_snapping_puts_notes_on_the_grid_and_keeps_their_order():
    snapped = snap(piece(1, 2), 0.125)
    steps = snapped[:, :2] / 0.125
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)
    assert (np.diff(snapped[:, 0]) >= 0).all()
    assert (np.diff(steps, axis=1) >= 1).all()
    assert (snapped[:, 3] % 3 == 0).all()


def test_tokens_keep_pitches_and_nearly_the_onsets():
    notes = piece(4, 3)
    kept, bars = on_bars(notes)
    assert sorted(kept[:, 2]) == pytest.approx(sorted(notes[:, 2]))
    assert (np.diff(bars) > 0).all()
    gaps = np.diff(kept[:, 0]) - np.diff(notes[:, 0])
    assert np.median(np.abs(gaps)) < 0.1


def test_calibration_recovers_a_temperature():
    judge, rng = tiny(), np.random.default_rng(0)
    pieces = [piece(q, s, 5.0) for q in (1, 2, 3, 4) for s in range(20)]
    sharp = judge(pieces).quadrant ** 4
    sharp /= sharp.sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(4, p=p / p.sum()) for p in sharp.astype(np.float64)])
    subject.calibrate(judge, pieces, labels)
    before = -np.log(judge(pieces).quadrant[np.arange(80), labels]).mean()
    for temperature in (0.5, 2.0):
        judge.temperature.fill_(temperature)
        assert before <= -np.log(judge(pieces).quadrant[np.arange(80), labels]).mean() + 1e-6


@pytest.mark.slow
def test_training_tells_quadrants_of_unheard_songs(trained):
    report = json.loads((trained / "report.json").read_text())
    value, low, high = report["test"]["quadrant"]
    assert value >= 0.75
    assert low <= value <= high
    judge = Judge.load(trained)
    told = judge([piece(q, 900 + q) for q in (1, 2, 3, 4)])
    assert (told.arousal > 0.5).tolist() == [True, True, False, False]


@pytest.mark.slow
def test_saved_judge_is_half_precision_and_loads_as_single(trained):
    from safetensors.torch import load_file

    kept = load_file(trained / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float16}
    loaded = Judge.load(trained)
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, kept[name].float(), rtol=0, atol=0)


@pytest.mark.slow
def test_no_voter_begins_after_the_time_is_up(corpus, tmp_path):
    sizes = subject.Settings(members=3, width=8, epochs=1, copies=1, batch=8)
    subject.train(corpus, tmp_path / "out", 0.0, sizes)
    assert len(Judge.load(tmp_path / "out").voters) == 1


def test_the_shipped_judge_is_small_and_hears_arousal():
    assert sum(path.stat().st_size for path in checkpoints.folder("music-judge").iterdir()) < 1_000_000
    told = Judge.load()([piece(q, q) for q in (1, 2, 3, 4)])
    assert (told.arousal > 0.5).tolist() == [True, True, False, False]
