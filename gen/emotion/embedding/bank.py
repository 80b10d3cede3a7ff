"""A learned bank of emotion prototypes that a query attends to (DICE-Talk, ACM MM 2025, sec. 3.3)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Banked(NamedTuple):
    """The bank's output for a query."""

    tokens: Tensor  # (b n d)
    index: Tensor  # (b n) the nearest entry, long
    loss: Tensor  # scalar; 0 in soft mode


class EmotionBank(nn.Module):
    """``entries`` vectors of width ``dim``. Soft: attention over all. Hard: only the nearest, straight through.

    The hard mode's loss moves the entry to the query and, weighted by ``commitment``, the query to the entry. In
    training, an entry whose running share of the attention falls below ``dead`` of an even share is replaced by a
    random query of the batch.
    """

    def __init__(
        self,
        entries: int = 64,
        dim: int = 256,
        heads: int = 4,
        mode: str = "soft",
        commitment: float = 0.25,
        decay: float = 0.99,
        dead: float = 0.01,
    ):
        super().__init__()
        self.heads, self.mode, self.commitment, self.decay, self.dead = heads, mode, commitment, decay, dead
        self.entries = nn.Parameter(torch.randn(entries, dim))
        self.to_value = nn.Linear(dim, dim)
        if mode == "soft":
            self.to_query, self.to_key = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.register_buffer("share", torch.full((entries,), 1 / entries))
        self.register_buffer("mass", torch.zeros(entries))

    def forward(self, query: Tensor) -> Banked:
        """(b n d) -> tokens (b n d), the nearest entries and the loss."""
        index = torch.cdist(query.flatten(0, -2), self.entries).argmin(-1).view(query.shape[:-1])
        if self.mode == "hard":
            nearest = self.entries[index]
            loss = F.mse_loss(nearest, query.detach()) + self.commitment * F.mse_loss(query, nearest.detach())
            tokens = self.to_value(query + (nearest - query).detach())
            weight = F.one_hot(index, len(self.entries)).to(query.dtype)
        else:
            tokens, weight = self._attend(query)
            loss = query.new_zeros(())
        if self.training:
            self._count(query.detach(), weight.detach().flatten(0, -2).float())
        return Banked(tokens, index, loss)

    def usage(self) -> dict[str, float]:
        """Use during training since :meth:`reset_usage`: number of entries used, and perplexity."""
        share = self.mass / self.mass.sum().clamp(min=1e-9)
        entropy = -(share * share.clamp(min=1e-9).log()).sum()
        return {"used": int((share > self.dead / len(share)).sum()), "perplexity": float(entropy.exp())}

    def reset_usage(self) -> None:
        self.mass.zero_()

    def _attend(self, query: Tensor) -> tuple[Tensor, Tensor]:
        q = rearrange(self.to_query(query), "b n (h d) -> b h n d", h=self.heads)
        k = rearrange(self.to_key(self.entries), "k (h d) -> h d k", h=self.heads)
        v = rearrange(self.to_value(self.entries), "k (h d) -> h k d", h=self.heads)
        weight = (q @ k * q.shape[-1] ** -0.5).softmax(-1)  # (b h n k)
        return rearrange(weight @ v, "b h n d -> b n (h d)"), weight.mean(1)

    @torch.no_grad()
    def _count(self, query: Tensor, weight: Tensor) -> None:
        """Updates the use of each entry with weights (b*n, entries), then replaces the dead ones."""
        self.mass += weight.sum(0)
        self.share.lerp_(weight.mean(0), 1 - self.decay)
        dead = self.share < self.dead / len(self.share)
        if dead.any():
            queries = query.flatten(0, -2)
            chosen = torch.randint(len(queries), (int(dead.sum()),), device=query.device)
            self.entries[dead] = queries[chosen].to(self.entries.dtype)
            self.share[dead] = 1 / len(self.share)
