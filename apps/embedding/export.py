"""Steps after training: whitens the space, calibrates confidence, fits priors and directions."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from apps.embedding.batches import middles
from apps.embedding.corpus import Clip
from apps.embedding.measures import calibration_error
from apps.embedding.speech import READING
from gen import checkpoints
from gen.emotion.embedding import features
from gen.emotion.embedding.direction import DirectionSpace
from gen.emotion.embedding.network import TERMS, EmotionEmbedder, Reference, collate
from gen.emotion.lexicon import CANONICAL

AXES = 10  # dimensions of the space that are kept
DISTINCT = 0.99  # share of the variance between emotions that the directions' filter keeps
REFERENCE = 10  # other recordings of the speaker, of any emotion, used as a reference


def embed(
    model: EmotionEmbedder,
    name: str,
    clips: list[Clip],
    encoded: bool = False,
    reference: Reference | None = None,
    size: int = 64,
) -> Tensor:
    """Means (n, e) of clips of one modality, or the encoder's output before the neck; voices are vectors already."""
    rows = [torch.from_numpy(c.rows[0] if name == "voice" else features.steps(name, c.rows)) for c in clips]
    found = [torch.empty(0)] * len(clips)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        own = [rows[i] for i in chosen]
        given = {"heard": torch.stack(own)} if name == "voice" else {name: collate(own)}
        own = None if reference is None else Reference(*(part[chosen] for part in reference))
        with torch.no_grad():
            seen = model.encode(own, **given) if encoded else model(own, **given).mu
        for i, row in zip(chosen, seen):
            found[i] = row
    return torch.stack(found)


def references(clips: list[Clip], count: int = REFERENCE, neutral: bool = False, seed: int = 0) -> Reference:
    """For each voice the mean of ``count`` other recordings of its speaker, of any emotion or neutral only."""
    rng, middle = np.random.default_rng(seed), middles(clips)
    people, plain = np.array([c.person for c in clips]), np.array([c.term == 0 for c in clips])
    found = []
    for i, name in enumerate(people):
        pool = np.flatnonzero((people == name) & (plain | (not neutral)) & (np.arange(len(clips)) != i))
        drawn = rng.choice(pool, min(count, len(pool)), replace=False)
        found.append((middle[drawn].mean(0), len(drawn)))
    means, counts = zip(*found)
    return Reference(torch.from_numpy(np.stack(means)), torch.tensor(counts))


class HeldOutPredictions(NamedTuple):
    """Predictions for voices of speakers that the model was not trained on."""

    alone: np.ndarray  # (n, 10) logits of TERMS
    referred: np.ndarray  # (n, 10) the same with a reference of the speaker
    term: np.ndarray  # (n,) true terms
    person: np.ndarray  # (n,) speakers

    @classmethod
    def predict(cls, model: EmotionEmbedder, clips: list[Clip]) -> "HeldOutPredictions":
        alone, referred = (
            model.read(embed(model, "voice", clips, reference=own)).terms.detach().numpy()
            for own in (None, references(clips))
        )
        return cls(alone, referred, np.array([c.term for c in clips]), np.array([c.person for c in clips]))

    @classmethod
    def all(cls, parts: list["HeldOutPredictions"]) -> "HeldOutPredictions":
        return cls(*(np.concatenate(own) for own in zip(*parts)))

    def save(self, path: Path) -> None:
        np.savez(path, **self._asdict())

    @classmethod
    def load(cls, path: Path) -> "HeldOutPredictions":
        with np.load(path, allow_pickle=False) as file:
            return cls(**file)


def learnt_from(clips: dict[str, list[Clip]]) -> dict[str, list[Clip]]:
    """The clips that the space is fitted on: no read speech, and of synthetic expressions only contempt."""
    learnt = {n: [c for c in own if c.part == "train"] for n, own in clips.items()}
    learnt["voice"] = [c for c in learnt["voice"] if c.group not in READING]
    learnt["face"] = [c for c in learnt["face"] if c.group != "painted" or c.term == TERMS.index("contempt")]
    return learnt


@torch.no_grad()
def whiten(model: EmotionEmbedder, clips: dict[str, list[Clip]]) -> None:
    """Keeps the axes along which emotions differ, equalises the variation within an emotion, and rounds to half
    precision.
    """
    learnt = learnt_from(clips)
    spoken = [*learnt["voice"], *learnt["face"]]
    means = {n: embed(model, n, own) for n, own in learnt.items()}
    mu, term = torch.cat((means["voice"], means["face"])), torch.tensor([c.term for c in spoken])
    level = torch.tensor([c.level for c in spoken])
    quadrant = torch.tensor([c.quadrant for c in learnt["music"]])
    spoken_at, played_at = torch.stack(centroids(mu, term)), torch.stack(centroids(means["music"], quadrant))
    middle, kept = spoken_at.mean(0), between(spoken_at, played_at)
    model.whiten(middle, within(mu @ kept, term, 1 + (level > 1) - 1 * (level < 1)) @ kept)
    model.half().float()


@torch.no_grad()
def export_space(model: EmotionEmbedder, clips: dict[str, list[Clip]], held_out: HeldOutPredictions, out: Path) -> None:
    """Calibrates on ``held_out`` and the validation songs, and writes the whitened model, priors and directions."""
    calibrate(model, held_out, [c for c in clips["music"] if c.part == "valid"])
    learnt = learnt_from(clips)
    spoken = [*learnt["voice"], *learnt["face"]]
    term, level = (torch.tensor([getattr(c, field) for c in spoken]) for field in ("term", "level"))
    means = {n: embed(model, n, own) for n, own in learnt.items()}
    mu = torch.cat((means["voice"], means["face"]))
    full = (level >= 1) | (term == 0)  # weak renditions do not represent intensity 1
    labels = [TERMS[c.term] for c, chosen in zip(spoken, full) if chosen]
    space = DirectionSpace.fit(mu[full], labels, variance=DISTINCT)
    space.save(out)
    save_file(priors(mu, spoken, means["music"], learnt["music"]), out / "priors.safetensors")
    checkpoints.save(model.half(), out)
    model.float()


def calibrate(model: EmotionEmbedder, held_out: HeldOutPredictions, pieces: list[Clip]) -> None:
    """Fits the three temperatures on held-out people and songs."""
    for index, logits in enumerate((held_out.alone, held_out.referred)):
        model.temperature[index] = temperature(torch.from_numpy(logits), torch.from_numpy(held_out.term))
    logits = model.read(embed(model, "music", pieces)).quadrants
    model.temperature[2] = temperature(logits, torch.tensor([c.quadrant for c in pieces]))


def fit_speech_head(model: EmotionEmbedder, voices: list[Clip], outliers: Tensor) -> None:
    """Fits the head that separates voices from sounds without emotional speech (n v): logistic regression, both sides
    weighted equally.
    """
    inside = torch.from_numpy(np.concatenate([c.rows for c in voices if c.part == "train"]))
    x = (torch.cat((inside, outliers)) - model.vector_centre) * model.vector_scale
    target = torch.cat((torch.zeros(len(inside)), torch.ones(len(outliers))))
    weight = torch.where(target > 0, len(inside) / len(outliers), 1.0)
    line = model.outside.requires_grad_(True)
    optimizer = torch.optim.LBFGS(line.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(line(x)[:, 0], target, weight) + 1e-3 * line.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)


def within(mu: Tensor, term: Tensor, level: Tensor, shrink: float = 0.1) -> Tensor:
    """The map (e e) that makes clips mu (n e) of one class and level vary equally in all directions (within-class
    covariance normalisation, Hatch et al., Interspeech 2006), shrunk towards the identity.
    """
    left = mu.clone()
    for k in term.unique():
        for own in level[term == k].unique():
            rows = (term == k) & (level == own)
            left[rows] -= mu[rows].mean(0)
    covariance = left.T @ left / len(left)
    mean = covariance.trace() / torch.linalg.matrix_rank(covariance)
    values, axes = torch.linalg.eigh((1 - shrink) * covariance + shrink * mean * torch.eye(len(covariance)))
    return axes @ torch.diag((values / mean).rsqrt()) @ axes.T


def centroids(mu: Tensor, label: Tensor) -> list[Tensor]:
    """The mean (e,) of each label's rows of mu (n e)."""
    return [mu[label == k].mean(0) for k in label.unique()]


def between(*groups: Tensor) -> Tensor:
    """The projection (e e) onto the AXES along which the means (k e) within each group differ most: emotions of speech,
    quadrants of music. Other differences, such as speaker or modality, are removed as far as possible.
    """
    apart = torch.cat([own - own.mean(0) for own in groups])
    _, size, axes = torch.linalg.svd(apart, full_matrices=False)
    axes = axes[:AXES][size[:AXES] > 1e-4 * size[0]]
    return axes.T @ axes


def temperature(logits: Tensor, target: Tensor) -> float:
    """The temperature with the lowest negative log-likelihood for logits (n k) (Guo et al., ICML 2017, sec. 4.2)."""
    grid = torch.linspace(0.3, 4, 149)
    return float(grid[torch.stack([F.cross_entropy(logits / t, target) for t in grid]).argmin()])


def crossed(logits: np.ndarray, true: np.ndarray, people: np.ndarray) -> float:
    """Cross-validated calibration error of logits (n, k): each person's with the temperature fitted on the others."""
    logits, target, shares = torch.from_numpy(logits), torch.from_numpy(true), np.empty(logits.shape)
    for name in np.unique(people):
        own = torch.from_numpy(people == name)
        shares[people == name] = (logits[own] / temperature(logits[~own], target[~own])).softmax(1)
    return calibration_error(shares, true)


def priors(mu: Tensor, clips: list[Clip], tunes: Tensor, pieces: list[Clip]) -> dict[str, Tensor]:
    """``mean`` and ``var`` (8 e) of the canonical emotions, as conditioners read them; the same for all TERMS, for the
    normal and strong level of each, and for the quadrants of music.
    """
    term, level = torch.tensor([c.term for c in clips]), torch.tensor([c.level for c in clips])
    quadrant = torch.tensor([c.quadrant for c in pieces])
    groups = {"terms": [term == k for k in range(len(TERMS))]}
    groups |= {
        f"{n}.terms": [(term == k) & at for k in range(len(TERMS))]
        for n, at in (("normal", level < 1), ("strong", level > 1))
    }
    found = {
        name: [mu[rows] if rows.sum() > 1 else mu[term == k] for k, rows in enumerate(own)]
        for name, own in groups.items()
    }
    found["quadrants"] = [tunes[quadrant == k] for k in range(4)]
    tensors = {}
    for name, rows in found.items():
        tensors[f"{name}.mean"] = torch.stack([r.mean(0) for r in rows])
        tensors[f"{name}.var"] = torch.stack([r.var(0, correction=0) for r in rows])
    eight = len(CANONICAL)
    return tensors | {"mean": tensors["terms.mean"][:eight].clone(), "var": tensors["terms.var"][:eight].clone()}
