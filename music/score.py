"""Between grids of tokens and MIDI: scores to hear and keep, files of others to read."""

from pathlib import Path

import numpy as np

from gen import media
from gen.errors import InputError
from gen.notes import note
from music.beats import Beats, track
from music.chords import estimate
from music.hands import divide
from music.names import Key
from music.names import found as key_of
from music.tokens import POSITIONS, STEP, TICKS, Grid, quantise

LATE = 30  # ticks by which the pedal follows a chord, and lets go before the next
ON_GRID = 0.9  # share of onsets within a tenth of a sixteenth of the file's own grid that makes us believe its bars


def seconds(grid: Grid, positions: np.ndarray) -> np.ndarray:
    """Positions in sixteenths -> seconds under the grid's tempo per bar (the last tempo goes on)."""
    tempo = np.maximum(grid.tempo, 1.0)
    lines = np.concatenate(([0.0], np.cumsum(240.0 / tempo)))
    bar = np.clip((positions // POSITIONS).astype(int), 0, len(tempo) - 1)
    return lines[bar] + (positions - bar * POSITIONS) * 15.0 / tempo[bar]


def to_notes(grid: Grid) -> np.ndarray:
    """The grid as performed notes float64 (n, 4): start s, end s, pitch, velocity."""
    position, pitch, length, velocity = grid.notes.T
    return np.column_stack((seconds(grid, position), seconds(grid, position + length), pitch, velocity))


def bar_lines(grid: Grid) -> np.ndarray:
    """(bars,) seconds at which each bar begins."""
    return seconds(grid, np.arange(len(grid.tempo)) * POSITIONS)


def to_score(grid: Grid, key: Key | None = None):
    """The grid as a symusic.Score: a track for each hand, tempo changes, key signature, chord symbols as markers.

    Notes last as long as they sound, none into the next one of its pitch; the pedal (controller 64, in both tracks) is
    down where a hand has to leave a note that sounds on. Without a ``key``, the notes tell it.
    """
    import symusic

    score, key, hands = symusic.Score(TICKS), key or key_of(grid.notes), divide(grid)
    score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    score.key_signatures.append(symusic.KeySignature(0, key.fifths, int(key.minor)))
    for bar, bpm in enumerate(grid.tempo):
        if bar == 0 or bpm != grid.tempo[bar - 1]:
            score.tempos.append(symusic.Tempo(bar * POSITIONS * STEP, float(bpm)))
    for beat, chord in enumerate(grid.chords):
        if beat == 0 or chord != grid.chords[beat - 1]:
            score.markers.append(symusic.TextMeta(beat * TICKS, key.chord(chord)))
    for name, notes in (("right hand", hands.right), ("left hand", hands.left)):
        track = symusic.Track(name=name, program=0)
        for position, pitch, length, velocity in notes:
            track.notes.append(symusic.Note(int(position * STEP), int(length * STEP), int(pitch), int(velocity)))
        for down, up in hands.pedal:
            track.controls.append(symusic.ControlChange(int(down * STEP) + LATE, 64, 127))
            track.controls.append(symusic.ControlChange(int(up * STEP) - LATE, 64, 0))
        score.tracks.append(track)
    return score


def read_notes(path: Path, programs: set[str] | None = None) -> np.ndarray:
    """Notes of a MIDI file as float64 (n, 4): start s, end s, pitch, velocity; sorted by start, then high to low.

    Drums are left out; ``programs`` keeps only tracks of these names (POP909: MELODY, BRIDGE, PIANO).
    """
    return notes_of(media.read_midi(path), programs)


def notes_of(score, programs: set[str] | None = None) -> np.ndarray:
    """:func:`read_notes` of a symusic.Score."""
    tracks = [t for t in score.to("second").tracks if not t.is_drum and (programs is None or t.name in programs)]
    rows = [(n.start, n.start + n.duration, n.pitch, n.velocity) for t in tracks for n in t.notes]
    notes = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return notes[np.lexsort((-notes[:, 2], notes[:, 0]))]


def read_grid(path: Path) -> Grid:
    """A user's MIDI file on the sixteenth grid: its own bars where its notes keep to them, tracked ones elsewhere.

    Raises InputError when the file has no notes or is not in 4/4 where it does keep to its bars.
    """
    score = media.read_midi(path)
    notes = notes_of(score)
    if not len(notes):
        raise InputError(f"{path} holds no notes to go on from (drums do not count)")
    _say_what_is_lost(score, path.name)
    beats, _ = beats_of(score, notes, path)
    return quantise(notes, beats, estimate(notes, beats))


def beats_of(score, notes: np.ndarray, path: Path) -> tuple[Beats, np.ndarray]:
    """The beats of a file with these notes (n, 4) in seconds, and the ticks (m,) at which they lie."""
    beats = _written_beats(score, path)
    if beats is not None:
        return beats, np.arange(len(beats.times)) * score.tpq
    note(f"{path.name}: its bars were found by its accents, since its notes do not keep to the file's own grid.")
    beats = track(notes)
    grid = np.arange(0, score.end() + 64 * score.tpq, max(score.tpq // 4, 1))
    return beats, np.interp(beats.times, _tick_seconds(score, grid), grid)


def _say_what_is_lost(score, name: str) -> None:
    """A note for what of a file a piano in sixteenths has no place for."""
    if any(track.is_drum and track.notes for track in score.tracks):
        note(f"{name}: its drums are left out, since the piano has none.")
    played = {track.program for track in score.tracks if track.notes and not track.is_drum}
    if played - set(range(8)):  # programs of General MIDI that are pianos
        note(f"{name}: all its instruments are played on the piano.")
    if any(t.controls or t.pitch_bends or t.pedals for t in score.tracks):
        note(f"{name}: its pedal, pitch bends and controllers are left out; notes last as long as they are held.")


def _written_beats(score, path: Path) -> Beats | None:
    """The file's own beats, when at least ON_GRID of its onsets keep to its sixteenths."""
    ticks = np.array([note.start for track in score.tracks if not track.is_drum for note in track.notes])
    step = score.tpq / 4
    off = np.abs(ticks / step - np.round(ticks / step))
    if (off < 0.1).mean() < ON_GRID:
        return None
    if any((t.numerator, t.denominator) != (4, 4) for t in score.time_signatures):
        raise InputError(f"{path} is not in 4/4 throughout, the only metre this model knows")
    beats = np.arange(0, ticks.max() + 5 * score.tpq, score.tpq)
    return Beats(_tick_seconds(score, beats), 0)


def _tick_seconds(score, ticks: np.ndarray) -> np.ndarray:
    """(n,) ticks -> seconds under the score's tempo changes (120 BPM before the first)."""
    changes = sorted((t.time, t.qpm) for t in score.tempos)
    if not changes or changes[0][0] > 0:
        changes.insert(0, (0, 120.0))
    at = np.array([time for time, _ in changes], dtype=float)
    rate = 60.0 / np.array([qpm for _, qpm in changes]) / score.tpq  # seconds a tick
    begin = np.concatenate(([0.0], np.cumsum(np.diff(at) * rate[:-1])))
    which = np.searchsorted(at, ticks, side="right") - 1
    return begin[which] + (ticks - at[which]) * rate[which]


def export_miditok(grid: Grid, tokenizer, path: Path) -> None:
    """Write the piece as a token file of a MidiTok tokenizer (``{"ids": ...}``), which its datasets read."""
    tokenizer.save_tokens(tokenizer.encode(to_score(grid)), path)


def import_miditok(path: Path, tokenizer) -> Grid:
    """Read a MidiTok token file back into a grid of ours (chords are estimated anew)."""
    import json

    score = tokenizer.decode(json.loads(Path(path).read_text())["ids"]).to("tick")
    rows = [(n.start, n.start + n.duration, n.pitch, n.velocity) for t in score.tracks for n in t.notes]
    ticks = np.array(rows, dtype=float)
    beats = np.arange(0, ticks[:, 1].max() + 5 * score.tpq, score.tpq)
    notes = np.column_stack((_tick_seconds(score, ticks[:, 0]), _tick_seconds(score, ticks[:, 1]), ticks[:, 2:]))
    grid_beats = Beats(_tick_seconds(score, beats), 0)
    return quantise(notes, grid_beats, estimate(notes, grid_beats))
