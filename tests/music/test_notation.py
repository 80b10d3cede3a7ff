"""Notation: hands, keys, chord symbols, scores as read by music21."""

import numpy as np
import pytest
from grids import grids, random_grid
from hypothesis import given, settings

from gen import media
from gen.errors import InputError
from gen.marks.verify import embedded
from music import finish, names
from music.chords import NAMES
from music.hands import FINGERS, TENTH, chords, divide, playable
from music.names import Key
from music.score import to_score
from music.tokens import POSITIONS, apart


def reached(pitch):
    return len(pitch) <= FINGERS and (not len(pitch) or np.ptp(pitch) <= TENTH)


@settings(max_examples=20, deadline=None)
@given(grids())
def test_two_hands_strike_every_chord_that_stays(grid):
    found, gone = finish.in_reach(grid)
    assert gone == len(finish.merged(grid.notes)) - len(found.notes)
    hands = divide(found)
    for notes in (hands.right, hands.left):
        assert all(reached(chord[:, 1]) for chord in chords(notes))
    both = np.concatenate((hands.right, hands.left))
    np.testing.assert_array_equal(both[np.lexsort((-both[:, 1], both[:, 0]))], apart(found.notes))
    for old, new in zip(chords(finish.merged(grid.notes)), chords(found.notes), strict=True):
        assert (old[0, 1], old[-1, 1]) == (new[0, 1], new[-1, 1])  # the tune and the bass


def test_what_no_hand_reaches_goes_from_the_middle():
    pitch = np.array([84, 72, 60, 48, 36.0])
    notes = np.column_stack((np.zeros(5), pitch, np.full(5, 4), np.full(5, 80)))
    kept = notes[playable(notes), 1]
    assert {84, 36} <= set(kept) and len(kept) == 4


def test_the_pedal_holds_what_a_hand_leaves():
    grid = random_grid(np.random.default_rng(0), 2)
    notes = np.array([[0, 72, 16, 80], [0, 36, 16, 80], [4, 55, 4, 80], [8, 57, 4, 80]], float)
    hands = divide(grid._replace(notes=notes, chords=["C_M"] * 8))
    assert hands.pedal.tolist() == [[0, 16]]
    alone = divide(grid._replace(notes=notes[:2], chords=["C_M"] * 8))
    assert not len(alone.pedal)


@pytest.mark.parametrize(
    ("text", "tonic", "minor"),
    [
        ("D minor", 2, True),
        ("Bb", 10, False),
        ("F# minor", 6, True),
        ("a", 9, True),
        ("Eb major", 3, False),
        ("Am", 9, True),
        ("C", 0, False),
        ("F sharp major", 6, False),
    ],
)
def test_keys_in_words(text, tonic, minor):
    key = names.key(text)
    assert key == Key(tonic, minor) and names.key(str(key)) == key


def test_other_keys_are_refused():
    for text in ("H minor", "D dorian", ""):
        with pytest.raises(InputError, match="key"):
            names.key(text)
    with pytest.raises(InputError, match="chord"):
        names.chord("C13")


def test_signatures_and_chord_symbols():
    signs = {"C": 0, "A minor": 0, "D minor": -1, "Eb": -3, "E": 4, "C# minor": 4, "F minor": -4, "B": 5}
    assert {text: names.key(text).fifths for text in signs} == signs
    assert [Key(3, False).spelt(p) for p in (3, 10, 8)] == ["Eb", "Bb", "Ab"]
    assert names.key("A minor").chord("G#_o7") == "G#dim7" and names.key("F").chord("A#_M") == "Bb"
    for key in (Key(0, False), Key(6, False), Key(10, True)):
        for name in NAMES[:-1]:
            assert names.chord(key.chord(name)) == name


def some(seed=0, bars=8):
    grid, _ = finish.in_reach(random_grid(np.random.default_rng(seed), bars, 0.3))
    return finish.closed(grid, names.found(grid.notes))


def test_midi_says_key_bars_hands_and_no_text(tmp_path):
    m21 = pytest.importorskip("music21")
    grid, key = some(), Key(10, False)
    media.write_midi(tmp_path / "a.mid", to_score(grid, key), {"ai_generated": True}, channel=0)
    read = m21.converter.parse(tmp_path / "a.mid", quantizePost=False)
    parts = list(read.parts)
    assert [part.partName for part in parts] == ["right hand", "left hand"]
    assert read.flatten().getElementsByClass("KeySignature")[0].sharps == -2
    assert max(len(part.getElementsByClass("Measure")) for part in parts) == 8
    assert max(float(note.offset + note.quarterLength) for note in read.flatten().notes) <= 32
    import mido

    events = [event for track in mido.MidiFile(tmp_path / "a.mid").tracks for event in track]
    assert not [event for event in events if event.type == "text"]
    assert {event.channel for event in events if hasattr(event, "channel")} == {0}
    assert embedded(tmp_path / "a.mid") == {"ai_generated": True}


@pytest.mark.slow
def test_musicxml_is_what_music21_reads(tmp_path):
    m21 = pytest.importorskip("music21")
    pytest.importorskip("verovio")
    pytest.importorskip("resvg_py")
    from music.notation import write

    grid, key = some(3), Key(2, True)
    paths = write(grid, key, tmp_path / "a", {"ai_generated": True}, "A title")
    assert [path.name for path in paths[:2]] == ["a.musicxml", "a.png"] and media.read_image(paths[1]).shape[1] == 1600
    assert all(embedded(path) == {"ai_generated": True} for path in paths)
    read = m21.converter.parse(paths[0])
    assert [len(part.getElementsByClass("Measure")) for part in read.parts] == [8, 8]
    assert read.flatten().getElementsByClass("KeySignature")[0].sharps == -1
    assert read.flatten().getElementsByClass("TimeSignature")[0].ratioString == "4/4"
    marks = read.flatten().getElementsByClass("MetronomeMark")
    assert round(float(grid.tempo[0])) == marks[0].number
    symbols = [
        (bar.offset + one.offset)
        for bar in read.parts[0].getElementsByClass("Measure")
        for one in bar[m21.harmony.ChordSymbol]
    ]
    assert symbols == [
        b for b, name in enumerate(grid.chords) if name != "N_N" and (b == 0 or name != grid.chords[b - 1])
    ]
    struck = [n for part in read.parts for n in part.flatten().notes if not isinstance(n, m21.harmony.ChordSymbol)]
    onsets = {(int(n.offset * 4), p.midi) for n in struck if not (n.tie and n.tie.type != "start") for p in n.pitches}
    assert onsets == {(int(position), int(pitch)) for position, pitch in grid.notes[:, :2]}


def test_a_piece_ends_on_its_tonic_and_breathes():
    for seed in range(5):
        grid = some(seed, 16)
        key = names.found(grid.notes)
        last = grid.notes[grid.notes[:, 0] >= 15 * POSITIONS]
        assert set(last[:, 0]) == {15 * POSITIONS} and set(last[:, 2]) == {POSITIONS}
        assert set(last[:, 1] % 12) <= {*names.tones(grid.chords[-1])} and len(last) >= 4
        assert grid.chords[-1].startswith(tuple(f"{name}_" for name in names.ROOTS)) and key is not None
        assert all(grid.chords[bar * 4 - 1].endswith("_7") for bar in (8, 15))


def test_one_pulse_follows_arousal_and_slows():
    drawn = np.array([60.0, 180, 90, 120] * 4)
    low, high = (finish.paced(drawn, np.full(16, a)) for a in (-0.8, 0.8))
    assert high[:-2].mean() > 1.3 * low[:-2].mean()
    for tempo in (low, high):
        middle = np.median(tempo[:-2])
        assert np.abs(tempo[:-2] / middle - 1).max() < 0.06 and tempo[-1] < tempo[-2] < middle
        assert (tempo[1:] / tempo[:-1]).min() > 0.8
    later = finish.paced(drawn, np.linspace(-0.8, 0.8, 16), before=100.0)
    assert abs(later[0] / 100 - 1) < 0.07 and later[-3] > 1.15 * later[0]
