"""Emotion as a direction in an embedding space, intensity as a distance along it (EmoReg, AAAI 2025, sec. 3.3).

e width of the embedding, n embeddings. A label is a Gaussian mixture of its embeddings; the differences between the
components of all label pairs span the subspace to which directions are filtered.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gen.emotion.embedding.mixture import Mixture, fit
from gen.errors import CheckpointError, InputError

VARIANCE = 0.95  # default share of the differences' variance that the filter keeps
MOST_AXES = 32
COMPONENTS = 8
QUANTILE = 0.99  # of the training embeddings' Mahalanobis distances: larger is out of distribution
STRONGEST = 2.0  # the highest intensity

Mode = Literal["label", "reference", "nearest"]
Scale = Literal["raw", "unit"]


class Region(NamedTuple):
    """The mixture of one label and its limit."""

    mixture: Mixture
    limit: Tensor  # () Mahalanobis distance allowed by the guard


class DirectionSpace:
    """Directions from a neutral label to the others: from :meth:`fit`, :meth:`from_gaussians` or :meth:`load`."""

    def __init__(self, regions: Mapping[str, Region], neutral: str = "neutral", variance: float = VARIANCE):
        self.regions, self.neutral, self.variance = dict(regions), neutral, variance
        self.basis = _difference_axes([region.mixture for region in self.regions.values()], variance)  # (e r)

    @classmethod
    def fit(
        cls, embeddings: Tensor, labels: list[str], neutral: str = "neutral", seed: int = 0, variance: float = VARIANCE
    ) -> "DirectionSpace":
        """Fits embeddings (n e) with a label each; the filter keeps a share ``variance`` of the differences."""
        if neutral not in labels:
            raise InputError(f"directions start at {neutral!r}: give embeddings of it too.")
        generator, regions = torch.Generator().manual_seed(seed), {}
        for label in dict.fromkeys(labels):
            rows = embeddings[[i for i, own in enumerate(labels) if own == label]].double()
            mixture = Mixture(*(part.float() for part in fit(rows, COMPONENTS, generator)))
            limit = mixture.distance(rows.float()).quantile(QUANTILE)
            regions[label] = Region(mixture, limit)
        return cls(regions, neutral, variance)

    @classmethod
    def from_gaussians(cls, labels: list[str], mean: Tensor, var: Tensor, neutral: str = "neutral") -> "DirectionSpace":
        """From one Gaussian per label, mean and var (k e); limits follow the chi-square distribution."""
        e, z = mean.shape[1], 2.326  # normal quantile of QUANTILE, for the Wilson-Hilferty formula
        limit = torch.tensor(e * (1 - 2 / (9 * e) + z * (2 / (9 * e)) ** 0.5) ** 3).sqrt()
        mixtures = [Mixture(torch.ones(1), m[None], v[None]) for m, v in zip(mean, var)]
        return cls({label: Region(mixture, limit) for label, mixture in zip(labels, mixtures)}, neutral)

    def direction(
        self,
        emotion: str | Mapping[str, float],
        mode: Mode = "label",
        scale: Scale = "raw",
        source: Tensor | None = None,
        reference: Tensor | None = None,
    ) -> Tensor:
        """(e,) for a label or a weighted mix of labels; (n e) if embeddings are given.

        ``label``: between centroids. ``reference``: from ``source`` (n e) to ``reference`` (n e). ``nearest``: between
        the components most responsible for the two. ``unit`` scales it to the distance between centroids.
        """
        if not isinstance(emotion, str):
            return sum(w * self.direction(label, mode, scale, source, reference) for label, w in emotion.items())
        straight = self._region(emotion).mixture.mean() - self._region(self.neutral).mixture.mean()
        if mode == "label":
            found = straight
        elif mode == "reference":
            found = reference - source
        else:
            found = self._component(emotion, reference) - self._component(self.neutral, source)
        found = self.filter(found)
        if scale == "raw":
            return found
        return found / found.norm(dim=-1, keepdim=True).clamp(min=1e-9) * straight.norm()

    def filter(self, difference: Tensor) -> Tensor:
        """(... e) -> (... e) projection onto the subspace of differences between emotions."""
        return difference @ self.basis @ self.basis.T

    def apply(
        self,
        e: Tensor,
        emotion: str | Mapping[str, float],
        intensity: float | Tensor,
        mode: Mode = "label",
        scale: Scale = "unit",
        reference: Tensor | None = None,
        guard: bool = True,
    ) -> Tensor:
        """Embeddings e (n e) moved by ``intensity``, () or (n,), in -1..2; 0 leaves them unchanged.

        ``guard`` limits steps that leave the label's distribution. A generator's
        :class:`gen.emotion.calibration.Calibration` maps intensities to strengths.
        """
        mix = {emotion: 1.0} if isinstance(emotion, str) else dict(emotion)
        intensity = torch.as_tensor(intensity, dtype=e.dtype).expand(len(e))
        moved = torch.zeros_like(e)
        for label, weight in mix.items():
            moved = moved + weight * intensity[:, None] * self.direction(label, mode, scale, e, reference)
        if guard and len(mix) == 1:
            moved = moved * self.guard(e, moved, next(iter(mix)), intensity)[:, None]
        return e + moved

    def guard(self, e: Tensor, moved: Tensor, label: str, intensity: Tensor) -> Tensor:
        """(n,) factors 0..1 for the steps ``moved`` (n e).

        Below 1 only if an intensity above 1 ends farther from the label's region than both its limit and the result of
        intensity 1.
        """
        region = self._region(label)
        low = 1 / intensity.clamp(min=1)
        allowed = torch.maximum(region.limit.to(e), region.mixture.distance(e + low[:, None] * moved))
        high, inside = torch.ones_like(low), region.mixture.distance(e + moved) <= allowed * (1 + 1e-6)
        for _ in range(24):
            middle = (low + high) / 2
            fits = region.mixture.distance(e + middle[:, None] * moved) <= allowed
            low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
        return torch.where(inside | (intensity <= 1), torch.ones_like(low), low)

    def save(self, folder: str | Path) -> None:
        """Writes ``directions.safetensors`` and ``directions.json`` to ``folder``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{label}.{name}": tensor.clone()
            for label, region in self.regions.items()
            for name, tensor in {**region.mixture._asdict(), "limit": region.limit}.items()
        }
        save_file(tensors, folder / "directions.safetensors")
        header = {"labels": list(self.regions), "neutral": self.neutral, "variance": self.variance}
        (folder / "directions.json").write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "DirectionSpace":
        """Loads a folder written by :meth:`save`."""
        folder = Path(folder)
        if not (folder / "directions.json").is_file():
            raise CheckpointError(f"{folder} has no directions.json: give a folder written by DirectionSpace.save.")
        header = json.loads((folder / "directions.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "directions.safetensors")
        regions = {
            label: Region(
                Mixture(*(tensors[f"{label}.{name}"] for name in Mixture._fields)),
                tensors[f"{label}.limit"],
            )
            for label in header["labels"]
        }
        return cls(regions, header["neutral"], header["variance"])

    def _region(self, label: str) -> Region:
        if label not in self.regions:
            raise InputError(f"no direction to {label!r}: choose one of {', '.join(self.regions)}.")
        return self.regions[label]

    def _component(self, label: str, e: Tensor) -> Tensor:
        """(n e) -> (n e) mean of the label's component that is most responsible for each."""
        mixture = self._region(label).mixture
        return mixture.means[mixture.log_prob(e).argmax(-1)]


def _difference_axes(mixtures: list[Mixture], variance: float) -> Tensor:
    """(e r) principal axes of the differences between components of all ordered pairs of labels, which average to 0."""
    rows = []
    for i, one in enumerate(mixtures):
        for other in mixtures[i + 1 :]:
            share = (one.weights[:, None] * other.weights).sqrt().flatten()
            rows.append(share[:, None] * (one.means[:, None] - other.means).flatten(0, 1))
    _, size, axes = torch.linalg.svd(torch.cat(rows), full_matrices=False)
    kept = int((size.square().cumsum(0) < variance * size.square().sum()).sum()) + 1
    return axes[: min(kept, MOST_AXES)].T.contiguous()
