"""The files of a piece: MIDI, notation, tokens, sound and the hands apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gen import media
from music import controls

if TYPE_CHECKING:
    from music.names import Key
    from music.task import MusicTask
    from music.tokens import Grid

RATE = 44100  # Hz, of the piano


class Made(NamedTuple):
    """A score of the user's with what is new in it, or a piece on the grid; what is played, if it is not the whole."""

    score: object | None  # symusic.Score
    grid: Grid | None = None
    key: Key | None = None
    heard: object | None = None  # symusic.Score


def write(task: MusicTask, made: Made, name: Path, facts: dict) -> list[Path]:
    """Writes the files of a piece and returns their paths."""
    from music.score import HANDS, to_score

    paths = [name.with_suffix(".mid")]
    score = made.score or to_score(made.grid, made.key, task.program)
    media.write_midi(paths[0], score, facts, channel=None if made.score else 0)
    if task.score:
        from music import notation

        paths += notation.write(made.grid, made.key, name, facts, f"{task.emotion}")
    if task.tokens:
        import miditok

        from music.score import export_miditok

        kinds = {
            "remi": miditok.REMI,
            "tsd": miditok.TSD,
            "structured": miditok.Structured,
            "cpword": miditok.CPWord,
            "midilike": miditok.MIDILike,
        }
        paths.append(name.with_suffix(".tokens.json"))
        export_miditok(made.grid, kinds[task.tokens](), paths[-1], facts)
    if task.audio:
        paths.append(name.with_suffix(f".{task.format}"))
        media.write_audio(paths[-1], *heard(task, made.heard or score, made.grid), facts)
    for hand in HANDS if task.stems else ():
        stem = name.with_name(f"{name.name}-{hand.split()[0]}")
        score = to_score(made.grid, made.key, task.program, (hand,))
        paths.append(stem.with_suffix(".mid"))
        media.write_midi(paths[-1], score, facts, channel=0)
        if task.audio:
            paths.append(stem.with_suffix(f".{task.format}"))
            media.write_audio(paths[-1], *heard(task, score, made.grid), facts)
    return paths


def heard(task: MusicTask, score, grid: Grid | None) -> tuple[np.ndarray, int]:
    """The sound (2, n) of a score and its rate in Hz."""
    from music import instruments, synth

    if task.instrument:
        sound, rate = instruments.render(score, task.font)
    else:
        sound, rate = synth.render(score), RATE
    if task.loop or task.seconds or task.film:
        sound = synth.fitted(sound, controls.length(grid), rate, task.loop)
    return sound, rate
