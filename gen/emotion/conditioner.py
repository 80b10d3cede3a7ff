"""Conditioners: turn emotion tracks into the vectors that condition a network. The contract and the built-in classes.

b batch, n frames, d width of the condition, e width of the embedding. A new conditioner is a subclass with ``embed``
(or with its own ``prepare`` and ``forward``) and the decorator ``register("conditioner", name)``;
:func:`check_conditioner` checks that it keeps the contract. A generator only calls
``model.emotion(**model.emotion.prepare(tracks))``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gen.emotion.contract import check_conditioner
from gen.emotion.embedding import priors as prior_files
from gen.emotion.embedding.bank import EmotionBank
from gen.emotion.embedding.direction import STRONGEST, DirectionSpace, Scale
from gen.emotion.embedding.priors import Priors, scale_weights
from gen.emotion.spec import CANONICAL
from gen.emotion.track import EmotionTrack
from gen.network import ConfigMixin, ModelMixin, register_to_config
from gen.nn import FourierFeatures
from gen.registry import register

__all__ = ["Condition", "EmotionConditioner", "check_conditioner"]


class Condition(NamedTuple):
    """The output of a conditioner."""

    tokens: Tensor  # (b n d), zero where the mask is False
    mask: Tensor  # (b n) bool
    pooled: Tensor  # (b d) mean of the tokens under the mask
    loss: Tensor  # scalar to add to the training loss; 0 for most conditioners


class EmotionConditioner(ModelMixin, ConfigMixin):
    """Base class of all conditioners. A subclass defines ``embed``; intensity 0 must equal neutral."""

    def __init__(self, dim: int):
        super().__init__()
        self.null = nn.Parameter(0.5 * torch.randn(dim))

    def prepare(self, tracks: Sequence[EmotionTrack]) -> dict[str, Tensor]:
        """Converts tracks of n frames to the inputs of ``forward`` and ``embed``, float32 (b n ...) on the CPU."""
        return {name: stacked([getattr(track, name) for track in tracks]) for name in EmotionTrack._fields}

    def embed(
        self, weights: Tensor, vad: Tensor, intensity: Tensor, embedding: Tensor, known: Tensor
    ) -> tuple[Tensor, Tensor | float]:
        """The outputs of ``prepare`` by name -> tokens (b n d), and a loss or 0. Shapes: (b n 8), (b n 3), (b n), (b n
        e) and (b n), as in :class:`gen.emotion.track.EmotionTrack`.
        """
        raise NotImplementedError

    def forward(self, drop: Tensor | None = None, mask: Tensor | None = None, **prepared: Tensor) -> Condition:
        """``drop`` (b,) bool replaces items by ``null``; ``mask`` (b n) bool marks the frames that exist."""
        tokens, loss = self.embed(**{name: value.to(self.null.dtype) for name, value in prepared.items()})
        if drop is not None:
            tokens = torch.where(drop[:, None, None], self.null, tokens)
        if mask is None:
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        tokens = tokens * mask[..., None]
        pooled = tokens.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return Condition(tokens, mask, pooled, torch.as_tensor(loss, device=tokens.device))


def stacked(rows: Sequence[np.ndarray]) -> Tensor:
    """Stacks arrays (n ...) of one shape to float32 (b n ...)."""
    return torch.from_numpy(np.stack(rows).astype(np.float32, copy=False))


def carried(tracks: Sequence[EmotionTrack], prior: Priors) -> Tensor:
    """(b n w) difference of the tracks from the shared priors, mapped into the space of a conditioner's own priors."""
    beyond = [track.beyond() for track in tracks]
    if not any(np.any(track.known) for track in tracks):
        return torch.zeros(1).expand(len(beyond), len(beyond[0]), prior.mean.shape[1])
    return stacked(beyond) @ prior_files.bridge(prior)


class NumbersConditioner(EmotionConditioner):
    """Base class of conditioners that use only an emotion's weights, point and intensity. For clips and user-defined
    emotions, the embedding shifts these numbers (:meth:`EmotionTrack.in_numbers`).
    """

    def prepare(self, tracks: Sequence[EmotionTrack]) -> dict[str, Tensor]:
        numbers = [track.in_numbers() for track in tracks]
        return {name: stacked([getattr(track, name) for track in numbers]) for name in ("weights", "vad", "intensity")}


def head(width: int, dim: int) -> nn.Sequential:
    """The small network from a description of an emotion to the condition."""
    return nn.Sequential(nn.Linear(width, dim), nn.SiLU(), nn.Linear(dim, dim))


@register("conditioner", "none")
class NoConditioner(EmotionConditioner):
    """One learned vector for every emotion: the baseline of an ablation."""

    @register_to_config
    def __init__(self, dim: int):
        super().__init__(dim)
        self.constant = nn.Parameter(0.5 * torch.randn(dim))

    def embed(self, weights, **track):
        return self.constant.expand(*weights.shape[:2], -1), 0.0


@register("conditioner", "label")
class LabelConditioner(NumbersConditioner):
    """One vector per canonical emotion, mixed by the weights (EMOTE, SIGGRAPH Asia 2023, sec. 4)."""

    @register_to_config
    def __init__(self, dim: int):
        super().__init__(dim)
        self.table = nn.Parameter(0.5 * torch.randn(len(CANONICAL), dim))

    def embed(self, weights, vad, intensity):
        return scale_weights(weights, intensity) @ self.table, 0.0


@register("conditioner", "vad")
class VADConditioner(NumbersConditioner):
    """The scaled valence-arousal-dominance point with its Fourier features.

    One octave, whose sine is monotone on [-1, 1]: trained only on the four quadrants, two octaves already reverse
    beyond them (``tests/gen/test_emotion_conditioner.py``). Data with finer labels may use more.
    """

    @register_to_config
    def __init__(self, dim: int, octaves: int = 1):
        super().__init__(dim)
        self.features = FourierFeatures(3, dim, octaves)
        self.head = head(dim, dim)

    def embed(self, weights, vad, intensity):
        return self.head(self.features((vad * intensity[..., None]).clamp(-1, 1))), 0.0


class PriorConditioner(EmotionConditioner):
    """Base class of conditioners that use the embedding. They keep the priors of their training, either from a file or
    seeded from valence-arousal-dominance. The file is read once: its numbers are stored in the checkpoint, its path is
    not. Differences of clips and user-defined emotions from the shared priors are mapped to them
    (:func:`priors.bridge`).
    """

    def __init__(self, dim: int, width: int, priors: str | None):
        super().__init__(dim)
        self.prior = Priors(*prior_files.read(priors)) if priors else Priors.seeded(width)
        self.register_to_config(priors=None, width=self.prior.mean.shape[1])

    def prepare(self, tracks: Sequence[EmotionTrack]) -> dict[str, Tensor]:
        inputs = {name: stacked([getattr(track, name) for track in tracks]) for name in ("weights", "vad", "intensity")}
        return inputs | {"beyond": carried(tracks, self.prior)}


@register("conditioner", "gaussian")
class GaussianConditioner(PriorConditioner):
    """The embedding as a distribution: its mean, and a sample in training (DICE-Talk, ACM MM 2025, sec. 3.2)."""

    @register_to_config
    def __init__(self, dim: int, width: int = 256, priors: str | None = None, noise: float = 1.0):
        super().__init__(dim, width, priors)
        self.head = head(self.config["width"], dim)

    def embed(self, weights, vad, intensity, beyond):
        mean = self.prior(weights, vad, intensity) + beyond
        if self.training:
            mean = mean + self.config["noise"] * self.prior.sd(weights, intensity) * torch.randn_like(mean)
        return self.head(mean), 0.0


@register("conditioner", "bank")
class BankConditioner(PriorConditioner):
    """The embedding's mean as a query to a learned bank of prototypes (DICE-Talk, ACM MM 2025, sec. 3.3)."""

    @register_to_config
    def __init__(
        self,
        dim: int,
        width: int = 256,
        priors: str | None = None,
        entries: int = 64,
        heads: int = 4,
        mode: str = "soft",
    ):
        super().__init__(dim, width, priors)
        self.query = nn.Sequential(head(self.config["width"], dim), nn.LayerNorm(dim))
        self.bank = EmotionBank(entries, dim, heads, mode)
        self.out = nn.Linear(dim, dim)

    def embed(self, weights, vad, intensity, beyond):
        banked = self.bank(self.query(self.prior(weights, vad, intensity) + beyond))
        return self.out(banked.tokens), banked.loss


@register("conditioner", "direction")
class DirectionConditioner(PriorConditioner):
    """Neutral moved along filtered emotion directions (EmoReg, AAAI 2025, sec. 3.3).

    ``priors`` is a file of Gaussians or a folder written by ``DirectionSpace.save``; its numbers are stored in the
    checkpoint, its path is not.
    """

    @register_to_config
    def __init__(self, dim: int, width: int = 256, priors: str | None = None, scale: Scale = "unit"):
        EmotionConditioner.__init__(self, dim)
        if priors and Path(priors).is_dir():
            space = DirectionSpace.load(priors)
        else:
            given = Priors(*prior_files.read(priors)) if priors else Priors.seeded(width)
            space = DirectionSpace.from_gaussians(list(CANONICAL), given.mean, given.var)
        centroids = torch.stack([space.regions[label].mixture.mean() for label in CANONICAL])
        directions = torch.stack([space.direction(label, scale=scale) for label in CANONICAL])
        self.register_to_config(priors=None, width=centroids.shape[1])
        self.prior = Priors(centroids, torch.ones_like(centroids))
        self.register_buffer("directions", directions)  # (8 e)
        self.register_buffer("beyond", space.filter(self.prior.slope))  # (3 e) for a point's difference from its mix
        self.head = head(self.config["width"], dim)

    def embed(self, weights, vad, intensity, beyond):
        amount = intensity.clamp(0, STRONGEST)[..., None]
        point = (vad - weights @ self.prior.points) @ self.beyond
        e = self.prior.mean[0] + amount * (weights @ self.directions + point) + beyond
        return self.head(e), 0.0
