"""Training data and losses of the autoencoder and the prior: passages as tensors, with conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gen.emotion.track import EmotionTrack, track
from gen.nn import lengths_to_mask
from music.labels import curve_of
from music.muser.condition import at_bar
from music.muser.model import MusER
from music.muser.prior import FAR, Prior
from music.tokens import ELEMENTS, Vocabulary
from music.training.corpus import Batch, Passages, Piece

if TYPE_CHECKING:
    from music.training.train import Settings

RENAMED = 0.1  # share of passages that pass for EMOPIA's


class Data:
    """Passages as tensors on a device, with conditions per step from a model's own conditioner."""

    def __init__(
        self, pieces: list[Piece], shares: dict[str, float], settings: Settings, seed: int, vary: bool = False
    ):
        self.settings = settings
        self.passages = Passages(pieces, shares, settings.length, Vocabulary.default(), seed, vary)
        self.random = np.random.default_rng(seed)

    def batch(self) -> Batch:
        return self.passages.batch(self.settings.batch, FAR)

    def tensors(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows (b, n, 7), lengths (b,), bar of each step (b, n), bars left (b, n)."""
        arrays = batch.rows, batch.lengths, batch.bar, batch.left
        return tuple(torch.from_numpy(array).to(self.settings.device) for array in arrays)

    def manner(self, batch: Batch) -> np.ndarray:
        """(b, 1) the corpus of each passage; some are called EMOPIA's, so that it too comes to hear of endings."""
        group = np.where(self.random.random(len(batch.group)) < RENAMED, 0, batch.group)
        return group[:, None]

    def tracks(self, batch: Batch) -> list[EmotionTrack]:
        """The emotion of each passage in its bars."""
        # corpora say nothing of dominance: a random one teaches the model to leave it alone
        curves = [curve_of(f, self.random.uniform(-1, 1)) for f in batch.feeling]
        frames = np.arange(max(len(f) for f in batch.feeling))
        return [track(curve, frames) for curve in curves]

    def conditions(self, model: nn.Module, batch: Batch, drop: float) -> Tensor:
        """One condition a bar (b, bars, c); a share ``drop`` of the items gets the null instead."""
        tracks = self.tracks(batch)
        prepared = {k: v.to(self.settings.device) for k, v in model.emotion.prepare(tracks).items()}
        dropped = torch.from_numpy(self.random.random(len(tracks)) < drop).to(self.settings.device)
        return model.emotion(drop=dropped, **prepared)


def autoencoder_loss(model: MusER, data: Data, settings: Settings, drop: float) -> tuple[Tensor, dict]:
    batch = data.batch()
    rows, lengths, bar, _ = data.tensors(batch)
    condition = data.conditions(model, batch, drop)
    model.fit_codebook()
    losses = model(rows, lengths_to_mask(lengths, rows.shape[1]), at_bar(condition.tokens, bar))
    total = losses.nll + losses.quantizer + settings.regularise * losses.order + condition.loss
    elements = {name: round(float(x), 3) for name, x in zip(ELEMENTS, losses.elements, strict=True)}
    named = {"nll": losses.nll, "vq": losses.quantizer, "order": losses.order}
    return total, {name: round(float(value.detach()), 4) for name, value in named.items()} | elements


def prior_loss(model: Prior, autoencoder: MusER, data: Data, settings: Settings, drop: float) -> tuple[Tensor, dict]:
    batch = data.batch()
    codes, mask, bar, left = coded(model, autoencoder, data, batch)
    condition = data.conditions(model, batch, drop)
    manner = torch.from_numpy(data.manner(batch)).to(codes.device)
    loss = model(codes, mask, at_bar(condition.tokens, bar), left, manner) + condition.loss
    return loss, {"nll": round(float(loss.detach()), 4)}


@torch.no_grad()
def coded(model: Prior, autoencoder: MusER, data: Data, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A batch as the prior's steps: codes, mask, bar and bars left, with an end after whole pieces."""
    rows, lengths, bar, left = data.tensors(batch)
    codes = autoencoder.codes(rows, lengths_to_mask(lengths, rows.shape[1]))
    ends = (left.gather(1, lengths[:, None] - 1)[:, 0] == 0) & torch.from_numpy(batch.whole).to(left.device)
    return with_end(model, codes, lengths, bar, left, ends)


def with_end(model: Prior, codes: Tensor, lengths: Tensor, bar: Tensor, left: Tensor, ends: Tensor):
    """Codes (b, n, s) -> codes, mask, bar and bars left of n + 1 steps: an end after the pieces that ``ends`` marks.

    A step is told the bar that its predecessor stands in: its own would give a Bar away.
    """
    b, n, slots = codes.shape
    codes = torch.cat((codes, codes.new_full((b, 1, slots), model.end)), 1)
    codes.scatter_(1, lengths[:, None, None].expand(-1, 1, slots), model.end)
    mask = lengths_to_mask(lengths + ends, n + 1)
    return codes, mask, torch.cat((bar[:, :1], bar), 1), torch.cat((left[:, :1] + 1, left), 1)
