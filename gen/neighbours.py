"""Nearest neighbours and k-means on tensors, in chunks to limit memory. m points, d width."""

from collections.abc import Sequence

import torch
from torch import Tensor


def nearest(x: Tensor, codes: Tensor, chunk: int = 16384) -> Tensor:
    """Index (m,) of the code (k, d) nearest to each row of x (m, d)."""
    norm = codes.square().sum(1)
    return torch.cat([(norm - 2 * part @ codes.T).argmin(1) for part in x.split(chunk)])


def knn_distances(x: Tensor, points: Tensor, ranks: Sequence[int], chunk: int = 2048) -> tuple[Tensor, ...]:
    """Distances (m,), one tensor per rank, from each row of x (m, d) to its rank-th nearest point (q, d)."""
    parts = [torch.cdist(part, points).topk(max(ranks), largest=False).values for part in x.split(chunk)]
    near = torch.cat(parts).clamp_min(1e-12)
    return tuple(near[:, rank - 1] for rank in ranks)


def kmeans(x: Tensor, size: int, generator: torch.Generator, steps: int = 200, tolerance: float = 1e-3) -> Tensor:
    """Centres (size, d) of x (m, d): k-means++ seeds, then Lloyd steps.

    Stops when the centres move less than ``tolerance`` times the data's standard deviation. An empty cluster's centre
    is replaced by the point farthest from the centre of the largest cluster.
    """
    codes = x[torch.randint(len(x), (1,), generator=generator)].repeat(size, 1)
    gap = (x - codes[0]).square().sum(1)
    for j in range(1, size):
        codes[j] = x[torch.multinomial(gap.clamp_min(1e-12).cpu(), 1, generator=generator).to(x.device)[0]]
        gap = torch.minimum(gap, (x - codes[j]).square().sum(1))
    spread = x.var(0, unbiased=False).mean().sqrt()
    for _ in range(steps):
        index = nearest(x, codes)
        count = torch.bincount(index, minlength=size)
        moved = torch.zeros_like(codes).index_add_(0, index, x) / count.clamp_min(1)[:, None]
        for empty in (count == 0).nonzero()[:, 0]:
            inside = x[index == count.argmax()]
            moved[empty] = inside[(inside - moved[count.argmax()]).square().sum(1).argmax()]
            count[count.argmax()] //= 2
        shift = (moved - codes).square().mean().sqrt()
        codes = moved
        if shift < tolerance * spread:
            break
    return codes
