"""The corpora as note arrays, and the one split that training, judge and evaluation share."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen.emotion.corpus import part_of_song


class Clip(NamedTuple):
    """One labelled EMOPIA clip: its file, song, quadrant (1..4) and part of the split."""

    path: Path
    song: str
    quadrant: int
    part: str


def emopia(data: Path) -> list[Clip]:
    """All EMOPIA clips under ``data`` (the folder that holds ``emopia/labels.csv``)."""
    with open(data / "emopia" / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Clip(data / "emopia" / row["file"], row["song"], int(row["quadrant"][1]), part_of_song(row["song"]))
        for row in rows
    ]


def read_notes(path: Path, programs: set[str] | None = None) -> np.ndarray:
    """Notes of a MIDI file as float64 (n, 4): start s, end s, pitch, velocity; sorted by start, then high to low.

    Drums are left out; ``programs`` keeps only tracks of these names (POP909: MELODY, BRIDGE, PIANO).
    """
    import symusic

    score = symusic.Score(path).to("second")
    tracks = [t for t in score.tracks if not t.is_drum and (programs is None or t.name in programs)]
    rows = [(n.start, n.start + n.duration, n.pitch, n.velocity) for t in tracks for n in t.notes]
    notes = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return notes[np.lexsort((-notes[:, 2], notes[:, 0]))]
