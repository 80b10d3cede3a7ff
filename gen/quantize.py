"""Vector and scalar quantizers with one interface: EMA-VQ, FSQ, FSP and VP, one class each.

Every quantizer maps z (b, n, dim) to the nearest of ``size`` codes with a straight-through gradient, ignores masked
positions in its statistics and its loss, and keeps its whole state in buffers, so that it is saved completely.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gen.neighbours import kmeans, knn_distances, nearest
from gen.registry import register


class Quantized(NamedTuple):
    z: Tensor  # (b, n, dim), straight-through
    index: Tensor  # (b, n) long, or (b, n, slots) when there are several slots; also defined at masked positions
    loss: Tensor  # scalar, to be added to the training loss


def valid(x: Tensor, mask: Tensor | None) -> Tensor:
    """The unmasked positions of x (b, n, ...) as one list (m, ...); with a mask per slot (b, n, s), those with any."""
    if mask is None:
        return x.flatten(0, 1)
    return x[mask if mask.dim() == 2 else mask.any(-1)]


class Quantizer(nn.Module):
    """Base class of all quantizers; counts the codes used in ``forward``.

    A subclass defines ``forward(z, mask) -> Quantized``, ``encode(z) -> index`` and ``decode(index) -> z``.
    """

    def __init__(self, dim: int, size: int, slots: int = 1):
        super().__init__()
        self.dim, self.size, self.slots = dim, size, slots
        self.register_buffer("seen", torch.zeros(slots, size, dtype=torch.long), persistent=False)

    @torch.no_grad()
    def record(self, index: Tensor, mask: Tensor | None) -> None:
        rows = valid(index, mask).reshape(-1, self.slots)
        for slot in range(self.slots):
            self.seen[slot] += torch.bincount(rows[:, slot], minlength=self.size)

    def reset_usage(self) -> None:
        self.seen.zero_()

    def usage(self) -> dict[str, float]:
        """Number of codes used and perplexity exp(H) since ``reset_usage``, averaged over slots; 0 if none."""
        share = self.seen / self.seen.sum(1, keepdim=True).clamp_min(1)
        entropy = -torch.xlogy(share, share).sum(1)
        perplexity = torch.where(self.seen.sum(1) > 0, entropy.exp(), 0.0)
        return {"used": (self.seen > 0).sum(1).float().mean().item(), "perplexity": perplexity.mean().item()}


@register("quantizer", "ema_vq")
class EMAVectorQuantizer(Quantizer):
    """Codebook updated by moving averages (van den Oord et al. 2017, appendix A.1).

    Counts are Laplace-smoothed and bias-corrected; a code not used in a batch is unchanged. With ``restart``, codes
    whose average count falls below ``dead`` of an even share are replaced by random vectors of the batch.
    """

    epsilon = 1e-5
    dead = 0.03

    def __init__(self, dim: int, size: int = 512, decay: float = 0.99, commitment: float = 0.25, restart: bool = True):
        super().__init__(dim, size)
        self.decay, self.commitment, self.restart = decay, commitment, restart
        edge = math.sqrt(6 / (size + dim))
        self.register_buffer("codes", torch.empty(size, dim).uniform_(-edge, edge))
        self.register_buffer("count", torch.zeros(size))  # moving average of the uses per batch
        self.register_buffer("total", torch.zeros(size, dim))  # moving average of the sum of its vectors
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, z: Tensor, mask: Tensor | None = None) -> Quantized:
        index = self.encode(z)
        code = self.decode(index).to(z.dtype)
        off = valid(z, mask) - valid(code, mask)
        loss = self.commitment * off.square().sum() / max(off.numel(), 1)
        self.record(index, mask)
        if self.training:
            self._follow(valid(z.detach(), mask).float(), valid(index, mask))
        return Quantized(z + (code - z).detach(), index, loss)

    def encode(self, z: Tensor) -> Tensor:
        return nearest(z.detach().flatten(0, -2).to(self.codes.dtype), self.codes).view(z.shape[:-1])

    def decode(self, index: Tensor) -> Tensor:
        return self.codes[index]

    @torch.no_grad()
    def _follow(self, z: Tensor, index: Tensor) -> None:
        count = torch.bincount(index, minlength=self.size).float()
        self.step += 1
        self.count.lerp_(count, 1 - self.decay)
        self.total.lerp_(torch.zeros_like(self.total).index_add_(0, index, z), 1 - self.decay)
        correction = 1 - self.decay ** self.step.item()
        average = self.count / correction
        volume = average.sum()
        smooth = (average + self.epsilon) / (volume + self.size * self.epsilon) * volume
        moved = self.total / correction / smooth[:, None]
        self.codes.copy_(torch.where(count[:, None] > 0, moved, self.codes))
        if self.restart:
            self._revive(z, average < self.dead * volume / self.size, correction * volume / self.size)

    def _revive(self, z: Tensor, dead: Tensor, fair: Tensor) -> None:
        which = dead.nonzero()[:, 0][: len(z)]
        seeds = z[torch.randperm(len(z), device=z.device)[: len(which)]]
        self.codes[which], self.count[which], self.total[which] = seeds, fair, seeds * fair


@register("quantizer", "slot_vq")
class SlotVectorQuantizer(Quantizer):
    """A separate :class:`EMAVectorQuantizer` for each of ``slots`` equal parts of z; a mask may be (b, n, slots)."""

    def __init__(
        self,
        dim: int,
        size: int = 128,
        slots: int = 7,
        decay: float = 0.99,
        commitment: float = 0.25,
        restart: bool = True,
    ):
        super().__init__(dim, size, slots)
        books = (EMAVectorQuantizer(dim // slots, size, decay, commitment, restart) for _ in range(slots))
        self.books = nn.ModuleList(books)

    def forward(self, z: Tensor, mask: Tensor | None = None) -> Quantized:
        masks = [mask] * self.slots if mask is None or mask.dim() == 2 else mask.unbind(-1)
        parts = zip(self.books, z.chunk(self.slots, -1), masks, strict=True)
        found = [book(part, kept) for book, part, kept in parts]
        index = torch.stack([part.index for part in found], -1)
        self.record(index, mask)
        return Quantized(torch.cat([part.z for part in found], -1), index, sum(part.loss for part in found))

    def encode(self, z: Tensor) -> Tensor:
        parts = zip(self.books, z.chunk(self.slots, -1), strict=True)
        return torch.stack([book.encode(part) for book, part in parts], -1)

    def decode(self, index: Tensor) -> Tensor:
        return torch.cat([book.decode(part) for book, part in zip(self.books, index.unbind(-1), strict=True)], -1)


class SlotLinear(nn.Module):
    """One independent affine map per slot: (..., slots, a) -> (..., slots, b)."""

    def __init__(self, slots: int, a: int, b: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(slots, a, b).uniform_(-1, 1) * math.sqrt(3 / a))
        self.bias = nn.Parameter(torch.zeros(slots, b))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("...sa,sab->...sb", x, self.weight) + self.bias


class GridQuantizer(Quantizer):
    """A code is a tuple of digits, digit j below levels[j]; index = sum_j digit_j prod_{m<j} levels[m].

    ``slots`` splits dim into equal parts that are quantized independently, each with its own projection to
    len(levels) channels and back; without ``project`` dim must be slots * len(levels). A subclass defines
    ``digits(x)`` of the projected latent (..., slots, c), and the ``values`` of digits.
    """

    def __init__(self, dim: int, levels: Sequence[int], slots: int, project: bool):
        super().__init__(dim, math.prod(levels), slots)
        if dim % slots or not (project or dim == slots * len(levels)):
            raise ValueError(f"dim {dim} does not fit {slots} slots of {len(levels)} channels (project={project})")
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        basis = [math.prod(levels[:j]) for j in range(len(levels))]
        self.register_buffer("basis", torch.tensor(basis), persistent=False)
        self.inward = SlotLinear(slots, dim // slots, len(levels)) if project else nn.Identity()
        self.outward = SlotLinear(slots, len(levels), dim // slots) if project else nn.Identity()

    def encode(self, z: Tensor) -> Tensor:
        return self._pack(self.digits(self._project(z)))

    def decode(self, index: Tensor) -> Tensor:
        index = index.reshape(*index.shape[: index.ndim - (self.slots > 1)], self.slots)
        digit = (index[..., None] // self.basis) % self.levels
        return self._merge(self.values(digit.to(torch.get_default_dtype())))

    def _project(self, z: Tensor) -> Tensor:
        return self.inward(rearrange(z, "... (s w) -> ... s w", s=self.slots)).float()

    def _merge(self, value: Tensor) -> Tensor:
        dtype = next((p.dtype for p in self.outward.parameters()), value.dtype)
        return rearrange(self.outward(value.to(dtype)), "... s w -> ... (s w)")

    def _pack(self, digit: Tensor) -> Tensor:
        index = (digit.long() * self.basis).sum(-1)
        return index if self.slots > 1 else index[..., 0]


@register("quantizer", "fsq")
class FSQ(GridQuantizer):
    """Finite scalar quantization (Mentzer et al., ICLR 2024, sec. 3 and appendix A)."""

    def __init__(self, dim: int, levels: Sequence[int] = (8, 5, 5, 5), slots: int = 1, project: bool = True):
        super().__init__(dim, levels, slots, project)

    def forward(self, z: Tensor, mask: Tensor | None = None) -> Quantized:
        bounded = self._bound(self._project(z))
        digit = bounded.round() + self.levels // 2
        value = self.values(bounded + (bounded.round() - bounded).detach() + self.levels // 2)
        index = self._pack(digit)
        self.record(index, mask)
        return Quantized(self._merge(value), index, z.new_zeros(()))

    def digits(self, x: Tensor) -> Tensor:
        return self._bound(x).round() + self.levels // 2

    def values(self, digit: Tensor) -> Tensor:
        return digit / (self.levels // 2) - 1

    def _bound(self, x: Tensor) -> Tensor:
        """x squashed so that rounding gives exactly ``levels`` integers."""
        half = (self.levels - 1) * (1 + 1e-3) / 2
        offset = 0.5 * (self.levels % 2 == 0)
        return torch.tanh(x + torch.atanh(offset / half)) * half - offset


CDF = {  # map to (0, 1), and variance of the distribution that becomes uniform
    "tanh": (lambda x: (torch.tanh(x) + 1) / 2, math.pi**2 / 12),
    "sigmoid": (torch.sigmoid, math.pi**2 / 3),
    "normal": (torch.special.ndtr, 1.0),
    "laplace": (lambda x: 0.5 - 0.5 * x.sign() * torch.expm1(-x.abs()), 2.0),
}


def moment_loss(x: Tensor, variance: float) -> Tensor:
    """0.1 mean^2 + 0.07 (var - variance)^2 of x (m, ..., c) over m, averaged over channels (VP-VAE, 2026)."""
    spread = x.var(0, unbiased=False) - variance
    return (0.1 * x.mean(0).square() + 0.07 * spread.square()).mean()


@register("quantizer", "fsp")
class FSP(GridQuantizer):
    """Finite scalar perturbation (VP-VAE, 2026): trains with noise one level wide instead of rounding.

    Levels are the centres of equal parts of (0, 1), the Lloyd-Max centroids of a uniform variable; the moment loss
    keeps the squashed latent uniform. ``rounding`` is the share of entries that are rounded in training.
    """

    def __init__(
        self,
        dim: int,
        levels: Sequence[int] = (8, 5, 5, 5),
        slots: int = 1,
        project: bool = True,
        cdf: str = "tanh",
        rounding: float = 0.0,
        moments: float = 1.0,
    ):
        super().__init__(dim, levels, slots, project)
        self.squash, self.variance = CDF[cdf]
        self.rounding, self.moments = rounding, moments

    def forward(self, z: Tensor, mask: Tensor | None = None) -> Quantized:
        x = self._project(z)
        part = self.squash(x)
        digit = self.digits(x)
        target = (digit + 0.5) / self.levels
        if self.training:
            noisy = part + (torch.rand_like(part) - 0.5) / self.levels
            noisy = torch.where((noisy > 0) & (noisy < 1), noisy, part)
            target = torch.where(torch.rand_like(part) < self.rounding, target, noisy)
        value = self._scale(part + (target - part).detach())
        index = self._pack(digit)
        self.record(index, mask)
        return Quantized(self._merge(value), index, self.moments * moment_loss(valid(x, mask), self.variance))

    def digits(self, x: Tensor) -> Tensor:
        return (self.squash(x).clamp_max(1 - 1e-6) * self.levels).floor()

    def values(self, digit: Tensor) -> Tensor:
        return self._scale((digit + 0.5) / self.levels)

    def _scale(self, part: Tensor) -> Tensor:
        """(0, 1) to zero mean and unit variance."""
        return (part - 0.5) * math.sqrt(12)


@register("quantizer", "vp")
class VPQuantizer(Quantizer):
    """Perturbation instead of a codebook (VP-VAE, 2026): training adds noise of the size of a codebook's error.

    A queue of recent latents estimates their density; each latent moves to a uniform sample from a ball that contains
    1/size of the queue, accepted by Metropolis-Hastings so that the moved latents keep their distribution. In
    evaluation the codes are k-means centres of the queue. ``neighbours`` sets the queue length to size * neighbours
    (16 * width in the paper); ``width`` projects dim to a space small enough for density estimation (None: dim).
    """

    density = 8  # rank of the neighbour used for density estimation
    refresh = 0.01  # probability per step that the batch enters a full queue

    def __init__(self, dim: int, size: int = 512, width: int | None = 8, neighbours: int = 16, moments: float = 1.0):
        super().__init__(dim, size)
        self.neighbours, self.moments = neighbours, moments
        self.inward = nn.Linear(dim, width) if width else nn.Identity()
        self.outward = nn.Linear(width, dim) if width else nn.Identity()
        noise = torch.randn(size * neighbours, width or dim, generator=torch.Generator().manual_seed(0))
        self.register_buffer("queue", noise)
        self.register_buffer("codes", torch.zeros(size, width or dim))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long))  # number of latents that entered the queue
        self.register_buffer("stale", torch.ones((), dtype=torch.bool))  # the queue changed after the codes were fitted
        self.register_buffer("radius", torch.zeros(()))  # ball radius / distance to the last neighbour; 0: not set yet

    def forward(self, z: Tensor, mask: Tensor | None = None) -> Quantized:
        """In training ``index`` refers to the codes of the last fit; only evaluation fits them again."""
        mask = torch.ones(z.shape[:-1], dtype=torch.bool, device=z.device) if mask is None else mask
        x = self.inward(z).float()
        rows = x[mask].detach()
        if self.training:
            self._calibrate()
            shift = torch.zeros_like(x)
            shift[mask] = self._perturb(rows) - rows
            self._push(rows)
        else:
            self.fit()
        index = nearest(x.detach().flatten(0, 1), self.codes.float()).view(z.shape[:-1])
        self.record(index, mask)
        if not self.training:
            shift = (self.codes[index] - x).detach()
        loss = self.moments * moment_loss(x[mask], 1.0)
        return Quantized(self.outward((x + shift).to(z.dtype)), index, loss)

    def encode(self, z: Tensor) -> Tensor:
        self.fit()
        return nearest(self.inward(z.detach()).float().flatten(0, -2), self.codes.float()).view(z.shape[:-1])

    def decode(self, index: Tensor) -> Tensor:
        self.fit()
        return self.outward(self.codes[index])

    @torch.no_grad()
    def fit(self) -> None:
        """Fits the codes to the queue by k-means if it changed since the last fit; deterministic."""
        if self.stale:
            codes = kmeans(self.queue.float(), self.size, torch.Generator().manual_seed(0))
            self.codes.copy_(codes)
            self.stale.fill_(False)

    @torch.no_grad()
    def _calibrate(self) -> None:
        """Sets the ball so that on Gaussian data steps are as long as the mean error of k-means codes."""
        if self.radius > 0:
            return
        self.fit()  # the queue still has its Gaussian initialisation
        fresh = torch.randn(2048, self.queue.shape[1], generator=torch.Generator().manual_seed(1)).to(self.queue)
        error = (fresh - self.codes[nearest(fresh, self.codes)]).norm(dim=1).mean()
        d = fresh.shape[1]
        self.radius.copy_(error * (d + 1) / d / knn_distances(fresh, self.queue, [self.neighbours])[0].mean())

    def _perturb(self, x: Tensor) -> Tensor:
        """x (m, d) moved, once the queue has only latents."""
        return x if self.pushed < len(self.queue) else self._move(x)

    @torch.no_grad()
    def _move(self, x: Tensor) -> Tensor:
        """One Metropolis-Hastings step: proposals uniform in balls, density as (distance to a neighbour)^-d."""
        d, ranks = x.shape[1], (self.density, self.neighbours)
        near, far = knn_distances(x, self.queue, ranks)
        step = F.normalize(torch.randn_like(x), dim=1) * torch.rand_like(near).pow(1 / d)[:, None]
        step = step * (self.radius * far)[:, None]
        near_there, far_there = knn_distances(x + step, self.queue, ranks)
        log_ratio = d * (near.log() + far.log() - near_there.log() - far_there.log())
        accept = torch.rand_like(near).log() < log_ratio
        accept &= step.norm(dim=1) < self.radius * far_there
        return torch.where(accept[:, None], x + step, x)

    @torch.no_grad()
    def _push(self, x: Tensor) -> None:
        room = len(self.queue)
        if self.pushed >= room and torch.rand(()).item() > self.refresh:
            return
        x = x[torch.randperm(len(x), device=x.device)[:room]]
        self.queue[(self.pushed + torch.arange(len(x), device=x.device)) % room] = x.to(self.queue.dtype)
        self.pushed += len(x)
        self.stale.fill_(True)
