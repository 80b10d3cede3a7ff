"""Gaussian mixtures with diagonal covariance, sized by the Bayesian information criterion."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

STEPS = 50  # maximum iterations of expectation-maximisation
TOLERANCE = 1e-4  # minimum gain in mean log-likelihood to continue
FLOOR = 1e-3  # minimum variance relative to the data's variance


class Mixture(NamedTuple):
    """k diagonal Gaussians in e dimensions."""

    weights: Tensor  # (k,)
    means: Tensor  # (k e)
    var: Tensor  # (k e)

    def log_prob(self, x: Tensor) -> Tensor:
        """(n e) -> (n k) log of weight times density."""
        square = _square_distance(x, self.means, self.var)
        norm = self.var.log().sum(-1) + x.shape[-1] * math.log(2 * math.pi)
        return self.weights.log() - 0.5 * (square + norm)

    def mean(self) -> Tensor:
        """(e,) the centroid."""
        return self.weights @ self.means

    def distance(self, x: Tensor) -> Tensor:
        """(n e) -> (n,) Mahalanobis distance to the nearest component."""
        return _square_distance(x, self.means, self.var).amin(-1).clamp(min=0).sqrt()


def fit(x: Tensor, most: int, generator: torch.Generator) -> Mixture:
    """The mixture of 1..``most`` components with the lowest BIC on x (n e), with at least 10 points per component."""
    n, e = x.shape
    best, lowest = None, math.inf
    for k in range(1, min(most, max(n // 10, 1)) + 1):
        mixture, likelihood = _maximise(x, k, generator)
        criterion = (2 * k * e + k - 1) * math.log(n) - 2 * likelihood * n
        if criterion < lowest:
            best, lowest = mixture, criterion
    return best


def _square_distance(x: Tensor, means: Tensor, var: Tensor) -> Tensor:
    """(n e), (k e), (k e) -> (n k)."""
    inverse = 1 / var
    return (x**2) @ inverse.T - 2 * x @ (means * inverse).T + (means**2 * inverse).sum(-1)


def _maximise(x: Tensor, k: int, generator: torch.Generator) -> tuple[Mixture, float]:
    """Runs expectation-maximisation from k-means++ seeds; returns the mixture and its mean log-likelihood."""
    spread = x.var(0, correction=0).clamp(min=1e-8)
    floor = FLOOR * spread
    mixture = Mixture(x.new_full((k,), 1 / k), _seeds(x, k, generator), spread.expand(k, -1))
    before = -math.inf
    for _ in range(STEPS):
        joint = mixture.log_prob(x)
        total = joint.logsumexp(-1)
        after = float(total.mean())
        if after - before < TOLERANCE:
            break
        before = after
        share = (joint - total[:, None]).exp()  # (n k) responsibilities
        count = share.sum(0).clamp(min=1e-6)
        means = share.T @ x / count[:, None]
        var = (share.T @ x**2 / count[:, None] - means**2).maximum(floor)
        mixture = Mixture(count / count.sum(), means, var)
    return mixture, after


def _seeds(x: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """(k e) points of x, each drawn with probability proportional to its squared distance to those drawn
    (k-means++)."""
    chosen = [int(torch.randint(len(x), (1,), generator=generator))]
    for _ in range(k - 1):
        gap = torch.cdist(x, x[chosen]).amin(-1) ** 2
        chosen.append(int(torch.multinomial(gap + 1e-12, 1, generator=generator)))
    return x[chosen].clone()
