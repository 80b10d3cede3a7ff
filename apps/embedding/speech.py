"""Training data of the voice encoder: feature rows of versions of each recording, and the teacher's outputs.

Acted speech (RAVDESS, EmoDB, nEMO), read speech (GRID, FACEGOOD, synthetic aligned speech), and sounds without
emotional speech, made from the aligned speech and EMOPIA's pieces. :func:`prepare` writes ``sound.i16`` (all recordings
concatenated, 16 kHz, trimmed, equal loudness), ``takes.json``, ``rows0.npz`` (unmodified recordings), ``rows1.npz`` and
on (augmented) and ``taught.npz``.
"""

import json
import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from apps.embedding import augment, teacher
from apps.embedding.corpus import Clip
from apps.embedding.soft_labels import Facts, soft_labels
from gen import checkpoints
from gen.emotion.embedding import features
from gen.emotion.embedding.network import TERMS
from gen.media import read_audio, read_midi
from gen.whisper import Whisper
from music.synth import render
from music.training.emopia import emopia
from voice_conversion.training.corpus import LEVELS, SPEECH, labels, part_of

log = logging.getLogger(__name__)
ASIDE = {*(f"ravdess:Actor_{k}" for k in (13, 14, 15, 16)), "emodb:09", "emodb:11", "nemo:TP0"}  # for calibration
SPOKEN = {"angry": "anger"}
ACTED = ("ravdess", "emodb", "nemo")
READING = ("aligned", "grid", "facegood")  # read speech: labelled neutral
UNREAD = {"af_nicole", "af_sky", "am_adam", "bf_lily", "bm_lewis"}  # test voices of the aligned speech
VERSIONS = 3  # versions of each recording; the first is unmodified
OUTLIERS = {"train": 500, "test": 100}
TUNES = {"train": 40, "test": 12}  # pieces used in outliers and noise
SECONDS = 12.0  # of each
DIRECTIONS = 256  # components of the teacher's pooled blocks
SLIM = 64  # components of its frames
TEACHER_STEP = teacher.TOGETHER * 0.02  # seconds


class Take(NamedTuple):
    """A recording. ``term`` indexes TERMS; len(TERMS) stands for sounds without emotional speech."""

    group: str
    person: str
    term: int
    level: float
    part: str
    key: str
    size: int = 0  # samples


class Speech:
    """The data written by :func:`prepare`; ``rows`` of a take, unmodified (version 0) or augmented."""

    def __init__(self, cache: Path, versions: int = VERSIONS):
        self.takes = [Take(*row) for row in json.loads((cache / "takes.json").read_text(encoding="utf-8"))]
        self.versions, self._rows, self._ends, self.speed = versions, [], [], []
        for v in range(versions):
            with np.load(cache / f"rows{v}.npz") as file:
                self._rows.append(file["rows"])
                self._ends.append(np.append(0, np.cumsum(file["sizes"])))
                self.speed.append(file["speed"])
        self.lessons = cache / "taught.npz"
        self.learn()

    def learn(self) -> None:
        """Loads the teacher's outputs computed so far."""
        count = len(self.takes)
        self.pooled, self.taught = np.zeros((count, DIRECTIONS), np.float32), np.zeros(count, bool)
        self.alone, self.pair = (np.zeros((count, len(TERMS) + 1), np.float32) for _ in range(2))
        self.frames, self._first = np.zeros((1, SLIM), np.float32), np.zeros(count + 1, int)
        if self.lessons.is_file():
            with np.load(self.lessons) as file:
                own = len(file["pooled"])
                self.pooled[:own], self.taught[:own] = file["pooled"], file["taught"]
                self.frames = file["frames"].astype(np.float32)
                self.alone, self.pair = file["alone"], file["pair"]
                self._first[1 : own + 1] = np.cumsum(file["count"])
                self._first[own + 1 :] = self._first[own]

    def rows(self, i: int, version: int = 0) -> np.ndarray:
        """(n, 68) float16"""
        ends = self._ends[version]
        return self._rows[version][ends[i] : ends[i + 1]]

    def clips(self, index: list[int], *vectors: Tensor) -> list[Clip]:
        """Recordings as clips whose rows are the ``vectors`` (n, v) of their versions."""
        rows = torch.stack(vectors, 1).numpy()
        return [
            Clip(own, take.term, -1, take.level, take.person, take.group, take.part, take.key)
            for own, take in zip(rows, (self.takes[i] for i in index))
        ]

    def facts(self, index: Sequence[int], closed: Collection[str] = ()) -> Facts:
        """Labels for the networks on the teacher's blocks; labels of the speakers ``closed`` are hidden."""
        takes = [self.takes[i] for i in index]
        group, person, term = (
            np.array([getattr(take, field) for take in takes]) for field in ("group", "person", "term")
        )
        return Facts(group, person, term, np.isin(group, ACTED) & ~np.isin(person, [*closed]))

    def framed(self, index: list[int], at: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's frames (b m s) of recordings at times ``at`` (b m) in seconds, and whether they exist (b m)."""
        first, last = self._first[index], self._first[np.array(index) + 1]
        place = at.numpy() / TEACHER_STEP - 0.5
        there = (place > -0.6) & (place < (last - first)[:, None] - 0.4)
        size = np.maximum(last - first, 1)[:, None]
        place = np.clip(place, 0, size - 1)
        low = np.minimum(place.astype(int), np.maximum(size - 2, 0))
        share = (place - low)[..., None].astype(np.float32)
        base = first[:, None] + low
        base = np.minimum(base, len(self.frames) - 1)
        after = np.minimum(base + 1, len(self.frames) - 1)
        return torch.from_numpy(self.frames[base] * (1 - share) + self.frames[after] * share), torch.from_numpy(there)


def prepare(data: Path, cache: Path, told_by: str = "", versions: int = VERSIONS) -> None:
    """Fills ``cache`` from the recordings under ``data`` if needed; ``told_by``: the teacher's checkpoint.

    One of the ``versions``, the unmodified recordings, is enough for an evaluation, and takes a fifth of the time.
    """
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / f"rows{versions - 1}.npz").is_file():
        _listen(data, cache, versions)
    if told_by and not (cache / "taught.npz").is_file():
        _ask(Whisper(checkpoints.folder(told_by) / "model.bin"), cache)


def _recordings(data: Path) -> Iterator[tuple[Take, np.ndarray]]:
    """Acted and read speech."""
    read = lambda path: read_audio(path, features.RATE)[0]
    for row in labels(data):
        term, person = TERMS.index(SPOKEN.get(row["emotion"], row["emotion"])), row["speaker"]
        take = Take(row["set"], person, term, LEVELS.get(row["intensity"], 1.0), part_of(person), row["text_id"])
        yield take, read(data / SPEECH / row["file"])
    for line in (data / "speech/aligned/rows.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        part = "test" if row["voice"] in UNREAD else "train"
        take = Take("aligned", f"aligned:{row['voice']}", 0, 1.0, part, row["file"])
        yield take, read(data / "speech/aligned" / row["file"])
    for path in sorted((data / "face/motion/grid_s1_audio").iterdir())[::5]:
        yield Take("grid", "grid:s1", 0, 1.0, "train", path.stem), read(path)
    for path in sorted((data / "face/motion/facegood_audio").iterdir()):
        x = read(path)
        for start in range(0, len(x) - 4 * features.RATE, 6 * features.RATE):
            take = Take("facegood", "facegood", 0, 1.0, "train", f"{path.stem}{start}")
            yield take, x[start : start + 5 * features.RATE]


def _tunes(data: Path, rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """The first seconds of pieces, rendered as piano."""
    clips, found = emopia(data / "music"), {}
    for part, count in TUNES.items():
        own = [clip for clip in clips if clip.part == part]
        scores = [read_midi(own[i].path).to("second").clip(0.0, SECONDS) for i in rng.permutation(len(own))[:count]]
        found[part] = [render(score, features.RATE).mean(0)[: int(SECONDS * features.RATE)] for score in scores]
    return found


def _listen(data: Path, cache: Path, versions: int) -> None:
    rng, takes, sounds = np.random.default_rng(0), [], []
    for take, x in _recordings(data):
        takes.append(take)
        sounds.append((features.levelled(x) * 32767).astype(np.int16))
    tunes, real = _tunes(data, rng), lambda x: x.astype(np.float32) / 32767
    talk = {
        part: [real(x) for take, x in zip(takes, sounds) if take.group == "aligned" and take.part == part][::7]
        for part in OUTLIERS
    }
    for part, count in OUTLIERS.items():
        for k in range(count):
            takes.append(Take("outlier", "outlier", len(TERMS), 1.0, part, f"{part}{k}"))
            sounds.append((features.levelled(augment.outlier(talk[part], tunes[part], rng)) * 32767).astype(np.int16))
    np.concatenate(sounds).tofile(cache / "sound.i16")
    facts = json.dumps([take._replace(size=len(x)) for take, x in zip(takes, sounds)])
    (cache / "takes.json").write_text(facts, encoding="utf-8")
    for version in range(versions):
        others = talk["train"], tunes["train"], rng
        made = [augment.vary(real(x), *others) if version else (real(x), 1.0) for x in sounds]
        rows = [features.voice(x).astype(np.float16) for x, _ in made]
        np.savez(
            cache / f"rows{version}.npz",
            rows=np.concatenate(rows),
            sizes=[len(row) for row in rows],
            speed=[speed for _, speed in made],
        )
        log.info("version %d of %d recordings", version, len(rows))


def _ask(whisper: Whisper, cache: Path) -> None:
    """Runs the teacher on acted speech and every second aligned recording, without test speakers."""
    speech, sound = Speech(cache), np.memmap(cache / "sound.i16", np.int16, "r")
    ends = np.cumsum([0, *(take.size for take in speech.takes)])
    own = [i for i, take in enumerate(speech.takes) if take.part != "test" and take.group not in ("grid", "facegood")]
    own = [i for i in own if speech.takes[i].term < len(TERMS) and (speech.takes[i].group != "aligned" or i % 2)]
    lessons = [teacher.lesson(whisper(sound[ends[i] : ends[i + 1]].astype(np.float32) / 32767)) for i in own]
    blocks, frames = (list(part) for part in zip(*lessons))
    flat = np.stack(blocks)[:, 1:].reshape(len(own), -1).astype(np.float32)
    pooled, count = np.zeros((len(speech.takes), DIRECTIONS), np.float32), np.zeros(len(speech.takes), int)
    pooled[own] = directions(flat, DIRECTIONS)
    count[own] = [len(row) for row in frames]
    predicted = np.zeros((2, len(speech.takes), len(TERMS) + 1), np.float32)
    predicted[:, own] = soft_labels(flat, speech.facts(own, ASIDE))
    slim = directions(np.concatenate(frames).astype(np.float32), SLIM)
    np.savez(
        cache / "taught.npz",
        pooled=pooled,
        taught=count > 0,
        count=count,
        frames=slim.astype(np.float16),
        alone=predicted[0],
        pair=predicted[1],
    )


def directions(x: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Principal components (n, count) of x (n, f), divided by the root of its standard deviation, mean square 1."""
    torch.manual_seed(seed)
    rows = torch.from_numpy(x)
    rows = (rows - rows.mean(0)) / (rows.std(0) + 1e-3)
    axes = torch.svd_lowrank(rows[torch.randperm(len(rows))[:20_000]], count + 20, niter=3)[2][:, :count]
    found = rows @ axes
    found = found / found.std(0).sqrt()
    return (found / found.square().mean().sqrt()).numpy()
