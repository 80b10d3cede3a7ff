"""Between grids of tokens and MIDI: scores to hear and keep, files of others to read."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen import media
from gen.errors import InputError
from gen.notes import note
from music.beats import Beats, track
from music.chords import estimate
from music.hands import divide
from music.names import Key
from music.names import found as key_of
from music.tokens import POSITIONS, TICKS, Grid, quantise

HANDS = ("right hand", "left hand")
LATE = 30  # ticks by which the pedal follows a chord, and lets go before the next
SLOWEST = 8.0  # s: bars of free playing are shorter
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


def to_score(grid: Grid, key: Key | None = None, program: int = 0, hands: Sequence[str] = HANDS):
    """The grid as a symusic.Score: a track for each of the ``hands``, tempo changes, key signature, chord symbols as
    markers; ``program`` is General MIDI's instrument, from 0.

    Notes last as long as they sound, none into the next one of its pitch; the pedal (controller 64, in both tracks) is
    down where a hand has to leave a note that sounds on. Without a ``key``, the notes tell it.
    """
    import symusic

    return _appended(symusic.Score(TICKS), 0, grid, key, program, hands)


def after(song: "Song", grid: Grid, key: Key | None = None, program: int = 0):
    """The song's whole score, followed by the grid in two more tracks from its last bar line on."""
    score, begin = song.score.copy(), int(song.ticks(np.array([len(song.grid.tempo) * POSITIONS]))[0])
    score.tempos.filter(lambda tempo: tempo.time < begin, inplace=True)
    return _appended(score, begin, grid, key, program)


def _appended(score, begin: int, grid: Grid, key: Key | None, program: int, hands: Sequence[str] = HANDS):
    """A score with the grid from a tick on."""
    import symusic

    key, divided, step = key or key_of(grid.notes), divide(grid), score.tpq / 4
    tick = lambda position: begin + int(position * step)
    if begin == 0 or (score.time_signatures and score.time_signatures[-1].time != begin):
        score.time_signatures.append(symusic.TimeSignature(begin, 4, 4))
    score.key_signatures.append(symusic.KeySignature(begin, key.fifths, int(key.minor)))
    for bar, bpm in enumerate(grid.tempo):
        if bar == 0 or bpm != grid.tempo[bar - 1]:
            score.tempos.append(symusic.Tempo(tick(bar * POSITIONS), float(bpm)))
    for beat, chord in enumerate(grid.chords):
        if beat == 0 or chord != grid.chords[beat - 1]:
            score.markers.append(symusic.TextMeta(tick(beat * 4), key.chord(chord)))
    late = round(LATE * score.tpq / TICKS)
    for name, notes in zip(HANDS, (divided.right, divided.left), strict=True):
        if name not in hands:
            continue
        track = symusic.Track(name=name, program=program)
        for position, pitch, length, velocity in notes:
            size = max(int(length * step), 1)
            track.notes.append(symusic.Note(tick(position), size, int(pitch), int(velocity)))
        for down, up in divided.pedal:
            track.controls.append(symusic.ControlChange(tick(down) + late, 64, 127))
            track.controls.append(symusic.ControlChange(tick(up) - late, 64, 0))
        score.tracks.append(track)
    return score


def shortened(score, begin: int):
    """A score from a tick on, which becomes 0; notes that began earlier are dropped."""
    import symusic

    score = score.copy()
    past = [tempo for tempo in score.tempos if tempo.time <= begin]
    for events in (score.tempos, score.time_signatures, score.key_signatures, score.markers):
        events.filter(lambda event: event.time >= begin, inplace=True)
    for part in score.tracks:
        for events in (part.notes, part.controls, part.pitch_bends, part.pedals, part.lyrics):
            events.filter(lambda event: event.time >= begin, inplace=True)
    score.shift_time(-begin, inplace=True)
    if past:
        score.tempos.append(symusic.Tempo(0, past[-1].qpm))
        score.sort(inplace=True)
    return score


def read_notes(path: Path, programs: set[str] | None = None) -> np.ndarray:
    """Notes of a MIDI file as float64 (n, 4): start s, end s, pitch, velocity; sorted by start, then high to low.

    Drums are left out; ``programs`` keeps only tracks of these names (POP909: MELODY, BRIDGE, PIANO).
    """
    return notes_of(media.read_midi(path), programs)


def notes_of(score, programs: set[str] | None = None) -> np.ndarray:
    """:func:`read_notes` of a symusic.Score."""
    rows = [np.zeros((0, 4))]
    for part in score.to("second").tracks:
        if not part.is_drum and (programs is None or part.name in programs):
            of = part.notes.numpy()
            rows.append(np.column_stack((of["time"], of["time"] + of["duration"], of["pitch"], of["velocity"])))
    notes = np.concatenate(rows).astype(np.float64)
    return notes[np.lexsort((-notes[:, 2], notes[:, 0]))]


class Song(NamedTuple):
    """A MIDI file, its notes or last bars on the grid, and the ticks of the grid's beats."""

    score: object  # symusic.Score
    grid: Grid
    beats: np.ndarray  # (m,) ticks, from the grid's first bar line on

    def ticks(self, positions: np.ndarray) -> np.ndarray:
        """Sixteenths from the grid's first bar line -> ticks of the file, straight on beyond its end."""
        at = np.asarray(positions, float) / 4
        step = self.beats[-1] - self.beats[-2]
        inside = np.interp(at, np.arange(len(self.beats)), self.beats)
        return np.rint(inside + np.maximum(at - len(self.beats) + 1, 0) * step).astype(int)


def read_song(path: Path, last: int | None = None) -> Song:
    """Loads a MIDI file, or its ``last`` bars, on the sixteenth grid: by the file's own bars if its notes keep to them,
    else by beat tracking.

    Raises InputError when the file has no notes, or is not in 4/4 where it does keep to its bars.
    """
    score = media.read_midi(path)
    notes = notes_of(score)
    if not len(notes):
        raise InputError(f"{path} holds no notes to work with (drums do not count)")
    found = _written_beats(score, path, last is not None)
    if found is None:
        note(f"{path.name}: its bars were found by its accents, since its notes do not keep to the file's own grid.")
        heard = notes if last is None else notes[notes[:, 0] >= notes[-1, 0] - last * SLOWEST]
        beats = track(heard)
        steps = np.arange(0, score.end() + 64 * score.tpq, max(score.tpq // 4, 1))
        ticks = np.interp(beats.times, _tick_seconds(score, steps), steps)
    else:
        beats, ticks = found
        if last is not None:
            bars = int(np.searchsorted(beats.times, notes[-1, 0] + 1e-3, side="right") - 1) // 4 + 1
            skip = max(bars - last, 0) * 4
            beats, ticks = Beats(beats.times[skip:], 0), ticks[skip:]
        heard = notes[notes[:, 0] >= beats.times[0] - 1e-3]
    grid = quantise(heard, beats, estimate(heard, beats))
    phase = np.arange(len(beats.times)) * 4 - beats.downbeat * 4
    first = int(np.floor((np.interp(heard[:, 0].min(), beats.times, phase) + 1e-6) / POSITIONS)) * POSITIONS
    start = int(np.searchsorted(phase, first))
    song = Song(score, grid, ticks[start:] if start < len(ticks) - 1 else ticks)
    return song if last is None else _ended(song, last)


def _ended(song: Song, last: int) -> Song:
    """The ``last`` bars of a song."""
    skip = max(len(song.grid.tempo) - last, 0)
    notes = song.grid.notes[song.grid.notes[:, 0] >= skip * POSITIONS] - np.array([skip * POSITIONS, 0, 0, 0])
    grid = Grid(notes, song.grid.tempo[skip:], song.grid.chords[skip * 4 :])
    return Song(song.score, grid, song.ticks(np.arange(skip * 4, len(song.grid.tempo) * 4 + 1) * 4))


def read_grid(path: Path) -> Grid:
    """:func:`read_song`'s grid, with a note for what of a file a piano in sixteenths has no place for."""
    song = read_song(path)
    score, name = song.score, path.name
    if any(track.is_drum and track.notes for track in score.tracks):
        note(f"{name}: its drums are left out, since the piano has none.")
    played = {track.program for track in score.tracks if track.notes and not track.is_drum}
    if played - set(range(8)):  # programs of General MIDI that are pianos
        note(f"{name}: all its instruments are played on the piano.")
    if any(t.controls or t.pitch_bends or t.pedals for t in score.tracks):
        note(f"{name}: its pedal, pitch bends and controllers are left out; notes last as long as they are held.")
    return song.grid


def _written_beats(score, path: Path, end: bool) -> tuple[Beats, np.ndarray] | None:
    """The file's own beats and their ticks (m,), if at least ON_GRID of its onsets keep to its sixteenths; with ``end``
    only those after the last change of metre."""
    ticks = np.concatenate([t.notes.numpy()["time"] for t in score.tracks if not t.is_drum])
    step = score.tpq / 4
    off = np.abs(ticks / step - np.round(ticks / step))
    if (off < 0.1).mean() < ON_GRID:
        return None
    signs = sorted((t.time, t.numerator, t.denominator) for t in score.time_signatures)
    if any((over, under) != (4, 4) for _, over, under in signs[-1 if end else 0 :]):
        where = "at its end" if end else "throughout"
        raise InputError(f"{path} is not in 4/4 {where}, the only metre this model knows")
    begin = signs[-1][0] if end and signs else 0
    beats = np.arange(begin, ticks.max() + 5 * score.tpq, score.tpq)
    return Beats(_tick_seconds(score, beats), 0), beats


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


def export_miditok(grid: Grid, tokenizer, path: Path, manifest: dict | None = None) -> None:
    """Write the piece as a token file of a MidiTok tokenizer (``{"ids": ...}``), which its datasets read."""
    import json

    from gen.marks.digest import stamp

    tokenizer.save_tokens(tokenizer.encode(to_score(grid)), path)
    if manifest is not None:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"manifest": manifest}))
        stamp(path)


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
