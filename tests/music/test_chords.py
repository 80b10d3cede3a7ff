"""Chord symbols of simple progressions."""

import tracemalloc

import numpy as np
import pytest

from music import chords
from music.beats import Beats
from music.chords import NAMES, NONE, QUALITIES, ROOTS, TONES, estimate, profiles


def played(symbols: list[str], each: int = 4, low: int = 48) -> tuple[np.ndarray, Beats]:
    """Block chords of ``each`` beats at 100 bpm over their roots in the bass."""
    rows = []
    for i, symbol in enumerate(symbols):
        root, quality = symbol.split("_")
        start, end = i * each * 0.6, (i + 1) * each * 0.6
        pitches = [ROOTS.index(root) + low + tone for tone in TONES[QUALITIES.index(quality)]]
        rows += [(start, end, pitch, 70) for pitch in [pitches[0] - 12, *pitches]]
    return np.array(rows, dtype=float), Beats(np.arange(len(symbols) * each) * 0.6, 0)


def test_names_are_all_symbols():
    assert len(set(NAMES)) == 12 * len(QUALITIES) + 1 == 133


@pytest.mark.parametrize(
    "progression",
    [
        ["C_M", "A_m", "F_M", "G_M"],
        ["D_m7", "G_7", "C_M7", "C_M7"],
        ["F#_m", "D_M", "A_M", "E_M"],
        ["B_/o7", "E_7", "A_m", "A_m"],
    ],
    ids="-".join,
)
def test_progression(progression):
    notes, beats = played(progression)
    assert estimate(notes, beats) == [symbol for symbol in progression for _ in range(4)]


@pytest.mark.parametrize("quality", QUALITIES)
def test_every_quality_can_be_heard(quality):
    notes, beats = played([f"D_{quality}"] * 2)
    assert set(estimate(notes, beats)) == {f"D_{quality}"}


def test_transposition_moves_every_root():
    progression = ["C_M", "A_m", "F_M7", "G_sus4"]
    notes, beats = played(progression)
    notes[:, 2] += 3
    roots = [symbol.split("_")[0] for symbol in estimate(notes, beats)]
    assert roots[::4] == ["D#", "C", "G#", "A#"]


def test_silence_is_no_chord():
    beats = Beats(np.arange(8) * 0.5, 0)
    assert estimate(np.zeros((0, 4)), beats) == [NONE] * 8
    notes, beats = played(["C_M", "C_M"])
    late = Beats(np.arange(24) * 0.6, 0)
    assert estimate(notes, late)[-8:] == [NONE] * 8


def test_passing_notes_do_not_change_the_chord():
    notes, beats = played(["C_M", "F_M"])
    passing = np.array([[0.3, 0.6, 74, 60], [0.9, 1.2, 77, 60], [1.5, 1.8, 71, 60]])
    assert estimate(np.concatenate([notes, passing]), beats) == ["C_M"] * 4 + ["F_M"] * 4


def test_memory_does_not_grow_with_the_square_of_a_piece():
    rng = np.random.default_rng(0)
    start = np.sort(rng.uniform(0, 2000, 20_000))
    end, pitch = start + rng.uniform(0.1, 1, len(start)), rng.integers(36, 96, len(start))
    notes = np.column_stack((start, end, pitch, np.full(len(start), 70)))
    tracemalloc.start()
    profiles(notes, np.arange(0, 2000, 0.5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # all beats by all notes at once are 640 MB, several times over


def test_profiles_are_the_same_however_many_beats_are_weighed_at_once(monkeypatch):
    notes, beats = played(["C_M", "A_m", "F_M", "G_M"] * 8)
    notes[::7, 1] += 9.0  # some sound on for many beats
    whole = profiles(notes, beats.times)
    monkeypatch.setattr(chords, "BLOCK", 5)
    for one, other in zip(whole, profiles(notes, beats.times), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
