"""Clips of face motion with what is heard, made once from ``DATA``, and windows of them under random expressions.

n frames; f = 55 features: ARKit-52 counted from the face at rest, the head's rotation vector from its mean.
Lines that were only spoken borrow their lips from EMOTE.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gen import checkpoints
from gen.emotion import lexicon
from gen.emotion.spec import CANONICAL
from talking_head.face.basis import FaceBasis
from talking_head.motion.dice.generate import AHEAD, FEATURES, FPS, WINDOW
from talking_head.motion.dice.hearing import whole
from talking_head.motion.emote.model import Emote
from talking_head.motion.expression import express, target
from talking_head.motion.speech import CLOSED, SpeechEncoder
from talking_head.training import corpus, lips
from talking_head.training.corpus import MOTION, MOUTH, clips_of
from talking_head.training.data import varied
from talking_head.training.emote import Measures
from talking_head.training.emote import prepared as corpus_of

SHARES = {"grid": 12, "aligned": 4}  # of a batch of 16
FILES = {"grid": "grid_s1", "other": "other_clips"}
SPARED = 4  # every so manieth spoken line is taken
FRAMES = WINDOW + AHEAD  # of a training window
FELT = 0.7  # share of the windows with an expression
MET = 0.12  # centimetres of gap at which tracked lips count as met
STACKS = ("motion", "active", "closed", "features")


class Clip(NamedTuple):
    """n frames, v versions of the sound."""

    name: str
    source: str
    part: str  # train or test
    motion: np.ndarray  # (n, 55)
    active: np.ndarray  # (n,) in [0, 1]: whether there is speech
    closed: np.ndarray  # (n,) in [0, 1]: whether lips meet
    features: np.ndarray  # (n, v, s)


def listened(clips: list[corpus.Clip], data: Path, speech: SpeechEncoder, emote: Emote | None = None) -> list[Clip]:
    """Clips with the head's turns and what ``speech`` hears; ``emote`` says lines that nobody was seen saying."""
    measures, random, turns = Measures(FaceBasis.load()), np.random.default_rng(0), {}
    for source in sorted({c.source for c in clips} & FILES.keys()):
        for name, _, facts in clips_of(data / MOTION / f"{FILES[source]}.npz"):
            if "pose" in facts:
                turns[source, name] = facts["pose"][:, :3] - facts["pose"][:, :3].mean(0)
    return [_heard(c, turns.get((c.source, c.name)), speech, emote, measures, random) for c in clips]


def _heard(clip: corpus.Clip, turns: np.ndarray | None, speech: SpeechEncoder, emote: Emote | None, measures: Measures,
           random: np.random.Generator) -> Clip:  # fmt: skip
    rows = torch.from_numpy(clip.rows.astype(np.float32))
    active = activity(rows[None])[0].numpy()
    coefs = clip.motion.astype(np.float32)
    if not len(coefs):
        coefs = np.where(MOUTH, lips.predict(speech, emote, clip.rows), 0)
    gap = measures.gap(torch.from_numpy(coefs)).numpy()
    closed = (active > 0.5) / (1 + np.exp((gap - MET) * 30))
    if len(clip.visemes):
        closed = (clip.visemes[:, CLOSED] - 0.3).clip(0, 1)
    turns = np.zeros((len(coefs), 3)) if turns is None else turns
    others = [torch.from_numpy(np.float32(varied(clip.rows.astype(np.float32), random)))] * (clip.part == "train")
    heard = np.stack([whole(speech, r).features.numpy() for r in (rows, *others)], 1)
    motion = np.concatenate((coefs, turns), 1).astype(np.float32)
    return Clip(clip.name, clip.source, clip.part, motion, active, np.float32(closed), heard[: len(motion)])


def activity(rows: Tensor) -> Tensor:
    """(b, 4 t, 80) -> (b, t) in [0, 1]: whether there is speech, smoothed over a third of a second."""
    level = rows.mean(-1).unflatten(1, (-1, 4)).amax(-1)
    loud = torch.sigmoid(2 * (level - level.amax(1, keepdim=True) + 2.5))
    return F.avg_pool1d(loud[:, None], 9, 1, 4, count_include_pad=False)[:, 0]


def worn(motion: Tensor, weights: Tensor, intensity: Tensor, active: Tensor, closed: Tensor) -> Tensor:
    """Neutral motion (b, t, 52) with the expressions of mixes (b, t, 8) at intensities (b, t) over it."""
    points, rows = lexicon.canonical()[0], []
    told = (x.float().numpy() for x in (motion, weights, intensity, active, closed))
    for moved, mix, amount, speaks, met in zip(*told):
        face = target(mix, mix @ points) * amount[:, None]
        rows.append(express(moved, face, speaks, np.ones_like(speaks), met, (mix @ points)[:, 1] * amount))
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def prepared(data: Path, out: Path, teacher: str) -> list[Clip]:
    """The clips, read once and kept in ``OUT/motion.npz``; lips and ears of ``teacher``."""
    path = out / "motion.npz"
    if not path.exists():
        speech, emote = (checkpoints.load(teacher, cls, part).float().eval()
                         for cls, part in ((SpeechEncoder, "speech"), (Emote, "emote")))  # fmt: skip
        known = [c for c in corpus_of(data, out) if c.part == "train" or c.source == "grid"]
        lines = [c for c in known if c.source == "aligned" and c.part == "train"][::SPARED]
        found = listened([c for c in known if c.source == "grid"] + lines, data, speech, emote)
        facts = [[c.name, c.source, c.part, *c.features.shape[:2]] for c in found]
        flat = {key: [getattr(c, key) for c in found] for key in STACKS}
        flat["features"] = [x.reshape(-1, x.shape[-1]) for x in flat["features"]]
        np.savez(path, facts=json.dumps(facts), **{k: np.concatenate(v).astype(np.float16) for k, v in flat.items()})
    with np.load(path, allow_pickle=False) as file:
        facts, stacks = json.loads(str(file["facts"])), [file[key] for key in STACKS]
    made, at = [], [0, 0]
    for name, source, part, n, versions in facts:
        own = [stack[at[0] : at[0] + n].astype(np.float32) for stack in stacks[:3]]
        heard = stacks[3][at[1] : at[1] + n * versions].reshape(n, versions, -1).astype(np.float32)
        made.append(Clip(name, source, part, *own, heard))
        at = [at[0] + n, at[1] + n * versions]
    return made


def measured() -> dict[str, np.ndarray]:
    """For each source, which features (55,) it tells: spoken lines only lips."""
    lips_alone = np.zeros(FEATURES, bool)
    lips_alone[:52] = MOUTH
    return {"grid": np.ones(FEATURES, bool), "aligned": lips_alone}


class Batch(NamedTuple):
    """b windows of FRAMES frames."""

    motion: Tensor  # (b, n, 55)
    measured: Tensor  # (b, 1, 55) bool
    features: Tensor  # (b, n, s)
    rest: Tensor  # (b, 55) another frame of the clip, as a photograph would be
    weights: Tensor  # (b, n, 8)
    intensity: Tensor  # (b, n)


class Windows:
    """Endless random windows. Corpora of speech are calm: most windows get an expression laid over them."""

    def __init__(self, clips: list[Clip], known: dict[str, np.ndarray], seed: int):
        self.random, self.known = np.random.default_rng(seed), known
        self.clips = {name: [c for c in clips if c.source == name and c.part == "train" and len(c.motion) >= FRAMES]
                      for name in SHARES}  # fmt: skip
        self.odds = {name: np.array([len(c.motion) for c in own], float) for name, own in self.clips.items()}

    def __call__(self) -> Batch:
        rows = []
        for name, count in SHARES.items():
            odds = self.odds[name] / self.odds[name].sum()
            rows += [self._one(self.clips[name][i]) for i in self.random.choice(len(odds), count, p=odds)]
        motion, measured, features, rest, active, closed = (torch.from_numpy(np.stack(c)) for c in zip(*rows))
        weights, intensity = self.emotions(len(rows))
        over = worn(motion[..., :52], weights, intensity, active, closed)
        felt = (intensity > 0)[..., None]
        motion = torch.cat((torch.where(felt, over, motion[..., :52]), motion[..., 52:]), -1)
        return Batch(motion, measured, features, rest, weights, intensity)

    def _one(self, clip: Clip) -> tuple:
        start = int(self.random.integers(len(clip.motion) - FRAMES + 1))
        part = slice(start, start + FRAMES)
        near = int(self.random.integers(max(0, start - 4 * FPS), min(len(clip.motion), start + 4 * FPS)))
        heard = clip.features[part, self.random.integers(clip.features.shape[1])]
        known = self.known[clip.source][None]
        return clip.motion[part], known, heard, clip.motion[near], clip.active[part], clip.closed[part]

    def emotions(self, count: int) -> tuple[Tensor, Tensor]:
        """Random mixes (count, n, 8) and intensities (count, n): some of two, some that change, and often none."""
        random = self.random
        one = lambda: np.eye(len(CANONICAL))[random.integers(1, len(CANONICAL), (count, 1))]
        share = random.uniform(0, 1, (count, 1, 1)) * (random.random((count, 1, 1)) < 0.25)
        turn = (np.arange(FRAMES) - random.integers(8, FRAMES - 8, (count, 1))) / random.integers(2, 20, (count, 1))
        change = np.clip(turn, 0, 1)[..., None] * (random.random((count, 1, 1)) < 0.25)
        weights = (one() * (1 - share) + one() * share) * (1 - change) + one() * change
        intensity = random.uniform(0.1, 1.8, (count, 1)) * (random.random((count, 1)) < FELT)
        weights = np.where(intensity[..., None] > 0, weights, np.eye(len(CANONICAL))[0])
        as_tensor = lambda x: torch.from_numpy(np.float32(x))
        return as_tensor(weights), as_tensor(np.repeat(intensity, FRAMES, 1))
