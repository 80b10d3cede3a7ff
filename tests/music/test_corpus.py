"""The corpora as tokens with labels: a small data folder, transposition, random passages, the labeller."""

import numpy as np
import pytest
from clips import write_midi
from corpora import write_data
from grids import VOCABULARY, grids, random_grid, song
from hypothesis import given, settings
from hypothesis import strategies as st

from music.beats import Beats
from music.labels import Labeller, Logistic, anchored, features, signs
from music.score import read_notes
from music.tokens import BAR, BEAT, CHORD, CONTI, PITCH, TEMPO, decode, encode, violation
from music.training import corpus
from music.training.corpus import BLOCK, Passages, Piece, home, pop909_beats, tokenise, transpose


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return corpus.build(write_data(tmp_path_factory.mktemp("data")), VOCABULARY)


# ---------------------------------------------------------------------- build


def test_every_file_that_may_be_used_becomes_a_piece(pieces):
    groups = [p.group for p in pieces]
    assert groups.count("emopia") == 8 and groups.count("pop909") == 2 and groups.count("giantmidi") == 1
    assert {p.part for p in pieces if p.group != "emopia"} == {"train"}
    assert {p.part for p in pieces} == {"train", "valid"}
    assert all(p.ends == (p.group != "emopia") for p in pieces)


def test_pieces_are_valid_and_labelled_bar_by_bar(pieces):
    for piece in pieces:
        assert violation(piece.rows) is None
        assert piece.feeling.shape == (int((piece.rows[:, BEAT] == BAR).sum()), 2)
        assert np.abs(piece.feeling).max() <= 1
        blocks = [piece.feeling[i : i + BLOCK] for i in range(0, len(piece.feeling), BLOCK)]
        assert all(np.ptp(block, axis=0).max() == 0 for block in blocks)


def test_clips_keep_the_sign_that_their_annotator_gave(pieces, tmp_path):
    signs = sorted(tuple(np.sign(p.feeling[0]).astype(int)) for p in pieces if p.group == "emopia")
    assert signs == sorted(2 * [(1, 1), (-1, 1), (-1, -1), (1, -1)])
    assert min(np.abs(p.feeling).min() for p in pieces if p.group == "emopia") >= 0.3 - 1e-6


def test_pieces_survive_their_file(pieces, tmp_path):
    corpus.save(pieces, tmp_path / "tokens.npz")
    for one, two in zip(pieces, corpus.load(tmp_path / "tokens.npz"), strict=True):
        np.testing.assert_array_equal(one.rows, two.rows)
        np.testing.assert_array_equal(one.feeling, two.feeling)
        assert (one.ends, one.group, one.part) == (two.ends, two.group, two.part)


def flags(*bars: int) -> str:
    """Beat flags of bars of so many beats."""
    return "".join("3" + "0" * (beats - 1) for beats in bars)


def test_annotated_beats_are_taken_where_bars_have_four():
    def taken(*bars):
        return pop909_beats({"beats": (np.arange(sum(bars)) * 500.0).tolist(), "beat_flags": flags(*bars)})

    beats, to_end = taken(*[4] * 20)
    assert to_end and len(beats.times) == 80 and beats.downbeat == 0
    beats, to_end = taken(*[4] * 5, 2, *[4] * 18)
    assert to_end and beats.times[0] == 11.0 and len(beats.times) == 72
    beats, to_end = taken(*[4] * 18, 2, *[4] * 5)
    assert not to_end and beats.times[0] == 0 and len(beats.times) == 73  # to the bar line that ends the stretch
    assert taken(*[3] * 40) is None


def test_a_stretch_of_a_song_ends_where_its_beats_do(tmp_path):
    path, beats = tmp_path / "song.mid", Beats(np.arange(4, 37) * 0.5, 0)
    write_midi(path, song(20, 120))
    notes = read_notes(path)
    part = corpus.read(corpus.Source(path, beats, "pop909", "train", 0, False))
    assert len(part) < len(notes) and part[:, 0].min() >= 1.97 and part[:, 1].max() <= 18


def test_a_passage_begins_with_the_tempo_and_the_chord_in_force(pieces):
    for piece in pieces:
        lines = np.flatnonzero(piece.rows[:, BEAT] == BAR)
        for line in lines:
            part = corpus.from_bar(piece.rows, line)
            assert part[1, TEMPO] > CONTI and part[1, CHORD] > CONTI
            assert (part[2:] == piece.rows[line + 2 :]).all()
        whole, part = decode(piece.rows, VOCABULARY), decode(corpus.from_bar(piece.rows, lines[2]), VOCABULARY)
        assert (part.tempo == whole.tempo[2:]).all() and part.chords == whole.chords[8:]


def test_varied_passages_keep_their_grammar_and_differ_by_little(pieces):
    rows = pieces[0].rows
    for element, most in corpus.VARIED.items():
        for by in range(-most, most + 1):
            moved = corpus.shifted(rows, element, by, VOCABULARY)
            known = np.isfinite(VOCABULARY.numbers(element))[rows[:, element]]
            assert violation(moved) is None and (moved[~known] == rows[~known]).all()
            assert np.abs(moved - rows).max() <= most
            others = np.arange(7) != element
            assert (moved[:, others] == rows[:, others]).all()


def test_windows_reach_two_bars_around_their_block():
    rows, around = tokenise(song(10, 120), Beats(np.arange(42) * 0.5, 0), VOCABULARY)
    assert int((rows[:, BEAT] == BAR).sum()) == 10 and len(around) == 3
    spans = [(w[:, 0].min() // 2, w[:, 0].max() // 2) for w in around]  # a bar lasts two seconds
    assert spans == [(0, 5), (2, 9), (6, 9)]


# ------------------------------------------------------------------ transpose


@settings(max_examples=40)
@given(grid=grids(), by=st.integers(-6, 6))
def test_transposing_moves_pitches_and_chords_and_nothing_else(grid, by):
    rows = encode(grid, VOCABULARY)
    moved = transpose(rows, by, VOCABULARY)
    notes, other = decode(rows, VOCABULARY), decode(moved, VOCABULARY)
    inside = notes.notes[:, 1].min() + by >= 21 and notes.notes[:, 1].max() + by <= 108
    by = by if inside else 0
    np.testing.assert_array_equal(other.notes - notes.notes, np.tile([0, by, 0, 0], (len(notes.notes), 1)))
    np.testing.assert_array_equal(other.tempo, notes.tempo)
    roots = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
    for one, two in zip(notes.chords, other.chords, strict=True):
        (root, quality), (new, same) = one.split("_"), two.split("_")
        assert quality == same and (one == "N_N" or (roots.index(root) + by) % 12 == roots.index(new))
    np.testing.assert_array_equal(transpose(moved, -by, VOCABULARY), rows)


def test_transposing_leaves_its_argument_alone():
    rows = encode(random_grid(np.random.default_rng(1), 2), VOCABULARY)
    rows[rows[:, PITCH] > 0, PITCH] = 40
    before = rows.copy()
    moved = transpose(rows, 2, VOCABULARY)
    np.testing.assert_array_equal(rows, before)
    assert (moved[:, PITCH] == 42).any() and (moved[:, CHORD] != rows[:, CHORD]).any()


@pytest.mark.parametrize(
    ("scale", "wanted"), [((0, 2, 4, 5, 7, 9, 11, 0, 4, 7), 0), ((0, 2, 3, 5, 7, 8, 11, 0, 3, 7), -3)]
)
def test_music_in_any_key_is_brought_to_c_major_or_a_minor(scale, wanted):
    notes = np.array([[i * 0.25, i * 0.25 + 0.25, 60 + pitch, 80] for i, pitch in enumerate(scale)])
    rows, _ = tokenise(notes, Beats(np.arange(10) * 0.5, 0), VOCABULARY)
    assert home(rows, VOCABULARY) == wanted
    for by in range(-5, 7):
        assert (home(transpose(rows, by, VOCABULARY), VOCABULARY) + by - wanted) % 12 == 0


# ------------------------------------------------------------------- passages


def pool(count=4, bars=12, group="emopia", ends=False):
    made = []
    for seed in range(count):
        rows = encode(random_grid(np.random.default_rng(seed), bars, 0.3), VOCABULARY)
        feeling = np.column_stack((np.arange(bars) / bars, -np.arange(bars) / bars)).astype(np.float32)
        made.append(Piece(rows, feeling, ends, group, "train"))
    return made


def test_passages_begin_at_a_bar_and_tell_its_feeling():
    bars = 12
    passages = Passages(pool(bars=bars), {"emopia": 1.0}, 60, VOCABULARY, seed=0)
    firsts = set()
    for _ in range(30):
        batch = passages.batch(4, far=16)
        assert batch.rows.shape == (4, batch.lengths.max(), 7) and batch.lengths.max() <= 60
        assert (batch.rows[:, 0, BEAT] == BAR).all() and (batch.bar[:, 0] == 0).all()
        for i, length in enumerate(batch.lengths):
            rows = batch.rows[i]
            assert not rows[length:].any() and (rows[:length].any(1)).all()
            np.testing.assert_array_equal(batch.bar[i, :length], np.cumsum(rows[:length, BEAT] == BAR) - 1)
            assert len(batch.feeling[i]) == batch.bar[i, length - 1] + 1
            first = round(float(batch.feeling[i][0, 0]) * bars)
            firsts.add(first)
            told = batch.feeling[i][:, 0] * bars
            np.testing.assert_allclose(told, first + np.arange(len(told)), atol=1e-5)
            assert (batch.left[i, :length] == 16).all()  # clips end anywhere, so the end is out of sight
    assert len(firsts) > 4


def test_passages_know_how_many_bars_are_left_of_whole_pieces():
    passages = Passages(pool(2, 6, "pop909", ends=True), {"pop909": 1.0}, 1000, VOCABULARY, seed=1)
    batch = passages.batch(8, far=16)
    assert batch.whole.all()
    for i, length in enumerate(batch.lengths):
        assert batch.left[i, length - 1] == 0
        np.testing.assert_array_equal(np.diff(batch.left[i, :length]), -np.diff(batch.bar[i, :length]))


def test_groups_are_drawn_by_their_shares():
    pieces = pool(2) + pool(6, group="pop909")
    passages = Passages(pieces, {"emopia": 0.8, "pop909": 0.2, "giantmidi": 0.0}, 50, VOCABULARY, seed=2)
    assert passages.weight[:2].sum() == pytest.approx(0.8) and passages.weight.sum() == pytest.approx(1)


def test_the_same_seed_draws_the_same_passages():
    one, two = (Passages(pool(), {"emopia": 1.0}, 80, VOCABULARY, seed=3).batch(3, 16) for _ in range(2))
    np.testing.assert_array_equal(one.rows, two.rows)


# --------------------------------------------------------------------- labels


def test_logistic_regression_finds_a_direction():
    rng = np.random.default_rng(0)
    x, direction = rng.normal(size=(400, 5)), np.array([1.0, -2.0, 0.0, 0.0, 0.5])
    y = (x @ direction + 0.7 > 0).astype(float)
    model = Logistic(x, y, penalty=1.0)
    found = model.weight[:-1]
    assert found @ direction / np.linalg.norm(found) / np.linalg.norm(direction) > 0.98
    assert ((model(x) > 0.5) == y).mean() > 0.97
    assert np.all(np.diff(model(np.outer(np.linspace(-3, 3, 9), direction))) > 0)


def test_a_stronger_penalty_is_more_cautious():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 3))
    y = (x[:, 0] > 0).astype(float)
    loose, tight = (np.abs(Logistic(x, y, penalty)(x) - 0.5).mean() for penalty in (1.0, 100.0))
    assert tight < loose


def test_the_labeller_separates_what_differs_and_stays_within_bounds():
    x = np.array([features(song(4, 100, seed, q)) for q in (1, 2, 3, 4) for seed in range(6)])
    quadrant = np.repeat([1, 2, 3, 4], 6)
    told = Labeller(x, quadrant)(x)
    assert np.abs(told).max() <= 1
    np.testing.assert_array_equal(told[:, 0] > 0, np.isin(quadrant, (1, 4)))
    np.testing.assert_array_equal(told[:, 1] > 0, np.isin(quadrant, (1, 2)))


def test_features_move_with_what_they_measure():
    names = {"pace": 0, "loudness": 4, "register": 7}
    plain = song(6, 100)
    faster = plain / np.array([1.5, 1.5, 1, 1])
    louder, higher = plain + np.array([0, 0, 0, 20]), plain + np.array([0, 0, 7, 0])
    for other, name in ((faster, "pace"), (louder, "loudness"), (higher, "register")):
        assert features(other)[names[name]] > features(plain)[names[name]]
    assert np.isfinite(features(plain[:1])).all()


@given(valence=st.floats(-1, 1), arousal=st.floats(-1, 1), quadrant=st.integers(1, 4))
def test_an_anchored_estimate_lies_in_the_annotators_half(valence, arousal, quadrant):
    found = anchored(np.array([valence, arousal]), signs(quadrant)) * signs(quadrant)
    assert (found >= 0.3 - 1e-9).all() and (found <= 1 + 1e-9).all()


def test_a_quadrants_corner_asks_for_its_median_clip():
    x = np.array([features(song(4, 100, seed, q)) for q in (1, 2, 3, 4) for seed in range(4)])
    labeller = Labeller(x, np.repeat([1, 2, 3, 4], 4))
    asked = labeller.asked(np.array([[0.6, 0.6], [-0.6, 0.6], [0.0, 0.0], [0.3, -0.3], [0.9, -0.9]]))
    np.testing.assert_allclose(asked[0], np.median(np.abs(labeller(x)), axis=0).clip(0, 0.99), rtol=1e-6)
    np.testing.assert_allclose(asked[1], asked[0] * [-1, 1])
    assert (asked[2] == 0).all() and (np.abs(asked[3]) < np.abs(asked[0])).all() and asked[4, 0] > asked[0, 0]


def test_chords_said_in_tokens_begin_after_conti():
    assert VOCABULARY.values["chord"][CONTI + 1] == "N_N" and VOCABULARY.values["chord"][CONTI + 2] == "C_M"
