import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from music.evaluation import metrics

BARS = np.arange(5) * 2.0


def notes_of(*rows):
    return np.array(rows, dtype=np.float64)


def scale(start=60, steps=(0, 2, 4, 5, 7, 9, 11, 12), every=0.5):
    return notes_of(*[(i * every, (i + 1) * every, start + step, 80) for i, step in enumerate(steps)])


@st.composite
def pieces(draw):
    n = draw(st.integers(2, 40))
    steps = np.sort(draw(st.lists(st.integers(0, 63), min_size=n, max_size=n)))
    pitch = draw(st.lists(st.integers(30, 96), min_size=n, max_size=n))
    held = draw(st.lists(st.integers(1, 16), min_size=n, max_size=n))
    notes = np.stack([steps / 8, (steps + held) / 8, pitch, np.full(n, 70)], axis=1).astype(np.float64)
    return notes[np.lexsort((-notes[:, 2], notes[:, 0]))]


def test_song_measures_of_a_known_piece():
    notes = notes_of((0, 2, 60, 80), (0, 1, 64, 80), (1, 2, 72, 80), (3, 4, 67, 80))
    assert metrics.pitch_range(notes) == 12
    assert metrics.pitch_classes(notes) == 3
    assert metrics.polyphony(notes) == pytest.approx((2 + 2 + 1) / 3)


def test_a_pitch_struck_twice_sounds_once():
    notes = notes_of((0, 2, 60, 80), (1, 3, 60, 80))
    assert metrics.polyphony(notes) == 1


@settings(max_examples=25)
@given(pieces())
def test_polyphony_agrees_with_a_piano_roll(notes):
    roll = np.zeros((128, 100), dtype=bool)
    for start, end, pitch, _ in notes:
        roll[int(pitch), round(start * 8) : round(end * 8)] = True
    sounding = roll.sum(axis=0)
    assert metrics.polyphony(notes) == pytest.approx(sounding.sum() / (sounding > 0).sum())


def test_bar_measures_of_a_known_piece():
    notes = notes_of((0, 1, 72, 80), (0, 1, 60, 80), (1, 2, 64, 80), (2, 3, 65, 80))
    measured = metrics.bar_measures(notes, BARS)
    assert measured == pytest.approx({"BPR": 6.0, "BNPC": 1.5, "BPOLY": (3 / 2 + 1) / 2})


def test_an_onset_just_before_the_bar_line_belongs_to_the_bar():
    bar, position = metrics.on_grid(notes_of((1.98, 3, 60, 80), (7.99, 8, 60, 80)), BARS)
    assert bar.tolist() == [1, 3] and position.tolist() == [0, 15]


@settings(max_examples=25)
@given(pieces(), st.integers(-12, 12))
def test_transposing_keeps_all_but_the_register(notes, by):
    moved = notes + np.array([0, 0, by, 0])
    before, after = (metrics.song_measures(x, BARS) | metrics.control_measures(x, BARS) for x in (notes, moved))
    assert after.pop("register") == pytest.approx(before.pop("register") + by)
    assert after == pytest.approx(before)


def test_mode_tells_major_from_minor():
    assert metrics.mode(scale(62)) > 0.1
    assert metrics.mode(scale(62, (0, 2, 3, 5, 7, 8, 11, 12, 7, 3, 0))) < -0.1


def test_consonance_of_a_third_and_a_second():
    third, second = notes_of((0, 1, 64, 80), (0, 1, 60, 80)), notes_of((0, 1, 62, 80), (0, 1, 60, 80))
    assert metrics.consonance(third) == 1 and metrics.consonance(second) == 0


def test_rates_and_tempo():
    chords = np.repeat(scale(), 2, axis=0) + np.tile([[0, 0, 4, 0], [0, 0, 0, 0]], (8, 1))
    assert metrics.note_density(chords) == 4 and metrics.onset_rate(chords) == 2
    assert metrics.tempo(BARS) == 120


def longest_by_hand(song, other):
    runs = np.zeros((len(song) + 1, len(other) + 1), dtype=int)
    for i, j in np.argwhere(song[:, None] == other):
        runs[i + 1, j + 1] = runs[i, j] + 1
    return int(runs.max()) + 1


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=40), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
)
def test_longest_shared_run_agrees_with_dynamic_programming(songs, song):
    book = metrics.Songbook([np.array(x, dtype=np.uint64) for x in songs])
    expected = max(longest_by_hand(np.array(song), np.array(x)) for x in songs)
    assert book.longest(np.array(song, dtype=np.uint64)) == expected


def test_a_transposed_copy_is_found_by_intervals_only():
    notes = scale(60, (0, 4, 7, 12, 11, 7, 5, 2, 0, 5, 9, 14))
    moved = notes + np.array([0, 0, 3, 0])
    for absolute, expected in ((False, 12), (True, 1)):
        book = metrics.Songbook([metrics.transitions(notes, BARS, absolute)])
        assert book.longest(metrics.transitions(notes, BARS, absolute)) == 12
        assert book.longest(metrics.transitions(moved, BARS, absolute)) == expected


def test_distance_between_sets_grows_as_they_part():
    rng = np.random.default_rng(0)
    real, same, far = rng.normal(size=(80, 2)), rng.normal(size=(80, 2)), rng.normal(3, 1, size=(80, 2))
    near, apart = metrics.set_distance(real, same), metrics.set_distance(real, far)
    assert near["OA"] > 0.85 > apart["OA"] and near["KL"] < 0.1 < apart["KL"]
