"""Train the embedding; fit on it calibration, priors and directions, which generators use (``affekt train emotion``).

Losses: classes, quadrants and points of each clip, supervised contrast across people and modalities, KL, the order of
normal and strong, and the reversed gradients of who it is and which modality.
"""

import json
import logging
import math
import time
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from gen import checkpoints
from gen.emotion import corpus, features, losses
from gen.emotion.batches import Batches, Part, targets
from gen.emotion.corpus import CANONICAL, MODALITIES, TERMS, Clip
from gen.emotion.direction import DirectionSpace
from gen.emotion.embedding import EmotionEmbedder, Gaussian, collate
from gen.errors import InputError

log = logging.getLogger(__name__)
EVEN = 0.999  # of the moving average of the weights, which is what is kept


class Settings(NamedTuple):
    """What ``--set`` may change; what comes after ``cache`` weighs losses."""

    steps: int = 1200
    rate: float = 2e-3
    decay: float = 0.05
    seed: int = 0
    cache: str = ""
    classes: float = 1.0
    quadrants: float = 0.7
    points: float = 1.0
    contrast: float = 0.3
    kl: float = 0.001
    order: float = 0.3
    identity: float = 0.3
    modality: float = 0.1
    together: float = 0.5


def parse(settings: dict[str, str]) -> Settings:
    """Settings from ``--set name=value``. Raises InputError for a name that does not exist."""
    if unknown := settings.keys() - Settings._fields:
        raise InputError(f"emotion has no setting {', '.join(sorted(unknown))}: use {', '.join(Settings._fields)}")
    kinds = Settings.__annotations__
    return Settings(**{name: kinds[name](value) for name, value in settings.items()})


def train(data: Path, out: Path, minutes: float | None, settings: dict[str, str]) -> None:
    """Train for ``steps`` steps or ``minutes`` and write model, priors and directions to ``out``.

    The features of the recordings are kept in ``cache``, by default ``cache`` in ``out``.
    """
    chosen = parse(settings)
    clips = corpus.load(data, Path(chosen.cache or out / "cache"))
    torch.manual_seed(chosen.seed)
    batches = Batches(clips, chosen.seed)
    model = EmotionEmbedder()
    for name in MODALITIES:
        centre, scale = batches.moments(name)
        model.get_buffer(f"{name}_centre").copy_(centre)
        model.get_buffer(f"{name}_scale").copy_(scale)
    begun = time.monotonic()
    done = fit(model, batches, chosen, minutes)
    facts = {"minutes": (time.monotonic() - begun) / 60, "steps": done, "settings": chosen._asdict() | {"cache": ""}}
    finish(model, clips, out)
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def fit(model: EmotionEmbedder, batches: Batches, chosen: Settings, minutes: float | None) -> int:
    """Train in place; the weights end as their moving average. Returns the steps done."""
    space = model.config.space
    judges = nn.ModuleDict({
        "identity": losses.Adversary(space, len(batches.known)),
        "modality": losses.Adversary(space, len(MODALITIES)),
    })  # fmt: skip
    parameters = [*model.parameters(), *judges.parameters()]
    optimizer = torch.optim.AdamW(parameters, chosen.rate, betas=(0.9, 0.98), weight_decay=chosen.decay)
    average, begun, done = [p.detach().clone() for p in model.parameters()], time.monotonic(), 0.0
    model.train()
    for step in range(1, chosen.steps + 1):
        spent = (time.monotonic() - begun) / (60 * minutes) if minutes else 0.0
        done = max(step / chosen.steps, spent)
        if done > 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = chosen.rate * min(1, step / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        parts = loss(model, judges, batches, chosen, done)
        total = sum(parts.values())
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(parameters, 2.0)
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in model.parameters()], 1 - min(EVEN, 1 - 1 / (0.1 * step + 1)))
        if step % 50 == 0:
            log.info("step %d: %s", step, ", ".join(f"{name} {value:.3f}" for name, value in parts.items()))
    torch._foreach_copy_([p.detach() for p in model.parameters()], average)
    model.eval()
    return step


def loss(model, judges, batches: Batches, chosen: Settings, done: float) -> dict[str, Tensor]:
    """The weighted losses of one batch; ``done`` (0..1) is how far training is: the adversaries come in slowly."""
    parts = batches.next()
    seen = [model(**part.given) for part in parts]
    scale = 2 / (1 + math.exp(-8 * done)) - 1
    found: dict[str, Tensor] = {"classes": 0.0, "quadrants": 0.0, "points": 0.0}
    for part, gaussian, weight in zip(parts, seen, (1, 0.7, 0.7, 0.7 * chosen.together)):
        for name, value in supervised(model, part, gaussian).items():
            found[name] = found[name] + weight * getattr(chosen, name) * value
    single = parts[:3]
    mu, z = (torch.cat(rows) for rows in ([g.mu for g in seen[:3]], [g.sample() for g in seen[:3]]))
    where = torch.cat([torch.full_like(part.term, i) for i, part in enumerate(single)])
    alike, hard = relations(*(torch.cat([getattr(part, n) for part in single]) for n in ("term", "quadrant", "person")),
                            where)  # fmt: skip
    found["contrast"] = chosen.contrast * losses.contrastive(z, alike, hard)
    found["kl"] = chosen.kl * losses.divergence(mu, torch.cat([g.log_var for g in seen[:3]]))
    first = single[0]
    axis = model.terms.weight[first.term[1:20:2]] - model.terms.weight[0]
    found["order"] = chosen.order * losses.ordered(
        seen[0].mu, axis.detach(), torch.arange(0, 20, 2), torch.arange(1, 20, 2)
    )
    known = [batches.known.index(name) if name in batches.known else -1 for name in batches.person]
    person = torch.tensor(known)[torch.cat([part.person for part in single[:2]])]
    found["identity"] = judges["identity"](mu[: len(person)], person, chosen.identity * scale)
    found["modality"] = judges["modality"](mu, where, chosen.modality * scale)
    return found


def supervised(model: EmotionEmbedder, part: Part, gaussian: Gaussian) -> dict[str, Tensor]:
    """Classes where the term is known, quadrants, and points."""
    reading = model.read(gaussian.sample())
    points, known, shares = targets(part)
    found = {"quadrants": F.cross_entropy(reading.quadrants, 0.9 * shares + 0.025)}
    found["points"] = ((reading.vad - points).square() * known).mean()
    if (part.term >= 0).any():
        found["classes"] = F.cross_entropy(reading.terms, part.term, label_smoothing=0.1)
    return found


def relations(term: Tensor, quadrant: Tensor, person: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """How much each pair of clips belongs together (b b), and which pairs are one person in two emotions (b b).

    The same term by another person counts 1; the same quadrant 1 within music, 0.3 between music and the others.
    """
    other = person[:, None] != person
    same_term = (term[:, None] == term) & (term >= 0) & other
    same_quadrant = (quadrant[:, None] == quadrant) & (quadrant >= 0) & other
    tune = where == MODALITIES.index("music")
    alike = same_term.float() + (same_quadrant & tune & tune[:, None]) + 0.3 * (same_quadrant & (tune ^ tune[:, None]))
    return alike, ~other & ((term[:, None] != term) | (quadrant[:, None] != quadrant))


def embed(model: EmotionEmbedder, name: str, clips: list[Clip], encoded: bool = False, size: int = 64) -> Tensor:
    """The means (n, e) of clips of one modality, or what its encoder hands to the head."""
    rows, found = [torch.from_numpy(features.steps(name, c.rows)) for c in clips], [torch.empty(0)] * len(clips)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        given = {name: collate([rows[i] for i in chosen])}
        with torch.no_grad():
            seen = model.encode(**given) if encoded else model(**given).mu
        for i, row in zip(chosen, seen):
            found[i] = row
    return torch.stack(found)


@torch.no_grad()
def finish(model: EmotionEmbedder, clips: dict[str, list[Clip]], out: Path) -> None:
    """Round to half precision, calibrate on the validation clips, and write model, priors and directions."""
    learnt = {n: [c for c in own if c.part == "train"] for n, own in clips.items()}
    learnt["face"] = [c for c in learnt["face"] if c.group != "painted" or c.term == TERMS.index("contempt")]
    spoken = [*learnt["voice"], *learnt["face"]]
    mu = torch.cat([embed(model, n, learnt[n]) for n in ("voice", "face")])
    model.whiten(*within(mu, torch.tensor([c.term for c in spoken])))
    model.half().float()
    for index, name in enumerate(("voice", "music")):
        held = [c for c in clips[name] if c.part == "valid"]
        reading = model.read(embed(model, name, held))
        logits = (reading.terms, reading.quadrants)[index]
        model.temperature[index] = temperature(logits, torch.tensor([max(c.term, c.quadrant) for c in held]))
    means = {n: embed(model, n, own) for n, own in learnt.items()}
    mu = torch.cat((means["voice"], means["face"]))
    labels = [TERMS[c.term] for c in spoken]
    space = DirectionSpace.fit(mu, labels)
    space.save(out)
    save_file(priors(mu, spoken, means["music"], learnt["music"]), out / "priors.safetensors")
    checkpoints.save(model.half(), out)
    model.float()


def within(mu: Tensor, term: Tensor, shrink: float = 0.3) -> tuple[Tensor, Tensor]:
    """The mean (e,) of the classes' means of mu (n e), and the map (e e) after which clips of one class vary alike in
    every direction (within-class covariance normalisation, Hatch et al., Interspeech 2006), shrunk towards a sphere.
    """
    own = torch.stack([mu[term == k].mean(0) for k in range(len(TERMS)) if (term == k).any()])
    names = [k for k in range(len(TERMS)) if (term == k).any()]
    left = mu - own[torch.tensor([names.index(int(k)) for k in term])]
    covariance = left.T @ left / len(left)
    ball = covariance.diagonal().mean() * torch.eye(len(covariance))
    values, axes = torch.linalg.eigh((1 - shrink) * covariance + shrink * ball)
    return own.mean(0), axes @ torch.diag((values.clamp(min=1e-6) / values.mean()).rsqrt()) @ axes.T


def temperature(logits: Tensor, target: Tensor) -> float:
    """The temperature that makes the logits (n k) say least wrong (Guo et al., ICML 2017, sec. 4.2)."""
    grid = torch.linspace(0.3, 4, 149)
    return float(grid[torch.stack([F.cross_entropy(logits / t, target) for t in grid]).argmin()])


def priors(mu: Tensor, clips: list[Clip], tunes: Tensor, pieces: list[Clip]) -> dict[str, Tensor]:
    """``mean`` and ``var`` (8 e) of the canonical emotions, as conditioners read them; the same of all TERMS, of the
    normal and the strong level of each, and of the quadrants of music.
    """
    term, level = torch.tensor([c.term for c in clips]), torch.tensor([c.level for c in clips])
    quadrant = torch.tensor([c.quadrant for c in pieces])
    groups = {"terms": [term == k for k in range(len(TERMS))]}
    groups |= {f"{n}.terms": [(term == k) & at for k in range(len(TERMS))]
               for n, at in (("normal", level < 1), ("strong", level > 1))}  # fmt: skip
    found = {name: [mu[rows] if rows.sum() > 1 else mu[term == k] for k, rows in enumerate(own)]
             for name, own in groups.items()}  # fmt: skip
    found["quadrants"] = [tunes[quadrant == k] for k in range(4)]
    tensors = {}
    for name, rows in found.items():
        tensors[f"{name}.mean"] = torch.stack([r.mean(0) for r in rows])
        tensors[f"{name}.var"] = torch.stack([r.var(0, correction=0) for r in rows])
    eight = len(CANONICAL)
    return tensors | {"mean": tensors["terms.mean"][:eight].clone(), "var": tensors["terms.var"][:eight].clone()}
