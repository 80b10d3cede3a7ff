"""The recordings that the bank is made from, as sound and features in one folder of plain arrays.

``data`` holds ``speech/emotional`` (acted emotions). Everything is read once: ``<cache>/{wave,mel,hz}.npy`` hold all
clips end to end, ``clips.json`` says what is where.
"""

import csv
import json
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from gen.media import read_audio
from voice_conversion import features

log = logging.getLogger(__name__)

SPEECH = Path("speech", "emotional")  # the acted speech under ``data``
LEVELS = {"normal": 0.75, "strong": 1.25}  # RAVDESS; what has no level counts as 1
TEST = {  # of the acted speech; the embedding keeps to this split, too
    *("ravdess:Actor_17", "ravdess:Actor_18", "ravdess:Actor_19", "ravdess:Actor_20"),
    *("emodb:12", "emodb:13", "nemo:MK0", "nemo:WR0"),
}
VALID = {"ravdess:Actor_15", "ravdess:Actor_16", "emodb:09", "nemo:TP0"}
ASIDE = {*(f"ravdess:Actor_{k}" for k in (13, 14, 15, 16)), "emodb:09", "emodb:11", "nemo:TP0"}  # develop and calibrate


class Clip(NamedTuple):
    """One recording; its frames are ``start`` to ``start + frames`` of the arrays."""

    start: int
    frames: int
    speaker: str
    sex: str
    group: str  # the corpus
    part: str  # train, valid or test
    emotion: str  # a word of the lexicon
    level: float
    text: str  # what renditions of the same words share
    file: str


def part_of(person: str) -> str:
    """The part of the split that a speaker belongs to."""
    return "test" if person in TEST else "valid" if person in VALID else "train"


class Corpus:
    """Read-only arrays over all clips; see the module."""

    def __init__(self, folder: Path):
        self.wave, self.mel, self.hz = (np.load(folder / f"{n}.npy", mmap_mode="r") for n in ("wave", "mel", "hz"))
        rows = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
        self.clips = [Clip(*row) for row in rows]

    def samples(self, clip: Clip) -> np.ndarray:
        """(s,) float32."""
        hop = features.HOP
        part = self.wave[clip.start * hop : (clip.start + clip.frames) * hop]
        return part.astype(np.float32) / 32768

    def rows(self, clip: Clip) -> slice:
        return slice(clip.start, clip.start + clip.frames)


def levelled(samples: np.ndarray) -> np.ndarray:
    """A whole number of frames at the loudness that features are measured at; silence stays as it is."""
    samples = features.cut(samples)
    loud = features.loudness(samples)
    return samples * (features.LOUD / loud) if loud > 1e-5 else samples


def labels(data: Path) -> list[dict[str, str]]:
    """The rows of the acted speech's labels.csv under ``data``."""
    with open(data / SPEECH / "labels.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def text_of(row: dict[str, str]) -> str:
    """The text of a row of labels.csv, the same for all readings of the same words."""
    return row["text_id"].split("r")[0] if row["set"] == "ravdess" else row["text_id"]


def build(data: Path, folder: Path) -> Corpus:
    """The corpus in ``folder``, which is filled first where it is empty."""
    if not (folder / "clips.json").is_file():
        log.info("reading the recordings once, into %s", folder)
        _fill(data, folder)
    return Corpus(folder)


def _fill(data: Path, folder: Path) -> None:
    at, clips, parts = 0, [], {"wave": [], "mel": [], "hz": []}
    for row in labels(data):
        samples = levelled(read_audio(data / SPEECH / row["file"], features.RATE)[0]).clip(-1, 1)
        parts["wave"].append((samples * 32767).astype(np.int16))
        parts["mel"].append(features.mel(torch.from_numpy(samples)[None])[0].numpy().astype(np.float16))
        parts["hz"].append(features.track(samples))
        frames = len(samples) // features.HOP
        clips.append(
            Clip(
                at,
                frames,
                row["speaker"],
                row["gender"],
                row["set"],
                part_of(row["speaker"]),
                row["emotion"],
                LEVELS.get(row["intensity"], 1.0),
                text_of(row),
                row["file"],
            )
        )
        at += frames
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in parts.items():
        np.save(folder / f"{name}.npy", np.concatenate(arrays))
    (folder / "clips.json").write_text(json.dumps(clips, ensure_ascii=False), encoding="utf-8")
