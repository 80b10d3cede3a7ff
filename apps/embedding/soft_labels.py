"""Soft labels of the teacher for training the voice encoder (distillation, Hinton et al., 2015).

Five small networks on Whisper's pooled blocks are trained, each without a fifth of the speakers, so that every label
comes from a network that was not trained on its speaker. n recordings, f features, k terms.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen.emotion.embedding.network import TERMS

FOLDS, STEPS, TOGETHER, RATE = 5, 350, 256, 2e-3
KEPT, EVEN = 240, 0.8  # directions of the blocks, and the exponent of their standard deviation in the whitening
SHARES = {"ravdess": 1.0, "emodb": 0.7, "nemo": 1.2}  # weight of each corpus
SURE = 0.99  # total share of the terms; the rest is the class of sounds without speech


class Facts(NamedTuple):
    """Corpus, speaker and term of n recordings, and whether the label may be used for training (n,)."""

    group: np.ndarray
    person: np.ndarray
    term: np.ndarray
    open: np.ndarray


def soft_labels(blocks: np.ndarray, facts: Facts, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the terms and of none (n, k + 1) for pooled blocks (n f): of each recording alone, and relative to the
    neutral ones of its speaker.
    """
    torch.manual_seed(seed)
    x = torch.from_numpy(blocks)
    x = (x - x.mean(0)) / (x.std(0) + 1e-3)
    x = x @ torch.svd_lowrank(x, KEPT + 20, niter=2)[2][:, :KEPT]
    x = x / x.std(0) ** EVEN
    x = x / x.square().mean().sqrt()
    return _crossed(x, facts), _crossed(torch.cat((x, x - neutral(x, facts)), 1), facts)


def neutral(x: Tensor, facts: Facts) -> Tensor:
    """The mean of the other neutral recordings of each recording's speaker (n f)."""
    found = torch.zeros_like(x)
    for name in np.unique(facts.person):
        own = np.flatnonzero(facts.person == name)
        plain = own[facts.term[own] == 0]
        for i in own:
            others = plain[plain != i]
            found[i] = x[others if len(others) else own].mean(0)
    return found


def _crossed(x: Tensor, facts: Facts) -> np.ndarray:
    """Out-of-fold shares (n, k + 1); speakers of no fold get the average of all networks."""
    people = sorted({*facts.person[facts.open]})
    place: dict[str, int] = {}
    for group in SHARES:
        place |= {name: k % FOLDS for k, name in enumerate(p for p in people if p.startswith(group))}
    fold = np.array([place.get(name, -1) if open else -1 for name, open in zip(facts.person, facts.open)])
    nets = [fit(x, facts, facts.open & (fold != k)) for k in range(FOLDS)]
    found = np.zeros((len(x), len(TERMS) + 1), np.float32)
    with torch.no_grad():
        predicted = torch.stack([net(x).softmax(1) for net in nets]).numpy()
    found[:, : len(TERMS)] = np.where((fold < 0)[:, None], predicted.mean(0), predicted[fold, np.arange(len(x))])
    found *= SURE
    found[:, -1] = 1 - SURE
    return found


def fit(x: Tensor, facts: Facts, rows: np.ndarray) -> nn.Module:
    """A network trained on some rows, weighted by corpus and balanced over terms; mixup (Zhang et al., ICLR 2018)."""
    wide, out = nn.Linear(x.shape[1], 96), nn.Linear(96, len(TERMS))
    net = nn.Sequential(nn.Dropout(0.3), wide, nn.ReLU(), nn.Dropout(0.4), out)
    weight = np.zeros(len(x))
    for group, share in SHARES.items():
        for k in range(len(TERMS)):
            own = rows & (facts.group == group) & (facts.term == k)
            weight[own] = share / max(1, own.sum())
    weight, term = torch.from_numpy(weight), torch.from_numpy(facts.term)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.01, STEPS)
    for _ in range(STEPS):
        drawn, other = torch.multinomial(weight, TOGETHER, replacement=True), torch.randperm(TOGETHER)
        share = float(torch.distributions.Beta(0.4, 0.4).sample())
        predicted = net(share * x[drawn] + (1 - share) * x[drawn][other])
        loss = share * F.cross_entropy(predicted, term[drawn], label_smoothing=0.05)
        loss = loss + (1 - share) * F.cross_entropy(predicted, term[drawn][other], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()
