"""A musician's controls: what is asked for is what is measured, and what cannot be had is refused."""

import numpy as np
import pytest
import symusic
from grids import random_grid, song

from gen import media
from gen.errors import InputError
from gen.jobs.schema import parse_task
from music import controls, finish, melody, names, synth
from music.controls import Requests
from music.hands import chords, divide
from music.names import Key
from music.score import notes_of, read_grid, read_song, to_score
from music.shape import followed, parted, shaped
from music.task import MusicTask
from music.tokens import POSITIONS, Grid


def tonal(seed=0, bars=8):
    """A piece with a tune, chords and a bass in C major."""
    rng, rows = np.random.default_rng(seed), []
    scale = np.array([60, 62, 64, 65, 67, 69, 71, 72])
    for bar in range(bars):
        root = (48, 53, 55, 48)[bar % 4]
        rows += [(bar * 16, root - 12, 16, 70), (bar * 16, root + 7, 8, 60)]
        rows += [(bar * 16 + step, int(rng.choice(scale)) + 12, 2, 80) for step in range(0, 16, 2)]
    notes = np.array(rows, float)
    notes = notes[np.lexsort((-notes[:, 1], notes[:, 0]))]
    return Grid(notes, np.full(bars, 100.0), ["C_M"] * bars * 4)


def made(seed=0, bars=8, **wishes):
    return shaped(tonal(seed, bars), np.zeros(bars), Requests(**wishes), seed)


# ---------------------------------------------------------------- asked and measured


@pytest.mark.parametrize("text", ["D minor", "Eb major", "B minor", "F#"])
def test_keys(text):
    key = names.key(text)
    for seed in range(4):
        grid, told, _ = made(seed, key=key)
        assert told == key and controls.in_scale(grid, key) >= 0.95
        assert grid.notes[-1, 1] % 12 == key.tonic


def test_modes_keep_the_tonic():
    for minor in (False, True):
        grid, key, _ = made(2, minor=minor)
        assert key.minor == minor and key.tonic == names.found(tonal(2).notes).tonic
        assert controls.in_scale(grid, key) >= 0.95


def test_numbers_are_what_is_measured():
    for tempo in (60.0, 96.0, 140.0):
        assert controls.tempo(made(tempo=tempo)[0]) == pytest.approx(tempo, rel=0.001)
    for loud in (33.0, 62.0, 104.0):
        assert controls.dynamics(made(dynamics=loud)[0]) == pytest.approx(loud, abs=1)
    for height in (50.0, 60.0, 70.0):
        assert controls.register(made(register=height)[0]) == pytest.approx(height, abs=1)
    found = [controls.articulation(made(articulation=share)[0]) for share in (0.35, 0.7, 1.0)]
    assert found == sorted(found) and np.abs(np.array(found) - (0.35, 0.7, 1.0)).max() < 0.2


@pytest.mark.parametrize("wanted", [2.0, 4.0, 6.0])
def test_voices_are_added_and_left_out_at_the_same_onsets(wanted):
    grid = finish.in_reach(tonal(3))[0]
    found = controls.at_voices(grid, wanted)
    assert controls.voices(found) == pytest.approx(wanted, abs=0.05)
    assert controls.register(found) == pytest.approx(controls.register(grid), abs=1)
    np.testing.assert_array_equal(np.unique(found.notes[:, 0]), np.unique(grid.notes[:, 0]))
    np.testing.assert_array_equal(controls.tune(found)[:, 1], controls.tune(grid)[:, 1])
    assert len(finish.in_reach(found)[0].notes) == len(found.notes)


def test_semitones_struck_together_go_but_those_of_the_chord():
    rows = [(0, 72, 4, 80), (0, 71, 4, 80), (4, 77, 4, 80), (4, 76, 4, 80), (4, 60, 4, 80), (8, 60, 4, 80)]
    grid = Grid(np.array(rows, float), np.full(1, 100.0), ["C_M7", "C_M", "C_M", "C_M"])
    found = finish.without_clashes(grid)
    assert found.notes[:, 1].tolist() == [72, 71, 77, 60, 60]  # the tune's F stays, the E under it goes


def test_phrases_return_where_the_emotion_does():
    same = np.zeros((32, 2))
    assert finish.returning(same) == {8: (0, 4), 24: (0, 4)}
    assert finish.returning(same[:12]) == {8: (0, 2)} and finish.returning(same[:8]) == {}
    other = same.copy()
    other[8:16] = 0.6
    assert finish.returning(other) == {24: (0, 4)}


@pytest.mark.parametrize(("seconds", "tempo"), [(42.5, None), (20.0, None), (42.5, 96.0), (31.0, 120.0)])
def test_pieces_last_as_long_as_asked(seconds, tempo):
    bars = controls.bars_for(seconds, tempo or 90.0, tempo is not None)
    grid, _, _ = made(bars=bars, seconds=seconds, tempo=tempo)
    assert controls.length(grid) == pytest.approx(seconds, abs=0.01)
    if tempo:
        assert np.all(240 / grid.tempo[:-1] < 240 / grid.tempo[-1])  # the last bar holds


def test_chords_are_followed():
    wanted = tuple(map(names.chord, ("C", "Am", "F", "G")))
    grid, _, _ = made(chords=wanted)
    assert controls.on_chords(grid, wanted) >= 0.9 and grid.chords[4] == "A_m"
    for bar in range(8):
        here = grid.notes[grid.notes[:, 0] == bar * 16]
        assert here[-1, 1] % 12 == names.tones(wanted[bar % 4])[0]  # the bass


def test_a_loop_leads_into_its_beginning():
    grid, key, _ = made(loop=True)
    assert grid.chords[-1] == finish.dominant(key) and grid.chords[-5] != grid.chords[-1]
    length, rate = controls.length(grid), 8000
    tail = np.zeros((2, round(length * rate) + 4000), np.float32)
    tail[:, -4000:] = 0.25
    sound = synth.fitted(tail, length, rate, loop=True)
    assert sound.shape[1] == round(length * rate) and sound[:, :4000].mean() > 0.2
    cut = synth.fitted(tail, 2.0, rate, loop=False)
    assert cut.shape[1] == 16000 and abs(cut[:, -1]).max() < 1e-3


def test_parts_of_a_piece_come_together_again():
    grid = finish.in_reach(random_grid(np.random.default_rng(1), 6))[0]
    again = followed(*parted(grid, 2))
    np.testing.assert_array_equal(again.notes, grid.notes)
    assert again.chords == grid.chords and np.array_equal(again.tempo, grid.tempo)


# ---------------------------------------------------------------- what the text says, what is refused


def task(**given):
    return parse_task({"kind": "music", "emotion": "happy"} | given)


def test_controls_in_the_text_of_an_emotion():
    found = task(emotion="sad in D minor, at 72 bpm, legato, low density")
    assert (found.key, found.tempo, found.articulation, found.density) == ("D minor", 72.0, "1", 0.8)
    assert any("key" in said for said in found.notes)
    assert task(emotion="happy in the key of Bb major").key == "Bb major"
    with pytest.raises(InputError, match="key"):
        task(emotion="sad in D minor", key="C")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"meter": "3/4"}, "3/4 is not supported"),
        ({"emotion": "sad in 6/8"}, "6/8 is not supported"),
        ({"key": "H"}, "key"),
        ({"chords": "C Xm"}, "chord"),
        ({"dynamics": "loud"}, "ppp"),
        ({"articulation": "3"}, "1.5"),
        ({"seconds": 30, "bars": 8}, "both"),
        ({"key": "C minor", "mode": "major"}, "mode"),
        ({"replace": "5-8"}, "replace needs"),
        ({"chords": "C", "key": "C"}, "chords"),
        ({"loop": True, "continue": "a.mid"}, "loop"),
        ({"melody": "a.mid", "tempo": 90}, "^tempo cannot"),
        ({"melody": "a.mid", "bars": 3}, "^bars cannot"),
        ({"melody": "a.mid", "theme": "b.mid"}, "one of"),
        ({"continue": "a.mid", "replace": "8-5"}, "5-8"),
    ],
)
def test_what_cannot_be_had_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        task(**given)


def test_a_task_comes_back_from_its_own_fields():
    one = task(seconds=42.5, key="d minor", dynamics="mf", chords=None)
    assert MusicTask.model_validate(one.model_dump(by_alias=True)) == one


# ---------------------------------------------------------------- tunes and songs


@pytest.fixture
def tune(tmp_path):
    path = tmp_path / "tune.mid"
    grid = tonal(3)
    media.write_midi(path, to_score(grid._replace(notes=controls.tune(grid))))
    return path


def events(score):
    return sorted((n.start, n.duration, n.pitch, n.velocity) for track in score.tracks for n in track.notes)


def test_a_tune_is_harmonised_in_its_key(tune):
    grid = read_grid(tune)
    found = melody.harmony(grid, Key(0, False))
    assert len(found) == 16 and found[-1] == "C_M"
    assert all(set(names.tones(name)) <= set(Key(0, False).scale) for name in found)


def test_an_accompaniment_leaves_the_tune_alone_and_lies_under_it(tune, tmp_path):
    read = read_song(tune)
    key = names.found(read.grid.notes)
    part = melody.accompaniment(tonal(5), read.grid, melody.harmony(read.grid, key), key)
    score = melody.with_part(read, part, key)
    media.write_midi(tmp_path / "out.mid", score)
    assert set(events(media.read_midi(tune))) <= set(events(media.read_midi(tmp_path / "out.mid")))
    for position, pitch, length, _ in part.notes:
        over = read.grid.notes[
            (read.grid.notes[:, 0] < position + length) & (read.grid.notes[:, 0] + read.grid.notes[:, 2] > position), 1
        ]
        assert not len(over) or pitch < over.min()
    assert all(len(c) <= 5 for c in chords(divide(part).left))


def test_no_bar_is_without_accompaniment(tune):
    read, drawn = read_grid(tune), tonal(5)
    high = drawn._replace(notes=drawn.notes[drawn.notes[:, 1] > 70])
    part = melody.accompaniment(high, read, melody.harmony(read, Key(0, False)), Key(0, False))
    assert {*part.notes[:, 0] // POSITIONS} == set(range(8))


def test_a_theme_is_known_again_sad_and_happy():
    theme = tonal(6)
    theme = theme._replace(notes=controls.tune(theme))
    valence = np.repeat([-0.7, 0.7], 8)
    grid, keys = melody.themed(theme, 16, valence, valence / 2)
    assert [key.minor for key in keys] == [True, False]
    first, second = (grid.notes[np.isin(grid.notes[:, 0] // (8 * POSITIONS), half)] for half in (0, 1))
    for turn in (first, second):
        assert controls.melody_likeness(controls.tune(theme), controls.tune(grid._replace(notes=turn))) >= 0.8
    assert first[:, 3].mean() < second[:, 3].mean()


def test_a_theme_that_another_mode_would_hide_goes_to_the_relative_key():
    rows = [(i * 2, 60 + p, 2, 80) for i, p in enumerate([0, 4, 7, 4, 0, 4, 9, 12] * 4)]  # many thirds and sixths
    theme = Grid(np.array(rows, float), np.full(4, 100.0), ["C_M"] * 16)
    grid, (key,) = melody.themed(theme, 4, np.full(4, -0.7), np.zeros(4))
    assert str(names.found(theme.notes)) == "C major" and str(key) == "A minor"
    assert controls.melody_likeness(controls.tune(theme), controls.tune(grid)) == 1


def test_bars_are_replaced_and_all_else_stays(tmp_path):
    score = to_score(tonal(7))
    other = symusic.Track(name="strings", program=48)
    other.notes.append(symusic.Note(0, 480 * 32, 90, 50))
    score.tracks.append(other)
    media.write_midi(tmp_path / "a.mid", score)
    read = read_song(tmp_path / "a.mid")
    media.write_midi(tmp_path / "b.mid", melody.replaced(read, tonal(9, 2), 2, 4))
    low, high = read.ticks(np.array([32, 64]))
    assert (low, high) == (2 * 1920, 4 * 1920)
    before, after = (media.read_midi(tmp_path / name) for name in ("a.mid", "b.mid"))
    outside = lambda found: [event for event in events(found) if not low <= event[0] < high]
    assert outside(before) == outside(after) and events(before) != events(after)
    assert [track.name for track in before.tracks] == [track.name for track in after.tracks]


def test_ticks_of_a_performance(tmp_path):
    score = symusic.Score(480)
    track = symusic.Track()
    for start, end, pitch, loud in song(12, 93, 1):
        track.notes.append(symusic.Note(round(start * 960), max(round((end - start) * 960), 1), int(pitch), int(loud)))
    score.tracks.append(track)
    score.tempos.append(symusic.Tempo(0, 120))
    media.write_midi(tmp_path / "a.mid", score)
    read = read_song(tmp_path / "a.mid")
    onset = read.ticks(read.grid.notes[:, 0])
    real = np.array([note[0] for note in notes_of(read.score)]) * 960
    assert max(np.abs(real - tick).min() for tick in onset) < 40  # a sixteenth is about 155 ticks here
