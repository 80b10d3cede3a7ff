"""The recordings that the voice learns from, as sound and features in one folder of plain arrays.

``data`` holds ``speech/emotional`` (acted emotions) and ``speech/aligned`` (phoneme times). Everything is read once:
``<cache>/{wave,mel,hz,phone}.npy`` hold all clips end to end, ``clips.json`` says what is where.
"""

import csv
import json
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from gen.errors import InputError
from gen.jobs.inputs import SOUNDS
from gen.media import read_audio
from voice_conversion import features

log = logging.getLogger(__name__)

LEVELS = {"normal": 0.75, "strong": 1.25}  # RAVDESS; what has no level counts as 1
TEST = {  # of the acted speech; the embedding keeps to this split, too
    *("ravdess:Actor_17", "ravdess:Actor_18", "ravdess:Actor_19", "ravdess:Actor_20"),
    *("emodb:12", "emodb:13", "nemo:MK0", "nemo:WR0"),
}
VALID = {"ravdess:Actor_15", "ravdess:Actor_16", "emodb:09", "nemo:TP0"}
HELD = {"test": {"af_nicole", "af_sky", "am_adam", "bf_lily", "bm_lewis"}, "valid": {"af_river", "am_puck"}}
MARKS = {"ˈ", "ˌ"}  # stress: its frames belong to the vowel after it
PAUSES = {"^", " ", ".", ",", "!", "?", ";", ":", "—", "…", '"', "(", ")", "“", "”"}


class Clip(NamedTuple):
    """One recording; its frames are ``start`` to ``start + frames`` of the arrays."""

    start: int
    frames: int
    speaker: str
    group: str  # the corpus
    part: str  # train, valid or test
    emotion: str  # a word of the lexicon
    level: float
    text: str  # what renditions of the same words share
    words: str
    file: str


def part_of(person: str) -> str:
    return "test" if person in TEST else "valid" if person in VALID else "train"


class Corpus:
    """Read-only arrays over all clips; see the module."""

    def __init__(self, folder: Path):
        load = lambda name: np.load(folder / f"{name}.npy", mmap_mode="r")
        self.wave, self.mel, self.hz, self.phone = map(load, ("wave", "mel", "hz", "phone"))
        facts = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
        self.clips = [Clip(*row) for row in facts["clips"]]
        self.phones: list[str] = facts["phones"]

    def samples(self, clip: Clip) -> np.ndarray:
        """(s,) float32."""
        hop = features.HOP
        part = self.wave[clip.start * hop : (clip.start + clip.frames) * hop]
        return part.astype(np.float32) / 32768

    def rows(self, clip: Clip) -> slice:
        return slice(clip.start, clip.start + clip.frames)


def levelled(samples: np.ndarray) -> np.ndarray:
    """A whole number of frames at the loudness that the networks know; silence stays as it is."""
    samples = features.cut(samples)
    loud = features.loudness(samples)
    return samples * (features.LOUD / loud) if loud > 1e-5 else samples


def build(data: Path, folder: Path) -> Corpus:
    """The corpus in ``folder``, which is filled first where it is empty."""
    if not (folder / "clips.json").is_file():
        log.info("reading the recordings once, into %s", folder)
        _fill([*_emotional(data / "speech" / "emotional"), *_aligned(data / "speech" / "aligned")], folder)
    return Corpus(folder)


def own(recordings: Path, folder: Path) -> Corpus:
    """The same of somebody's own recordings, all by one person and of no known emotion; a tenth is for validation."""
    files = sorted(path for path in recordings.rglob("*") if path.suffix.lower() in SOUNDS)
    if not files:
        raise InputError(f"there is no sound in {recordings}: give a folder of recordings of one person")
    if not (folder / "clips.json").is_file():
        parts = ["valid" if i % 10 == 9 else "train" for i in range(len(files))]
        _fill([(path, ("own", "own", part, "neutral", 1.0, path.stem, "", path.name), [])
               for path, part in zip(files, parts)], folder)  # fmt: skip
    return Corpus(folder)


def _fill(entries: list[tuple], folder: Path) -> None:
    """Entries are (path, the facts of a clip from ``speaker`` on, phones with their ends)."""
    phones = sorted({p for entry in entries for p, _ in entry[2]})
    at, clips, parts = 0, [], {"wave": [], "mel": [], "hz": [], "phone": []}
    for path, facts, spans in entries:
        samples = levelled(read_audio(path, features.RATE)[0]).clip(-1, 1)
        frames = len(samples) // features.HOP
        parts["wave"].append((samples * 32767).astype(np.int16))
        parts["mel"].append(features.mel(torch.from_numpy(samples)[None])[0].numpy().astype(np.float16))
        parts["hz"].append(features.track(samples))
        parts["phone"].append(_phones(spans, phones, frames))
        clips.append((at, frames, *facts))
        at += frames
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in parts.items():
        np.save(folder / f"{name}.npy", np.concatenate(arrays))
    text = json.dumps({"phones": phones, "clips": clips}, ensure_ascii=False)
    (folder / "clips.json").write_text(text, encoding="utf-8")


def _emotional(place: Path):
    with open(place / "labels.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            person, text = row["speaker"], row["text_id"].split("r")[0] if row["set"] == "ravdess" else row["text_id"]
            level = LEVELS.get(row["intensity"], 1.0)
            facts = person, row["set"], part_of(person), row["emotion"], level, text, row["text"], row["file"]
            yield place / row["file"], facts, []


def _aligned(place: Path):
    with open(place / "rows.jsonl", encoding="utf-8") as file:
        for row in map(json.loads, file):
            voice = row["voice"]
            part = next((name for name, voices in HELD.items() if voice in voices), "train")
            facts = f"aligned:{voice}", "aligned", part, "neutral", 1.0, row["file"], row["text"], row["file"]
            yield place / row["file"], facts, _spans(row)


def _spans(row: dict) -> list[tuple[str, float]]:
    """(phone, end in seconds) in order; all pauses are one phone, a stress mark goes to the vowel after it."""
    spans, end = [], 0.0
    for phone, frames in zip(row["phones"], row["frames"]):
        end += frames * row["frame_s"]
        if phone not in MARKS:
            spans.append(("_" if phone in PAUSES else phone, end))
    return spans


def _phones(spans: list[tuple[str, float]], phones: list[str], frames: int) -> np.ndarray:
    """(frames,) index of the phone at each frame's middle; -1 where none is known."""
    if not spans:
        return np.full(frames, -1, np.int16)
    names, ends = zip(*spans)
    middle = (np.arange(frames) + 0.5) * features.HOP / features.RATE
    at = np.searchsorted(np.array(ends), middle, side="right").clip(max=len(names) - 1)
    return np.array([phones.index(name) for name in names], np.int16)[at]
