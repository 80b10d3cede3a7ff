"""Losses of the embedding. b clips, e width of the space, k classes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def contrastive(z: Tensor, alike: Tensor, hard: Tensor, temperature: float = 0.1, weight: float = 2.0) -> Tensor:
    """Supervised contrastive loss (Khosla et al., NeurIPS 2020, eq. 2) of z (b e).

    ``alike`` (b b) is the weight of a positive pair; pairs in ``hard`` (b b) bool are negatives of weight ``weight``.
    """
    z = F.normalize(z, dim=-1)
    logits = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool)
    push = (logits + hard * torch.log(torch.tensor(weight))).masked_fill(itself, -torch.inf)
    log_share = logits - push.logsumexp(1, keepdim=True)
    alike = alike.masked_fill(itself, 0)
    total = alike.sum(1)
    own = -(alike * log_share).sum(1) / total.clamp(min=1e-6)
    return own[total > 0].mean() if (total > 0).any() else z.sum() * 0


def divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL divergence from N(0, 1), a mean over dimensions and clips (Kingma and Welling 2014, app. B)."""
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).mean()


def ordered(mu: Tensor, axis: Tensor, weaker: Tensor, stronger: Tensor, margin: float = 0.3) -> Tensor:
    """Logistic loss for pairs of rows whose second must lie further along ``axis`` (pairs, e).

    ``weaker`` and ``stronger`` index mu; lengths count in units of the axis.
    """
    step = ((mu[stronger] - mu[weaker]) * axis).sum(-1) / axis.square().sum(-1).clamp(min=1e-6)
    return F.softplus(6 * (margin - step)).mean() / 6


def discrepancy(one: Tensor, other: Tensor) -> Tensor:
    """Energy distance of two samples (n e) and (m e), relative to their own spread; 0 for equal distributions (Székely
    and Rizzo, J. Stat. Planning and Inference 2013, sec. 1).
    """
    own = _spread(one) + _spread(other)
    return (2 * torch.cdist(one, other).mean() - own) / own.detach().clamp(min=1e-6)


def _spread(x: Tensor) -> Tensor:
    """The mean distance between two different rows of x (n e), n > 1."""
    return torch.pdist(x).mean()


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -ctx.scale * grad, None


def reverse(x: Tensor, scale: float) -> Tensor:
    """The identity with a reversed gradient (Ganin and Lempitsky, ICML 2015, sec. 3)."""
    return _Reverse.apply(x, scale)


class Adversary(nn.Module):
    """Predicts the person or the modality from a mean; its reversed gradient removes that information."""

    def __init__(self, space: int, classes: int, width: int = 192):
        super().__init__()
        layers = nn.Linear(space, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes)
        self.net = nn.Sequential(*layers)

    def forward(self, mu: Tensor, target: Tensor, scale: float) -> Tensor:
        """Cross-entropy of the targets (b,); targets below 0 are ignored."""
        return F.cross_entropy(self.net(reverse(mu, scale)), target, ignore_index=-1)
