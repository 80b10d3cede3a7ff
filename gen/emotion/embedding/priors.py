"""One Gaussian per canonical emotion in the embedding space, and the embedding of any mix or point derived from
them."""

import functools
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gen.checkpoints import digest, folder
from gen.emotion import lexicon
from gen.emotion.spec import EMBEDDING
from gen.errors import CheckpointError

NEUTRAL = lexicon.CANONICAL.index("neutral")
SCALES = (0.25, 1.2)  # of the random features: fine to separate anger from disgust, coarse to order the others
WITHIN = 0.25  # standard deviation, per dimension, of an emotion's default prior
RIDGE = 0.1


def smooth_map(vad: np.ndarray, width: int, seed: int = 0) -> np.ndarray:
    """(n, 3) -> (n, width) random Fourier features whose inner products decrease with distance (Rahimi and Recht
    2007)."""
    rng = np.random.default_rng(seed)
    scale = np.resize(SCALES, width)
    rates, phase = rng.standard_normal((3, width)) / scale, rng.uniform(0, 2 * np.pi, width)
    return np.sqrt(2) * np.cos(vad @ rates + phase)


@functools.cache
def shared() -> "Priors":
    """The priors of the emotion-embedding checkpoint: words, mixes and points in the shared space."""
    return Priors(*read(EMBEDDING)).requires_grad_(False)


def bridge(own: "Priors") -> Tensor:
    """(e, e') map of differences in the shared embedding to the space of a checkpoint's own priors (e').

    A checkpoint keeps the priors of its training. If they equal the current ones, the map is the identity; else it is
    the ridge regression of one space's emotions on the other's, relative to neutral.
    """
    here, there = (mean - mean[NEUTRAL] for mean in (shared().mean, own.mean.float().cpu()))
    if here.shape == there.shape and torch.allclose(here, there, atol=1e-2 * float(here.std())):
        return torch.eye(here.shape[1])
    gram = here @ here.T
    gram = gram + 1e-2 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    return here.T @ torch.linalg.solve(gram, there)


def read(path: str | Path) -> tuple[Tensor, Tensor]:
    """``mean`` and ``var``, both (8, e) in canonical order, from a safetensors file or a checkpoint with one."""
    if not str(path).endswith(".safetensors"):
        digest(str(path))
        path = folder(path) / "priors.safetensors"
    if not Path(path).is_file():
        raise CheckpointError(f"no priors file {path}: give a safetensors file, or a checkpoint's name.")
    tensors = load_file(path)
    if {"mean", "var"} - tensors.keys() or len(tensors["mean"]) != len(lexicon.CANONICAL):
        raise CheckpointError(f"{path} must hold 'mean' and 'var', each with a row for every canonical emotion.")
    return tensors["mean"].float(), tensors["var"].float()


class Priors(nn.Module):
    """Means and variances (8, e) as buffers, so that a checkpoint needs no other file.

    A mix is the mixture of its emotions relative to neutral; the difference of its valence-arousal-dominance point from
    that mixture's moves it along a ridge regression of the means on the points.
    """

    mean: Tensor
    var: Tensor
    points: Tensor
    slope: Tensor  # (3, e)

    def __init__(self, mean: Tensor, var: Tensor):
        super().__init__()
        points = torch.tensor(lexicon.canonical()[0], dtype=torch.float32)
        gram = points.T @ points + RIDGE * torch.eye(3, dtype=points.dtype)
        self.register_buffer("mean", mean)
        self.register_buffer("var", var)
        self.register_buffer("points", points)
        self.register_buffer("slope", torch.linalg.solve(gram, points.T @ (mean - mean[NEUTRAL])))

    @classmethod
    def seeded(cls, width: int) -> "Priors":
        """Priors from the canonical points alone: similar emotions close, all eight distinct."""
        mean = torch.tensor(smooth_map(lexicon.canonical()[0], width), dtype=torch.float32)
        return cls(mean, torch.full_like(mean, WITHIN**2))

    def forward(self, weights: Tensor, vad: Tensor, intensity: Tensor) -> Tensor:
        """weights (b n 8), vad (b n 3), intensity (b n) -> the mean embedding (b n e)."""
        direction = weights @ (self.mean - self.mean[NEUTRAL]) + (vad - weights @ self.points) @ self.slope
        return self.mean[NEUTRAL] + intensity[..., None] * direction

    def sd(self, weights: Tensor, intensity: Tensor) -> Tensor:
        """(b n e) standard deviation around that mean: the mixed variances, the neutral one at intensity 0."""
        share = scale_weights(weights, intensity).clamp(min=0)
        return (share / share.sum(-1, keepdim=True) @ self.var).sqrt()


def scale_weights(weights: Tensor, intensity: Tensor) -> Tensor:
    """(b n 8) weights moved from neutral by the intensity (b n); they still sum to 1."""
    moved = weights * intensity[..., None]
    rest = torch.zeros_like(moved)
    rest[..., NEUTRAL] = 1 - intensity
    return moved + rest
