"""Clips of face motion with what is heard and felt, made once from ``DATA/face/motion``, and windows of them."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gen import media
from gen.emotion.features import FACE, SHAPES, face
from gen.emotion.spec import CANONICAL
from gen.errors import InputError
from talking_head.dice.motion.generate import AHEAD, FPS, WINDOW, sound
from talking_head.dice.speech import RATE

SOURCES = {"grid_s1": 8, "facegood": 3, "mead_silent": 4, "neurosync": 1}  # of a batch of 16
READ = {"grid_s1": "neutral"}  # emotion of sources that have but one
NAMES = {"angry": "anger", "disgusted": "disgust", "surprised": "surprise"}
HELD = 15  # every so manieth clip is kept for evaluation
FRAMES = WINDOW + AHEAD  # of a training window
PAINTED = 0.6  # share of the windows of speech that get an expression from silent clips
STRONGEST = 1.6
# what is left of an expression while the mouth speaks: half of what jaw and mouth do, but for smiles and frowns
OVER_SPEECH = np.where((np.arange(FACE) >= 15) & (np.arange(FACE) <= 40), 0.5, 1.0).astype(np.float32)
OVER_SPEECH[23:27] = 1.0


class Clip(NamedTuple):
    """n frames."""

    name: str
    source: str
    motion: np.ndarray  # (n, 58)
    measured: np.ndarray  # (58,) bool
    rows: np.ndarray  # (n, 320), or (0, 320) without sound
    emotion: int  # place in CANONICAL, -1 unknown
    level: float  # intensity


def clips(data: Path, source: str) -> list[Clip]:
    """All clips of a motion file, with their sound where there is any."""
    path = data / "face" / "motion" / f"{source}.npz"
    if not path.is_file():
        raise InputError(f"{path} is missing: --data must name the folder that holds face/motion")
    with np.load(path, allow_pickle=False) as file:
        table = {key: file[key] for key in file}
    measured = np.ones(FACE, bool)
    measured[:52] = table.get("valid", measured[:52])
    measured[52:] = "pose" in table
    made = []
    for i, name in enumerate(table["clip_names"]):
        part = slice(table["offsets"][i], table["offsets"][i + 1])
        motion = face(table["coefs"][part], table["pose"][part] if "pose" in table else None)
        heard = path.with_name(f"{source}_audio") / f"{name}.opus"
        rows = np.zeros((0, 320), np.float32)
        if heard.is_file():
            rows = sound(media.read_audio(heard, RATE)[0]).numpy()
            motion, rows = motion[: len(rows)], rows[: len(motion)]
        felt = str(table["emotion"][i]) if "emotion" in table else READ.get(source, "")
        felt = NAMES.get(felt, felt)
        level = float(table["level"][i]) / 2 if "level" in table else 1.0
        made.append(Clip(str(name), source, motion, measured, rows, CANONICAL.index(felt) if felt else -1, level))
    return made


def prepared(data: Path, out: Path, sources: dict[str, int]) -> list[Clip]:
    """The clips of all sources, read once and kept in ``OUT/motion.npz``."""
    path = out / "motion.npz"
    if not path.exists():
        found = [clip for source in sources for clip in clips(data, source)]
        facts = [[c.name, c.source, len(c.motion), len(c.rows), c.emotion, c.level] for c in found]
        np.savez(path, facts=json.dumps(facts), motion=np.concatenate([c.motion for c in found]).astype(np.float16),
                 rows=np.concatenate([c.rows for c in found]).astype(np.float16),
                 measured=np.stack([c.measured for c in found]))  # fmt: skip
    with np.load(path, allow_pickle=False) as file:
        facts, stacks = json.loads(str(file["facts"])), [file["motion"], file["rows"]]
        measured, made, at = file["measured"], [], [0, 0]
    for (name, source, *counts, emotion, level), valid in zip(facts, measured, strict=True):
        motion, rows = (stack[a : a + n].astype(np.float32) for stack, a, n in zip(stacks, at, counts, strict=True))
        made.append(Clip(name, source, motion, valid, rows, emotion, level))
        at = [a + n for a, n in zip(at, counts, strict=True)]
    return made


class Batch(NamedTuple):
    """b windows of FRAMES frames."""

    motion: Tensor  # (b, n, 58)
    measured: Tensor  # (b, 1, 58) bool
    rows: Tensor  # (b, n, 320)
    heard: Tensor  # (b,) bool: whether there is sound
    rest: Tensor  # (b, 58)
    emotion: Tensor  # (b,) long, -1 unknown
    level: Tensor  # (b,)


def expressions(clips: list[Clip]) -> dict[int, np.ndarray]:
    """For each emotion that silent clips show: how faces (58,) differ from neutral ones then, at intensity 1."""
    shown = [clip for clip in clips if not len(clip.rows) and clip.emotion >= 0]
    calm = [clip.motion.mean(0) for clip in shown if clip.emotion == 0]
    if not calm:
        return {}
    kinds = sorted({clip.emotion for clip in shown} - {0})
    off = lambda kind: [(c.motion.mean(0) - np.mean(calm, 0)) / c.level for c in shown if c.emotion == kind]
    return {kind: np.mean(off(kind), 0).astype(np.float32) for kind in kinds}


def painted(motion: np.ndarray, expressions: dict[int, np.ndarray],
            random: np.random.Generator) -> tuple[np.ndarray, int, float]:  # fmt: skip
    """Speech (n, 58) with an expression over it, which one, and its intensity."""
    kind, level = int(random.choice(list(expressions))), float(random.uniform(0.2, STRONGEST))
    motion = motion + level * expressions[kind] * OVER_SPEECH
    motion[:, :SHAPES] = motion[:, :SHAPES].clip(0, 1.2)
    return motion, kind, level


class Windows:
    """Endless random windows; the reference is another frame of the clip, as a photograph would be.

    Corpora of speech are calm: some of their windows get the expression of another corpus' people.
    """

    def __init__(self, clips: list[Clip], shares: dict[str, int], seed: int):
        self.random, self.shares, self.expressions = np.random.default_rng(seed), shares, expressions(clips)
        self.clips = {name: [c for c in clips if c.source == name and len(c.motion) > FRAMES] for name in shares}

    def __call__(self) -> Batch:
        rows = []
        for name, count in self.shares.items():
            own = self.clips[name]
            weight = np.array([len(clip.motion) for clip in own], float)
            rows += [self._one(own[i]) for i in self.random.choice(len(own), count, p=weight / weight.sum())]
        return Batch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))

    def _one(self, clip: Clip) -> tuple:
        start = int(self.random.integers(len(clip.motion) - FRAMES + 1))
        part, heard = slice(start, start + FRAMES), len(clip.rows) > 0
        rows = clip.rows[part] if heard else np.zeros((FRAMES, 320), np.float32)
        near = int(self.random.integers(max(0, start - 4 * FPS), min(len(clip.motion), start + 4 * FPS)))
        motion, emotion, level = clip.motion[part], clip.emotion, clip.level
        if heard and self.expressions and self.random.random() < PAINTED:
            motion, emotion, level = painted(motion, self.expressions, self.random)
        told = np.int64(emotion), np.float32(level)
        return motion, clip.measured[None], rows, np.bool_(heard), clip.motion[near], *told


def parted(clips: list[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Clips to train on and to evaluate with: every HELD-th of a source with many."""
    held = {c.name for source in SOURCES for c in [c for c in clips if c.source == source][HELD - 1 :: HELD]}
    return [c for c in clips if c.name not in held], [c for c in clips if c.name in held]
