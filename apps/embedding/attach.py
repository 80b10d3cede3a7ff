"""Trains only the map from voice vectors into an existing embedding space.

Priors, directions, faces and music of the checkpoint stay fixed, and so does everything that generators learned with
them. Targets: the predictions of the student's heads, closeness to the prior of the emotion, and strong renditions
further along than normal ones.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from apps.embedding import losses
from apps.embedding.batches import Batches, Part, targets
from apps.embedding.corpus import Clip
from apps.embedding.export import HeldOutPredictions, temperature
from apps.embedding.hearing import Student
from gen import checkpoints
from gen.emotion.embedding.network import TERMS, EmotionEmbedder
from gen.errors import InputError

OWN = ("voice.", "heard.", "outside.", "vector_")  # layers that the checkpoint may lack
FILES = ("priors.safetensors", "directions.json", "directions.safetensors")
STEPS, RATE = 1200, 2e-3
NEAR, ORDER, POINTS, QUADRANTS = 0.3, 0.3, 0.5, 0.3  # loss weights relative to the class loss


def onto(name: str, **changed) -> EmotionEmbedder:
    """A model with the space, faces and music of a checkpoint and untrained voice layers; ``changed`` overrides its
    configuration.
    """
    place, held = checkpoints.folder(name), {}
    for path in sorted(place.glob("diffusion_pytorch_model*.safetensors")):
        held |= {key: value.float() for key, value in load_file(path).items()}
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    kept = {key: config[key] for key in ("space", "width", "pooled", "neck") if key in config}
    model = EmotionEmbedder(**kept | changed)
    own = model.state_dict()
    fitting = {key: value for key, value in held.items() if key in own and own[key].shape == value.shape}
    missing = [key for key in own if key not in fitting and not key.startswith(OWN)]
    if missing:
        raise InputError(f"{name} has no space to keep: {missing[0]} is not in it")
    fitting = {key: value for key, value in fitting.items() if not key.startswith(OWN)}
    model.load_state_dict(fitting, strict=False)
    return model.requires_grad_(False)


def attach(name: str, student: Student, voices: list[Clip], seed: int = 0) -> EmotionEmbedder:
    """The space of a checkpoint with the student's encoder, trained on the clips of the part "train"."""
    torch.manual_seed(seed)
    model = onto(name)
    model.voice.load_state_dict(student.encoder.state_dict())
    return learn(model, name, voices, lambda part: predictions(student, part), STEPS, seed)


def learn(
    model: EmotionEmbedder, name: str, voices: list[Clip], said: Callable[[Part], Tensor], steps: int, seed: int = 0
) -> EmotionEmbedder:
    """Trains the map from voice vectors into the space of the checkpoint ``name``; ``said`` returns target shares of
    the terms (b, 10).
    """
    batches = Batches({"voice": voices, "face": [], "music": []}, seed)
    centre, scale = batches.moments("voice")
    model.vector_centre.copy_(centre)
    model.vector_scale.copy_(scale)
    prior = load_file(checkpoints.folder(name) / "priors.safetensors")["terms.mean"].float()
    own = [*model.heard.requires_grad_(True).parameters()]
    optimizer = torch.optim.AdamW(own, RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.heard.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model, said, batches, prior).backward()
        torch.nn.utils.clip_grad_norm_(own, 1.0)
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


def loss(model: EmotionEmbedder, said: Callable[[Part], Tensor], batches: Batches, prior: Tensor) -> Tensor:
    part = batches.voices()
    place = model(part.reference, part.given["heard"])
    reading = model.read(place.sample())
    points, known, shares = targets(part)
    classes = -(said(part) * reading.terms.log_softmax(-1)).sum(-1).mean()
    near = (place.mu - prior[part.term]).square().mean() / prior.var(0).mean()
    pairs = torch.arange(0, 2 * batches.pairs_drawn, 2)
    axis = prior[part.term[pairs]] - prior[0]
    ordered = losses.ordered(place.mu, axis, pairs, pairs + 1)
    quadrants = F.cross_entropy(reading.quadrants, 0.9 * shares + 0.025)
    aimed = ((reading.vad - points).square() * known).mean()
    return classes + NEAR * near + ORDER * ordered + QUADRANTS * quadrants + POINTS * aimed


@torch.no_grad()
def predictions(student: Student, part: Part) -> Tensor:
    """The student's predictions (b, 10): of each vector alone, or combined with its reference if it has one."""
    heard, reference = part.given["heard"], part.reference
    alone = student.alone(heard)
    logits = torch.where(reference.count[:, None] > 0, alone + student.against(heard, reference.middle), alone)
    return logits[:, : len(TERMS)].softmax(-1)


def export_attached(model: EmotionEmbedder, name: str, held_out: HeldOutPredictions | None, out: Path) -> None:
    """Calibrates the voices on ``held_out``, if given, and writes the checkpoint; the files of the space are copied."""
    for index, logits in enumerate((held_out.alone, held_out.referred) if held_out else ()):
        model.temperature[index] = temperature(torch.from_numpy(logits), torch.from_numpy(held_out.term))
    for file in FILES:
        shutil.copyfile(checkpoints.folder(name) / file, out / file)
    checkpoints.save(model.half(), out)
    model.float()
