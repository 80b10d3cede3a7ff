"""Clips for training the video network: MP4 files, each with a ``NAME.json`` of the face box and the emotion.

``{"box": [x, y, width, height], "lips": [x, y, width, height], "emotion": "happy", "level": 2}``, boxes in pixels;
lips, emotion and level may be missing (no extra weight there; no emotion told).
"""

import json
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gen import media
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.errors import InputError
from talking_head.video import decode
from talking_head.video.emotion import class_of, means
from talking_head.video.pipeline import DiceVideo
from talking_head.video.portrait import prepare
from talking_head.video.schedule import FPS, SAMPLES, WINDOW
from talking_head.video.whisper import RATE, heard, windows

REFERENCES = 4  # frames of a clip that may stand for the portrait
FACE, LIPS = 2.0, 4.0  # weight of the loss there, 1 elsewhere


class Example(NamedTuple):
    """A clip of n frames, encoded."""

    latents: Tensor  # (n, 4, h, w) scaled
    references: Tensor  # (r, 4, h, w) not scaled
    seen: Tensor  # (r, 1, c) the image encoder's tokens of them
    spans: Tensor  # (n, s) what is heard in each frame
    mu: Tensor  # (e,) 0 where no emotion is known
    kind: Tensor  # () class of emotion and level, -1 where unknown
    box: Tensor  # (3, H, W)
    weight: Tensor  # (h, w)


class Batch(NamedTuple):
    """Windows of examples: the fields of :class:`Example` with a batch dimension, one reference each."""

    latents: Tensor
    reference: Tensor
    seen: Tensor
    spans: Tensor
    mu: Tensor
    kind: Tensor
    box: Tensor
    weight: Tensor


@torch.no_grad()
def example(model: DiceVideo, path: Path, side: int, seconds: float = 60.0) -> Example:
    """Encode one clip with the frozen parts of ``model``; InputError where its facts are missing."""
    facts_path = path.with_suffix(".json")
    if not facts_path.is_file():
        raise InputError(f'{facts_path} is missing: it says where the face of {path.name} is ({{"box": [x, y, w, h]}})')
    facts = json.loads(facts_path.read_text())
    frames = list(islice(media.read_video(path, FPS)[0], int(seconds * FPS)))
    samples, _ = media.read_audio(path, RATE)
    count = min(len(frames), max(1, len(samples) // SAMPLES))
    size = model.parts["clip"].config.size
    shown = [prepare(frame, facts["box"], side, size) for frame in frames[:count]]
    scale = model.parts["vae"].config.scaling_factor
    latents = torch.cat([decode.encode(model.parts["vae"], one.reference) for one in shown])
    chosen = np.linspace(0, count - 1, min(REFERENCES, count)).astype(int)
    emotion, level = facts.get("emotion"), int(facts.get("level", 2))
    mu, kind = torch.zeros(model.priors.mean.shape[1]), -1
    if emotion in CANONICAL:
        curve = EmotionCurve.parse(f"{emotion} @ {level / 2}")
        mu, kind = means(model.priors, [curve], np.zeros(1))[0, 0], class_of(emotion, level)
    weight = 1 + (FACE - 1) * small(shown[0].box[0, 0], latents)
    if "lips" in facts:
        weight += (LIPS - FACE) * small(prepare(frames[0], facts["lips"], side, size).box[0, 0], latents)
    return Example(
        latents * scale,
        latents[chosen],
        model.parts["clip"](torch.cat([shown[i].seen for i in chosen]))[:, None],
        windows(heard(model.parts["whisper"], samples), count),
        mu,
        torch.tensor(kind),
        shown[0].box[0],
        weight,
    )


def small(mask: Tensor, latents: Tensor) -> Tensor:
    """(H, W) -> (h, w) of the latents."""
    return torch.nn.functional.interpolate(mask[None, None], latents.shape[2:], mode="area")[0, 0]


def examples(model: DiceVideo, data: Path, out: Path, side: int) -> list[Example]:
    """All clips of a folder, encoded and cached in ``OUT/clips``."""
    found = sorted(data.rglob("*.mp4"))
    if not found:
        raise InputError(f"{data} holds no .mp4 files to train on")
    (out / "clips").mkdir(parents=True, exist_ok=True)
    made = []
    for path in found:
        kept = out / "clips" / ("-".join(path.relative_to(data).with_suffix(".pt").parts))
        if not kept.exists():
            torch.save(tuple(example(model, path, side)), kept)
        made.append(Example(*torch.load(kept, weights_only=True)))
    return made


class Windows:
    """Infinite batches of random windows, half of them of clips with an emotion; all clips have one size."""

    def __init__(self, clips: list[Example], size: int, seed: int, frames: int = WINDOW):
        self.size, self.random = size, np.random.default_rng(seed)
        self.frames = min(frames, *(len(clip.latents) for clip in clips)) if clips else frames
        self.groups = [g for g in ([c for c in clips if c.kind > 0], [c for c in clips if c.kind <= 0]) if g]

    def __call__(self) -> Batch:
        rows = []
        for i in range(self.size):
            group = self.groups[(i + self.random.integers(2)) % len(self.groups)]
            clip = group[self.random.integers(len(group))]
            start = self.random.integers(len(clip.latents) - self.frames + 1)
            part, r = slice(start, start + self.frames), self.random.integers(len(clip.references))
            rows.append((clip.latents[part], clip.references[r], clip.seen[r], clip.spans[part], *clip[4:]))
        return Batch(*(torch.stack(column) for column in zip(*rows)))
