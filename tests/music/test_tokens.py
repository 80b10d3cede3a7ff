"""Compound words: nothing is lost between a grid and its rows, and no broken rule passes."""

import json

import numpy as np
import pytest
from grids import VOCABULARY, grids, numbers, random_grid, same, song
from hypothesis import given, settings
from hypothesis import strategies as st

from music.beats import Beats
from music.score import to_notes
from music.tokens import (
    BAR,
    BEAT,
    CHORD,
    CONTI,
    DURATION,
    ELEMENTS,
    EOS,
    FIRST_BEAT,
    METRICAL,
    NOTE,
    PITCH,
    START,
    TEMPO,
    TYPE,
    VELOCITY,
    Vocabulary,
    decode,
    encode,
    quantise,
    violation,
)

# ----------------------------------------------------------------- vocabulary


def test_ids_with_a_meaning_stand_where_the_grammar_expects_them():
    v = VOCABULARY.values
    assert v["beat"][BAR] == "Bar" and v["beat"][FIRST_BEAT] == "Beat_0"
    assert v["tempo"][CONTI] == v["chord"][CONTI] == "CONTI"
    assert [v["type"][i] for i in (EOS, START, METRICAL, NOTE)] == ["EOS", "Emotion", "Metrical", "Note"]
    assert all(v[e][0] == 0 for e in ELEMENTS if e != "type")


def test_numbers_rise_with_ids_and_are_missing_where_there_is_no_order():
    for element in ("tempo", "beat", "pitch", "duration", "velocity"):
        known = numbers(element)[~np.isnan(numbers(element))]
        assert np.all(np.diff(known) > 0)
    assert np.isnan(numbers("chord")).all() and np.isnan(numbers("type")).all()
    assert np.isnan(numbers("tempo")[:2]).all() and np.isnan(numbers("beat")[:2]).all()
    np.testing.assert_array_equal(numbers("beat")[FIRST_BEAT:], np.arange(16))


@pytest.mark.parametrize("index", [TEMPO, PITCH, DURATION, VELOCITY])
@given(value=st.floats(-50, 400))
def test_nearest_is_nearest(index, value):
    known = VOCABULARY.numbers(index)
    found = VOCABULARY.nearest(index, value)
    assert abs(known[found] - value) == np.nanmin(np.abs(known - value))


@pytest.mark.parametrize("index", [TEMPO, PITCH, DURATION, VELOCITY])
def test_nearest_of_a_known_number_is_its_id(index):
    known = VOCABULARY.numbers(index)
    for id_ in np.flatnonzero(~np.isnan(known)):
        assert VOCABULARY.nearest(index, known[id_]) == id_


def test_nearest_asks_for_no_order_of_ids():
    values = dict(VOCABULARY.values) | {"velocity": [0, 100, 20, 60]}
    assert [Vocabulary(values).nearest(VELOCITY, v) for v in (0, 30, 50, 127)] == [2, 2, 3, 1]


def test_a_vocabulary_survives_its_file(tmp_path):
    VOCABULARY.save(tmp_path / "v.json")
    again = Vocabulary.load(tmp_path / "v.json")
    assert again.values == VOCABULARY.values and again.sizes == VOCABULARY.sizes
    assert json.loads((tmp_path / "v.json").read_text())["beat"][1] == "Bar"


# ------------------------------------------------------------- encode, decode


@settings(max_examples=60)
@given(grid=grids())
def test_a_grid_comes_back_from_its_rows_and_the_rows_from_it(grid):
    rows = encode(grid, VOCABULARY)
    assert violation(rows) is None
    assert rows.dtype == np.int16 and rows.shape[1] == 7
    same(decode(rows, VOCABULARY), grid)
    np.testing.assert_array_equal(encode(decode(rows, VOCABULARY), VOCABULARY), rows)


@settings(max_examples=30)
@given(grid=grids())
def test_tempo_and_chord_are_said_only_when_they_change(grid):
    rows = encode(grid, VOCABULARY)
    for element in (TEMPO, CHORD):
        said = rows[rows[:, element] > CONTI, element]
        assert len(said) and np.all(np.diff(said) != 0)
    first = np.flatnonzero(rows[:, BEAT] == BAR) + 1
    named = np.flatnonzero(rows[:, TEMPO] > CONTI)
    assert set(named) <= set(first)


def test_values_between_those_of_the_vocabulary_go_to_the_nearest():
    grid = random_grid(np.random.default_rng(0), 2)
    rough = grid._replace(notes=grid.notes + np.array([0, 0, 0.2, 1.4]), tempo=grid.tempo + 1.2)
    back = decode(encode(rough, VOCABULARY), VOCABULARY)
    assert np.abs(back.notes[:, 3] - rough.notes[:, 3]).max() <= 2.5
    assert np.abs(back.notes[:, 2] - rough.notes[:, 2]).max() <= 0.5
    assert np.abs(back.tempo - rough.tempo).max() <= 1.5


# ------------------------------------------------------------------ the rules

BAR_ROW = (0, 0, BAR, METRICAL, 0, 0, 0)
NOTE_ROW = (0, 0, 0, NOTE, 40, 3, 10)


def position(k, tempo=20, chord=5):
    return (tempo, chord, FIRST_BEAT + k, METRICAL, 0, 0, 0)


VALID = [BAR_ROW, position(0), NOTE_ROW, NOTE_ROW, position(7), NOTE_ROW, BAR_ROW, BAR_ROW, position(0), NOTE_ROW]


def test_the_example_keeps_to_the_rules():
    assert violation(np.array(VALID)) is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "end with a note"),
        ([position(0), NOTE_ROW], "first row must be a bar"),
        ([NOTE_ROW], "first row must be a bar"),
        ([BAR_ROW, NOTE_ROW], "note right after a bar"),
        ([BAR_ROW], "end with a note"),
        ([BAR_ROW, position(0)], "end with a note"),
        ([BAR_ROW, position(0), NOTE_ROW, BAR_ROW], "end with a note"),
        ([BAR_ROW, position(0), position(1), NOTE_ROW], "position right after a position"),
        ([BAR_ROW, position(0), BAR_ROW, position(0), NOTE_ROW], "bar right after a position"),
        ([BAR_ROW, position(5), NOTE_ROW, position(5), NOTE_ROW], "does not come after"),
        ([BAR_ROW, position(5), NOTE_ROW, position(4), NOTE_ROW], "does not come after"),
        ([BAR_ROW, position(0), NOTE_ROW, (0,) * 7], "no place inside a piece"),
        ([(0, 0, 0, START, 0, 0, 0), *VALID], "no place inside a piece"),
    ],
)
def test_a_broken_order_is_named(rows, said):
    assert said in violation(np.array(rows).reshape(-1, 7))


@pytest.mark.parametrize("element", [e for e in range(7) if e != TYPE])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_an_element_set_where_it_does_not_apply_or_missing_where_it_does_is_named(row, element):
    rows = np.array(VALID)
    rows[row, element] = 0 if rows[row, element] else 2
    assert violation(rows)
    with pytest.raises(ValueError):
        decode(rows, VOCABULARY)


# ------------------------------------------------------------------- quantise


def beats_at(bpm, count=80, downbeat=0):
    return Beats(np.arange(count) * 60 / bpm, downbeat)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), bpm=st.floats(50, 200), downbeat=st.integers(0, 3))
def test_a_performance_is_on_the_grid_within_half_a_sixteenth(seed, bpm, downbeat):
    rng = np.random.default_rng(seed)
    step = 15 / bpm
    start = np.sort(rng.uniform(0, 40 * step, 30))
    notes = np.column_stack(
        (start, start + rng.uniform(0.3, 20, 30) * step, rng.permutation(60)[:30] + 30, rng.integers(1, 128, 30))
    )
    grid = quantise(notes, beats_at(bpm, downbeat=downbeat), ["C_M"] * 80)
    assert len(grid.notes) == 30  # no pitch comes twice, so nothing is lost
    order = np.lexsort((-notes[:, 2], np.round(start / step)))
    shift = np.round(start / step)[order] - grid.notes[:, 0]
    assert np.ptp(shift) == 0 and (shift[0] - downbeat * 4) % 16 == 0
    assert 0 <= grid.notes[0, 0] < 16  # the first bar is the first note's
    np.testing.assert_array_equal(grid.notes[:, [1, 3]], notes[order][:, [2, 3]])
    wanted = ((notes[:, 1] - notes[:, 0]) / step).clip(0.5, 16)[order]
    assert np.abs(grid.notes[:, 2] - wanted).max() <= 0.5 + 1e-9
    np.testing.assert_allclose(grid.tempo, bpm, rtol=1e-9)
    assert len(grid.chords) == 4 * len(grid.tempo)


def test_of_one_pitch_at_one_position_the_longest_stays():
    notes = np.array([[0.0, 0.2, 60, 50], [0.01, 1.0, 60, 90], [0.0, 0.5, 64, 70]])
    grid = quantise(notes[np.lexsort((-notes[:, 2], notes[:, 0]))], beats_at(120), ["C_M"] * 80)
    np.testing.assert_array_equal(grid.notes, [[0, 64, 4, 70], [0, 60, 8, 90]])


def test_chords_follow_their_beats_past_the_first_bar_line():
    names = [f"{root}_M" for root in ("C", "D", "E", "F", "G", "A", "B")] * 12
    notes = np.array([[3.5, 4.0, 60, 80], [4.6, 5.0, 62, 80]])  # beats 7 and 9 of 120 BPM
    grid = quantise(notes, beats_at(120, downbeat=1), names)
    assert grid.notes[0, 0] == 8 and len(grid.tempo) == 1 + (grid.notes[-1, 0] // 16)
    assert grid.chords[:4] == names[5:9]


def test_tempo_is_that_of_each_bar():
    times = np.concatenate((np.arange(8) * 0.5, 4.0 + np.arange(9) * 0.6))
    notes = np.array([[t, t + 0.2, 60 + i, 80] for i, t in enumerate(times[:-1])])
    grid = quantise(notes, Beats(times, 0), ["N_N"] * 17)
    np.testing.assert_allclose(grid.tempo, [120, 120, 100, 100])
    np.testing.assert_allclose(to_notes(grid)[:, 0], notes[:, 0], atol=1e-9)


def test_what_is_in_time_comes_back_in_time():
    notes = song(6, bpm=96)
    grid = quantise(notes, beats_at(96, 30), ["N_N"] * 30)
    played = to_notes(decode(encode(grid, VOCABULARY), VOCABULARY))
    bpm = VOCABULARY.numbers(TEMPO)[VOCABULARY.nearest(TEMPO, 96)]
    np.testing.assert_allclose(played[:, :2] * bpm / 96, notes[:, :2], atol=1e-9)
    np.testing.assert_array_equal(played[:, 2], notes[:, 2])
    assert np.abs(played[:, 3] - notes[:, 3]).max() <= 1.5
