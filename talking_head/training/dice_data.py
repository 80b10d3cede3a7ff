"""Clips of face motion with speech features from ``DATA``, and windows of them.

n frames; f = 55 features: ARKit-52 counted from the face at rest, the head's rotation vector from its mean.
Lines without video have the lips of :class:`talking_head.training.teacher.Teacher`.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gen import checkpoints
from talking_head.motion.dice.generate import AHEAD, FEATURES, WINDOW
from talking_head.motion.dice.hearing import whole
from talking_head.motion.speech import SpeechEncoder
from talking_head.training import corpus
from talking_head.training.corpus import MOTION, MOUTH, clips_of
from talking_head.training.data import varied
from talking_head.training.emote import prepared as corpus_of

SHARES = {"grid": 12, "aligned": 4}  # of a batch of 16
FILES = {"grid": "grid_s1", "other": "other_clips"}
SPARED = 4  # every fourth line without video is used
FRAMES = WINDOW + AHEAD  # of a training window
NEAR = 100  # frames, largest distance of the frame that serves as the photo
STACKS = ("motion", "features")


class Clip(NamedTuple):
    """n frames, v augmented versions of the sound."""

    name: str
    source: str
    part: str  # train or test
    motion: np.ndarray  # (n, 55)
    features: np.ndarray  # (n, v, s)


def listened(clips: list[corpus.Clip], data: Path, speech: SpeechEncoder) -> list[Clip]:
    """Clips with head turns and features of ``speech``."""
    random, turns = np.random.default_rng(0), {}
    for source in sorted({c.source for c in clips} & FILES.keys()):
        for name, _, facts in clips_of(data / MOTION / f"{FILES[source]}.npz"):
            if "pose" in facts:
                turns[source, name] = facts["pose"][:, :3] - facts["pose"][:, :3].mean(0)
    return [_heard(c, turns.get((c.source, c.name)), speech, random) for c in clips]


def _heard(clip: corpus.Clip, turns: np.ndarray | None, speech: SpeechEncoder, random: np.random.Generator) -> Clip:
    rows = torch.from_numpy(clip.rows.astype(np.float32))
    turns = np.zeros((len(clip.motion), 3)) if turns is None else turns
    others = [torch.from_numpy(np.float32(varied(clip.rows.astype(np.float32), random)))] * (clip.part == "train")
    heard = np.stack([whole(speech, r).features.numpy() for r in (rows, *others)], 1)
    motion = np.concatenate((clip.motion, turns), 1).astype(np.float32)
    return Clip(clip.name, clip.source, clip.part, motion, heard[: len(motion)])


def prepared(data: Path, out: Path, teacher: str, ears: str) -> list[Clip]:
    """The clips with features of the encoder of ``teacher``, cached in ``OUT/motion.npz``; ``ears`` as in
    :func:`talking_head.training.corpus.build`."""
    path = out / "motion.npz"
    if not path.exists():
        speech = checkpoints.load(teacher, SpeechEncoder, "speech").float().eval()
        known = corpus_of(data, out, ears)
        lines = [c for c in known if c.source == "aligned" and c.part == "train"][::SPARED]
        found = listened([c for c in known if c.source == "grid"] + lines, data, speech)
        facts = [[c.name, c.source, c.part, *c.features.shape[:2]] for c in found]
        flat = {key: [getattr(c, key) for c in found] for key in STACKS}
        flat["features"] = [x.reshape(-1, x.shape[-1]) for x in flat["features"]]
        np.savez(path, facts=json.dumps(facts), **{k: np.concatenate(v).astype(np.float16) for k, v in flat.items()})
    with np.load(path, allow_pickle=False) as file:
        facts, stacks = json.loads(str(file["facts"])), [file[key] for key in STACKS]
    made, at = [], [0, 0]
    for name, source, part, n, versions in facts:
        motion = stacks[0][at[0] : at[0] + n].astype(np.float32)
        heard = stacks[1][at[1] : at[1] + n * versions].reshape(n, versions, -1).astype(np.float32)
        made.append(Clip(name, source, part, motion, heard))
        at = [at[0] + n, at[1] + n * versions]
    return made


def measured() -> dict[str, np.ndarray]:
    """For each source, a mask (55,) of its measured features: lines without video have lips alone."""
    lips_alone = np.zeros(FEATURES, bool)
    lips_alone[:52] = MOUTH
    return {"grid": np.ones(FEATURES, bool), "aligned": lips_alone}


class Batch(NamedTuple):
    """b windows of FRAMES frames."""

    motion: Tensor  # (b, n, 55)
    measured: Tensor  # (b, 1, 55) bool
    features: Tensor  # (b, n, s)
    rest: Tensor  # (b, 55) another frame of the clip, as the photo


class Windows:
    """Endless random windows."""

    def __init__(self, clips: list[Clip], known: dict[str, np.ndarray], seed: int):
        self.random, self.known = np.random.default_rng(seed), known
        self.clips = {
            name: [c for c in clips if c.source == name and c.part == "train" and len(c.motion) >= FRAMES]
            for name in SHARES
        }
        self.odds = {name: np.array([len(c.motion) for c in own], float) for name, own in self.clips.items()}

    def __call__(self) -> Batch:
        rows = []
        for name, count in SHARES.items():
            odds = self.odds[name] / self.odds[name].sum()
            rows += [self._one(self.clips[name][i]) for i in self.random.choice(len(odds), count, p=odds)]
        return Batch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows)))

    def _one(self, clip: Clip) -> tuple:
        start = int(self.random.integers(len(clip.motion) - FRAMES + 1))
        part = slice(start, start + FRAMES)
        near = int(self.random.integers(max(0, start - NEAR), min(len(clip.motion), start + NEAR)))
        heard = clip.features[part, self.random.integers(clip.features.shape[1])]
        return clip.motion[part], self.known[clip.source][None], heard, clip.motion[near]
