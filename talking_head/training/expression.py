"""Fits the expression layer to the table of expressions for random mixes and points, within a minute."""

from pathlib import Path

import numpy as np
import torch
from scipy.special import expit, logit

from gen import checkpoints
from gen.emotion import lexicon
from gen.emotion.calibration import Calibration
from gen.emotion.spec import CANONICAL, EMBEDDING
from gen.emotion.track import plain
from talking_head.motion.expression import target
from talking_head.motion.layer import Expression

STRONGEST = 1.6
READ = {0.6: 0.40, 1.0: 0.79}  # scale of an expression: share of still pictures recognised


def asked(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mixes (n, 8) of one to three of the eight, points (n, 3) near theirs, and intensities (n,)."""
    one = lambda: np.eye(len(CANONICAL))[random.integers(0, len(CANONICAL), count)]
    shares = random.dirichlet((1, 0.25, 0.15), count)
    weights = sum(share[:, None] * one() for share in shares.T)
    pure = random.random(count) < 0.4
    weights[pure] = one()[pure]
    away = random.normal(0, 0.3, (count, 3)) * (random.random((count, 1)) < 0.3)
    vad = (weights @ lexicon.canonical()[0] + away).clip(-1, 1)
    return weights, vad, random.uniform(0, STRONGEST, count)


def fit(model: Expression, steps: int = 1500, seed: int = 0, batch: int = 1024, rate: float = 3e-3) -> float:
    """Train the layer and its conditioner; return the root mean square error of the coefficients."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    model.train()
    lost = torch.zeros(())
    for _ in range(steps):
        weights, vad, intensity = asked(batch, random)
        wanted = torch.from_numpy(target(weights, vad) * intensity[:, None].astype(np.float32))
        told = model.emotion(**model.emotion.prepare([plain(weights, intensity, vad)]))
        lost = (model(told.tokens)[0] - wanted).square().mean()
        optimizer.zero_grad()
        (lost + told.loss).backward()
        optimizer.step()
        schedule.step()
    model.eval()
    return float(lost.detach().sqrt())


def threshold() -> Calibration:
    """Intensity calibration: recognition is a steep function of an expression's scale.

    A logistic curve through the shares :data:`READ` is spread evenly over intensities, so that .5 is read about half as
    often as 1, and 2 goes half as far again.
    """
    tried, (low, high) = np.linspace(0, 1.5, 16), sorted(READ)
    slope = (logit(READ[high]) - logit(READ[low])) / (high - low)
    return Calibration.fit(tried, {"happy": expit(logit(READ[high]) + slope * (tried - high))})


def write(folder: Path, conditioner: str, seed: int, steps: int = 1500) -> None:
    """Write the fitted layer and its calibration into a checkpoint folder."""
    priors = {"priors": EMBEDDING} if conditioner in ("gaussian", "bank", "direction") else {}
    model = Expression(conditioner={"name": conditioner} | priors)
    fit(model, steps, seed)
    model.register_to_config(conditioner={"name": conditioner})  # the priors' numbers are in the weights
    checkpoints.save(model.half(), folder / "expression")
    threshold().save(folder)
