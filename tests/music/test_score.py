"""Grids as MIDI: what is written is what another reader reads; MidiTok's files; files of others on the grid."""

import json

import numpy as np
import pretty_midi
import pytest
import symusic
from clips import write_midi
from grids import VOCABULARY, grids, random_grid, song
from hypothesis import HealthCheck, given, settings

from gen import media
from gen.errors import InputError
from gen.notes import collect
from music.names import chord
from music.score import bar_lines, export_miditok, import_miditok, read_grid, seconds, to_notes, to_score
from music.tokens import POSITIONS, Grid, decode, encode, violation


def apart(grid):
    """The grid with no note sounding on into the next one of its pitch."""
    notes = grid.notes.copy()
    for i, (at, pitch, length, _) in enumerate(notes):
        later = notes[(notes[:, 1] == pitch) & (notes[:, 0] > at), 0]
        notes[i, 2] = min([length, *(later - at)])
    return grid._replace(notes=notes)


def some_grid(seed=0, bars=6):
    return apart(random_grid(np.random.default_rng(seed), bars))


def near(a, b):
    """Equal but for chords, and for tempi as microseconds a beat."""
    np.testing.assert_array_equal(a.notes, b.notes)
    np.testing.assert_allclose(a.tempo, b.tempo, rtol=1e-3)


# -------------------------------------------------------------------- seconds


@settings(max_examples=30)
@given(grid=grids())
def test_seconds_rise_and_add_up_bar_by_bar(grid):
    lines = bar_lines(grid)
    np.testing.assert_allclose(np.diff(lines), 240 / grid.tempo[:-1])
    at = seconds(grid, np.arange(0, len(grid.tempo) * POSITIONS + 8, 0.5))
    assert np.all(np.diff(at) > 0) and at[0] == 0


def test_a_note_across_a_tempo_change_ends_where_the_new_tempo_puts_it():
    grid = Grid(np.array([[12.0, 60, 8, 80], [16, 62, 1, 80]]), np.array([120.0, 60.0]), ["N_N"] * 8)
    np.testing.assert_allclose(to_notes(grid), [[1.5, 3.0, 60, 80], [2.0, 2.25, 62, 80]])


# ----------------------------------------------------------------------- MIDI


def test_another_reader_finds_every_note_tempo_and_chord(tmp_path):
    grid = some_grid()
    media.write_midi(tmp_path / "a.mid", to_score(grid))
    read = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    assert [(hand.name, hand.program) for hand in read.instruments] == [("right hand", 0), ("left hand", 0)]
    found = np.array(sorted((n.start, -n.pitch, n.end, n.velocity) for hand in read.instruments for n in hand.notes))
    wanted = np.array(sorted((s, -p, e, v) for s, e, p, v in to_notes(grid)))
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert [(t.numerator, t.denominator) for t in read.time_signature_changes] == [(4, 4)]
    np.testing.assert_allclose(read.get_tempo_changes()[1][[0, -1]], grid.tempo[[0, -1]], rtol=1e-4)
    score = media.read_midi(tmp_path / "a.mid")
    named = {marker.time // 480: marker.text for marker in score.markers}
    current = [named[max(b for b in named if b <= beat)] for beat in range(len(grid.chords))]
    assert [None if name == "N.C." else chord(name) for name in current] == [
        None if name == "N_N" else name for name in grid.chords
    ]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=grids())
def test_a_written_piece_reads_back_as_the_same_grid(tmp_path, grid):
    media.write_midi(tmp_path / "a.mid", to_score(grid))
    back = read_grid(tmp_path / "a.mid")
    near(back, apart(grid))
    assert violation(encode(back, VOCABULARY)) is None


def test_tokens_survive_midi(tmp_path):
    rows = encode(some_grid(3), VOCABULARY)
    media.write_midi(tmp_path / "a.mid", to_score(decode(rows, VOCABULARY)))
    again = encode(read_grid(tmp_path / "a.mid"), VOCABULARY)
    chordless = [0, 2, 3, 4, 5, 6]  # chords are estimated anew
    np.testing.assert_array_equal(again[:, chordless], rows[:, chordless])


# -------------------------------------------------------------------- MidiTok


@pytest.fixture(scope="module")
def tokenizer():
    from miditok import REMI, TokenizerConfig

    return REMI(
        TokenizerConfig(
            use_tempos=True, num_tempos=211, tempo_range=(30, 240), num_velocities=127, beat_res={(0, 4): 4, (4, 12): 4}
        )
    )


@pytest.mark.parametrize("seed", range(3))
def test_miditok_files_go_out_and_come_back(tmp_path, tokenizer, seed):
    grid = some_grid(seed)
    whole = grid._replace(notes=np.column_stack((grid.notes[:, :2], np.ceil(grid.notes[:, 2]), grid.notes[:, 3])))
    export_miditok(whole, tokenizer, tmp_path / "a.json")
    assert "ids" in json.loads((tmp_path / "a.json").read_text())
    back = import_miditok(tmp_path / "a.json", tokenizer)
    np.testing.assert_array_equal(back.notes, whole.notes)
    np.testing.assert_allclose(back.tempo, whole.tempo, atol=0.5)


# ------------------------------------------------------------ files of others


def gridded(path, *, meter=(4, 4), tpq=220, drums=False):
    """Two bars at 120 and two at 80 BPM in another resolution, two tracks, if asked for all drums."""
    score = symusic.Score(tpq)
    score.time_signatures.append(symusic.TimeSignature(0, *meter))
    score.tempos.append(symusic.Tempo(0, 120))
    score.tempos.append(symusic.Tempo(8 * tpq, 80))
    for hand, base in enumerate((72, 48)):
        track = symusic.Track(is_drum=drums)
        for step in range(32):
            track.notes.append(symusic.Note(step * tpq // 2, tpq // 2, base + step % 7, 70 + hand))
        score.tracks.append(track)
    score.dump_midi(path)
    return path


def test_a_sequenced_file_keeps_its_bars_and_its_tempo_change(tmp_path):
    grid = read_grid(gridded(tmp_path / "a.mid"))
    np.testing.assert_allclose(grid.tempo, [120, 120, 80, 80], rtol=1e-6)
    np.testing.assert_array_equal(np.unique(grid.notes[:, 0]), np.arange(32) * 2)
    assert len(grid.notes) == 64 and set(grid.notes[:, 2]) == {2.0}
    assert set(grid.notes[grid.notes[:, 1] >= 72, 3]) == {70.0}


def test_a_tempo_change_within_a_bar_moves_no_note(tmp_path):
    score = symusic.Score(480)
    score.tempos.append(symusic.Tempo(0, 120))
    score.tempos.append(symusic.Tempo(960, 60))
    track = symusic.Track()
    for beat in range(8):
        track.notes.append(symusic.Note(beat * 480, 240, 60, 80))
    score.tracks.append(track)
    score.dump_midi(tmp_path / "a.mid")
    grid = read_grid(tmp_path / "a.mid")
    np.testing.assert_array_equal(grid.notes[:, 0], np.arange(8) * 4)
    np.testing.assert_allclose(grid.tempo, [80, 60])  # a bar of two beats at 120 and two at 60 lasts three seconds


def test_a_performance_is_tracked(tmp_path):
    rng = np.random.default_rng(0)
    notes = song(8, bpm=100)
    notes[:, :2] += rng.normal(0, 0.008, (len(notes), 1)) + 0.3
    write_midi(tmp_path / "a.mid", notes.clip(0))
    grid = read_grid(tmp_path / "a.mid")
    assert len(grid.notes) == len(notes)
    assert abs(np.median(grid.tempo) - 100) < 3
    played = to_notes(grid)
    error = (played[:, 0] - played[0, 0]) - np.sort(notes[:, 0] - notes[:, 0].min())
    assert np.percentile(np.abs(error), 95) < 0.06
    assert violation(encode(grid, VOCABULARY)) is None


def test_three_four_time_is_refused_in_words(tmp_path):
    with pytest.raises(InputError, match="4/4"):
        read_grid(gridded(tmp_path / "waltz.mid", meter=(3, 4)))


def test_files_without_notes_are_refused(tmp_path):
    with pytest.raises(InputError, match="drums do not count"):
        read_grid(gridded(tmp_path / "drums.mid", drums=True))
    symusic.Score(480).dump_midi(tmp_path / "empty.mid")
    with pytest.raises(InputError, match="no notes"):
        read_grid(tmp_path / "empty.mid")
    (tmp_path / "not.mid").write_text("not MIDI")
    with pytest.raises(InputError):
        read_grid(tmp_path / "not.mid")


def test_karaoke_files_are_read_by_their_content(tmp_path):
    path = gridded(tmp_path / "a.mid")
    path.rename(tmp_path / "a.kar")
    assert len(read_grid(tmp_path / "a.kar").notes) == 64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"program": 40}, ["a.mid: all its instruments are played on the piano."]),
        ({"extra": "drums"}, ["a.mid: its drums are left out, since the piano has none."]),
        (
            {"extra": "pedal"},
            ["a.mid: its pedal, pitch bends and controllers are left out; notes last as long as they are held."],
        ),
        (
            {"shift": 37},
            ["a.mid: its bars were found by its accents, since its notes do not keep to the file's own grid."],
        ),
    ],
)
def test_what_a_piano_in_sixteenths_has_no_place_for_is_said(tmp_path, change, said):
    score = symusic.Score(480)
    piano = symusic.Track(program=change.get("program", 0))
    for i in range(16):
        piano.notes.append(symusic.Note(i * 480 + i % 5 * change.get("shift", 0), 240, 60 + i % 5, 80))
    if change.get("extra") == "pedal":
        piano.controls.append(symusic.ControlChange(0, 64, 127))
    score.tracks.append(piano)
    if change.get("extra") == "drums":
        drums = symusic.Track(is_drum=True)
        drums.notes.append(symusic.Note(0, 120, 36, 90))
        score.tracks.append(drums)
    score.dump_midi(tmp_path / "a.mid")
    with collect() as notes:
        read_grid(tmp_path / "a.mid")
    assert notes == said
