"""Read voices into a space that exists: priors, directions, faces and music stay, and with them what generators learnt.

Only the way from the voices' vectors to the neck is trained: to say what the student's own heads say of a recording
(alone, or both where there is a reference), to lie near the prior of its emotion, and strong further along than normal.
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

OWN = ("voice.", "heard.", "outside.", "vector_")  # what a space need not have
FILES = ("priors.safetensors", "directions.json", "directions.safetensors")
STEPS, RATE = 1200, 2e-3
NEAR, ORDER, POINTS, QUADRANTS = 0.3, 0.3, 0.5, 0.3  # weights beside the classes


def onto(name: str, **changed) -> EmotionEmbedder:
    """A model with the space, the faces and the music of a checkpoint, and nothing of its voices; its configuration
    is the checkpoint's but for what is ``changed``.
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
    """The space of a checkpoint with the student's encoder, learnt on the clips of the part "train"."""
    torch.manual_seed(seed)
    model = onto(name)
    model.voice.load_state_dict(student.encoder.state_dict())
    return learn(model, name, voices, lambda part: told(student, part), STEPS, seed)


def learn(model: EmotionEmbedder, name: str, voices: list[Clip], said: Callable[[Part], Tensor], steps: int,
          seed: int = 0) -> EmotionEmbedder:  # fmt: skip
    """Train the way from vectors of voices into the space of the checkpoint ``name``; ``said`` gives the shares of the
    terms (b, 10) that it is to say.
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
def told(student: Student, part: Part) -> Tensor:
    """(b, 10) what the student's heads make of the vectors: of each alone, or of both where there is a reference."""
    heard, reference = part.given["heard"], part.reference
    alone = student.alone(heard)
    logits = torch.where(reference.count[:, None] > 0, alone + student.against(heard, reference.middle), alone)
    return logits[:, : len(TERMS)].softmax(-1)


def export_attached(model: EmotionEmbedder, name: str, held_out: HeldOutPredictions | None, out: Path) -> None:
    """Calibrate the voices by ``held_out``, if there is something, and write the checkpoint: the space's own files are
    copied.
    """
    for index, logits in enumerate((held_out.alone, held_out.referred) if held_out else ()):
        model.temperature[index] = temperature(torch.from_numpy(logits), torch.from_numpy(held_out.term))
    for file in FILES:
        shutil.copyfile(checkpoints.folder(name) / file, out / file)
    checkpoints.save(model.half(), out)
    model.float()
