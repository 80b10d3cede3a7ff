"""The heads of the recognisers of :mod:`voice_conversion.evaluation.listener`, trained on acted speech.

c recordings, f features.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gen.emotion.embedding.recogniser import SEVEN
from voice_conversion.evaluation.listener import Listener
from voice_conversion.training.corpus import Clip, Corpus

log = logging.getLogger(__name__)
DIRECTIONS, WIDTH, SEEDS, STEPS, BATCH = 128, 64, 3, 800, 128
RATE, DECAY, DROPOUT = 1e-3, 1e-2, 0.3
ENGLISH = 2.0  # how much oftener RAVDESS, which has two sentences only, is drawn
WORDS = {"calm": "neutral"}  # what calm counts as


def heard(listener: Listener, corpus: Corpus, clips: list[Clip]) -> np.ndarray:
    """(c, f) float32"""
    found = []
    for i, clip in enumerate(clips):
        found.append(listener.features(corpus.samples(clip)))
        if i % 500 == 499:
            log.info("heard %d of %d", i + 1, len(clips))
    return np.stack(found)


def fitted(features: np.ndarray, clips: list[Clip], names: list[str], seed: int = 0) -> dict[str, np.ndarray]:
    """The head from features (c, f) of clips whose emotions have ``names``; those not in SEVEN are left out."""
    names = [WORDS.get(name, name) for name in names]
    label = np.array([SEVEN.index(name) if name in SEVEN else -1 for name in names])
    x = features.astype(np.float32)
    mean, scale = x.mean(0), x.std(0) + 1e-3
    x = (x - mean) / scale
    power, main = np.linalg.eigh(x @ x.T / len(x))
    power, main = power[: -DIRECTIONS - 1 : -1], main[:, : -DIRECTIONS - 1 : -1]
    power = np.maximum(power, 1e-6 * power[0])
    project = x.T @ main / len(x) ** 0.5 / power  # of unit variance
    sizes = np.abs(project).max(0) / 127
    project = np.rint(project / sizes).astype(np.int8)
    x = torch.from_numpy((x @ (project * sizes)).astype(np.float32))
    plain = defaultdict(list)
    for i, clip in enumerate(clips):
        if clip.emotion == "neutral":
            plain[clip.speaker].append(i)
    own = np.array([i for i in np.flatnonzero(label >= 0) if len(plain[clips[i].speaker]) > 1])
    _, kind, count = np.unique([f"{clips[i].group}{label[i]}" for i in own], return_inverse=True, return_counts=True)
    chance = np.where([clips[i].group == "ravdess" for i in own], ENGLISH, 1.0) / count[kind] ** 0.5
    nets, random = [], np.random.default_rng(seed)
    for one in range(SEEDS):
        torch.manual_seed(seed + one)
        pair, alone = (_net(size) for size in (2 * x.shape[1], x.shape[1]))
        best = torch.optim.AdamW([*pair.parameters(), *alone.parameters()], RATE, weight_decay=DECAY)
        for _ in range(STEPS):
            which = own[random.choice(len(own), BATCH, p=chance / chance.sum())]
            other = [random.choice(plain[clips[i].speaker]) for i in which]
            given, wanted = x[which], torch.from_numpy(label[which])
            loss = functional.cross_entropy(pair(torch.cat((given, given - x[other]), 1)), wanted)
            loss = loss + functional.cross_entropy(alone(given), wanted)
            best.zero_grad()
            loss.backward()
            best.step()
        nets.append({"pair": pair, "alone": alone})
    head = {"mean": mean, "scale": scale, "project": project, "sizes": sizes.astype(np.float32)}
    for name in ("pair", "alone"):
        layers = [(net[name][1], net[name][4]) for net in nets]
        with torch.no_grad():
            parts = {
                "in": [a.weight.T for a, _ in layers],
                "in_bias": [a.bias[None] for a, _ in layers],
                "out": [b.weight.T for _, b in layers],
                "out_bias": [b.bias[None] for _, b in layers],
            }
            head |= {f"{name}.{part}": torch.stack(values).contiguous().numpy() for part, values in parts.items()}
    return head


def save(head: dict[str, np.ndarray], path: Path) -> None:
    """Write a head, networks in 16 bits."""
    from safetensors.numpy import save_file

    save_file({name: x.astype(np.float16) if x.ndim > 2 else x for name, x in head.items()}, path)


def _net(size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(DROPOUT), nn.Linear(size, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, len(SEVEN))
    )
