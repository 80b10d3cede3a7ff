"""Faces and music for training the embedding: features with labels, split by actor and song.

``data`` holds ``face/motion``, ``music/emopia`` and ``emotion``. Features are computed once and cached in
``<cache>/{face,music}.npz``. Voices: :mod:`apps.embedding.speech`.
"""

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen.emotion.embedding import features
from gen.emotion.embedding.network import TERMS
from music import reading
from music.training.emopia import part_of_song, vary
from talking_head.face import motion
from voice_conversion.training.corpus import LEVELS

log = logging.getLogger(__name__)

SEVEN = [TERMS.index(name) for name in ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")]
SPOKEN = {"angry": "anger"}  # names in the corpora that differ from TERMS
HELD = {"mead:W011"}  # the test actor
COPIES = 6  # copies of each piece; the first is unmodified
CARRIERS = 3  # synthetic expressions of each emotion for each stretch of motion


class Clip(NamedTuple):
    """A labelled recording. ``term`` indexes TERMS, ``quadrant`` Q1..Q4; -1 if unknown."""

    rows: np.ndarray  # (n, f) float16; of a voice (k v) float32, vectors of k versions of it
    term: int
    quadrant: int
    level: float  # intensity
    person: str  # a speaker, an actor or a song
    group: str  # the corpus
    part: str  # train, valid or test
    key: str  # identical for paired clips: sentence and repetition; for music the clip


def faces(data: Path) -> list[Clip]:
    """MEAD's actors, captured fear and sadness (brows and eyes only), neutral speech, and synthetic expressions.

    A synthetic expression is unlabelled speech motion plus the expression recipe of an emotion at some intensity. It is
    used for training only, since two actors are too few.
    """
    place, clips = data / "face" / "motion", []
    mead = _motion(place / "mead_silent.npz")
    for (coefs, pose), emotion, actor, level in zip(
        mead.clips, mead.file["emotion"], mead.file["actor"], mead.file["level"]
    ):
        term, person = TERMS.index(SPOKEN.get(str(emotion), str(emotion))), f"mead:{actor}"
        part = "test" if person in HELD else "train"
        strength = LEVELS["strong"] if level == 3 else 1.0
        rows = motion.rows(coefs, pose).astype(np.float16)
        clips.append(Clip(rows, term, -1, strength, person, "mead", part, ""))
    captured = _motion(place / "neurosync.npz")
    for (coefs, _), label in zip(captured.clips, captured.file["label"]):
        if label in TERMS:
            rows = motion.rows(coefs * captured.file["valid"]).astype(np.float16)
            clips.append(Clip(rows, TERMS.index(label), -1, 1.0, "neurosync", "neurosync", "train", ""))
    talking = [own for own in zip(*_talking(place)) if own[1] == "grid_s1"]
    for (coefs, pose), name in talking[::3]:
        clips.append(Clip(motion.rows(coefs, pose).astype(np.float16), 0, -1, 1.0, name, "grid", "train", ""))
    for clip in painted(data):
        clip.rows[:, features.UNMEASURED] = 0
        clips.append(clip)
    return clips


def _talking(place: Path) -> tuple[list[tuple[np.ndarray, np.ndarray | None]], list[str]]:
    """Recorded motion of speech, coefficients and poses, and the speakers."""
    grid, others = _motion(place / "grid_s1.npz").clips[::5], _motion(place / "other_clips.npz").clips
    return grid + others, ["grid_s1"] * len(grid) + [f"talk{i}" for i in range(len(others), 0, -1)]


class Motion(NamedTuple):
    file: dict
    clips: list[tuple[np.ndarray, np.ndarray | None]]


def _motion(path: Path) -> Motion:
    with np.load(path, allow_pickle=False) as file:
        held = {name: file[name] for name in file.files}
    cut = held["offsets"][1:-1]
    coefs = np.split(held["coefs"].astype(np.float32), cut)
    poses = np.split(held["pose"], cut) if "pose" in held else [None] * len(coefs)
    return Motion(held, list(zip(coefs, poses)))


def painted(data: Path, seed: int = 0) -> list[Clip]:
    """Up to four seconds of speech motion combined with each expression recipe; shapes that no tracker measures are
    in it."""
    place = data / "face" / "motion"
    known = json.loads((data / "emotion" / "expression_recipes.json").read_text(encoding="utf-8"))["recipes"]
    shapes = json.loads((place / "blendshape_names.json").read_text(encoding="utf-8"))
    rng, clips = np.random.default_rng(seed), []
    for index, ((coefs, pose), name) in enumerate(zip(*_talking(place))):
        if name == "grid_s1" and index % 6:
            continue
        for recipe, shares in known.items():
            term = TERMS.index(SPOKEN.get(emotion := recipe.split("_")[0], emotion))
            for _ in range(CARRIERS):
                start = rng.integers(max(1, len(coefs) - 100))
                rows = motion.rows(coefs[start : start + 100], None if pose is None else pose[start : start + 100])
                level = rng.uniform(0.5, 1.5)
                for shape, amount in shares.items():
                    for side in ("", "Left", "Right"):
                        if shape + side in shapes:
                            rows[:, shapes.index(shape + side)] += level * amount * rng.uniform(0.4, 1.2)
                rows[:, : features.SHAPES] = rows[:, : features.SHAPES].clip(0, 1)
                clips.append(Clip(rows.astype(np.float16), term, -1, level, name, "painted", "train", ""))
    return clips


def music(data: Path, seed: int = 0) -> list[Clip]:
    """EMOPIA; each training piece in augmented copies of 15 to 45 s."""
    with open(data / "music" / "emopia" / "labels.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    rng, clips = np.random.default_rng(seed), []
    for row in table:
        notes, part = reading.notes_of(data / "music" / "emopia" / row["file"]), part_of_song(row["song"])
        for copy in range(COPIES if part == "train" else 1):
            rows = reading.rows(vary(notes, rng) if copy else notes[:1200]).astype(np.float16)
            clips.append(Clip(rows, -1, int(row["quadrant"][1]) - 1, 1.0, row["song"], "emopia", part, row["file"]))
    return clips


def load(data: Path, cache: Path) -> dict[str, list[Clip]]:
    """Faces and music from ``cache``, which is filled first if needed."""
    return {name: cached(cache / f"{name}.npz", lambda read=read: read(data)) for name, read in READERS.items()}


READERS = {"face": faces, "music": music}


def cached(path: Path, read: Callable[[], list[Clip]]) -> list[Clip]:
    """The clips in ``path``, which ``read`` fills first if it is missing."""
    if not path.is_file():
        log.info("computing %s once", path)
        _save(read(), path)
    return _load(path)


def _save(clips: list[Clip], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"draft-{path.name}")
    rest = [[getattr(clip, name) for clip in clips] for name in Clip._fields[1:]]
    np.savez(
        draft,
        rows=np.concatenate([clip.rows for clip in clips]),
        sizes=[len(clip.rows) for clip in clips],
        **dict(zip(Clip._fields[1:], rest)),
    )
    draft.replace(path)


def _load(path: Path) -> list[Clip]:
    with np.load(path, allow_pickle=False) as file:
        rows = np.split(file["rows"], np.cumsum(file["sizes"])[:-1])
        rest = [file[name].tolist() for name in Clip._fields[1:]]
    return [Clip(*fields) for fields in zip(rows, *rest)]
