"""The transformer layer of EMOTE and FLINT, with its attention biases.

Attention is computed here, not by ``nn.TransformerEncoder``: its fused path in eval mode reads any bias as a mask
(pytorch#118628), which makes the motion of upstream weights shake.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def slopes(heads: int, device: torch.device) -> Tensor:
    """(h, 1, 1): 1/2, 1/4, ... (Press et al., ICLR 2022)."""
    return 2.0 ** -torch.arange(1, heads + 1, device=device)[:, None, None]


def nearness(count: int, heads: int, device: torch.device, period: int = 1) -> Tensor:
    """(h, n, n) to add to attention: -slope * floor(|i - j| / period); 1 as FLINT has it, 30 as EMOTE has it."""
    place = torch.arange(count, device=device)
    return -slopes(heads, device) * ((place[:, None] - place).abs() // period)


class BiasedLayer(nn.Module):
    """Post-norm transformer layer with a bias on its attention, as published."""

    def __init__(self, dim: int, heads: int, ffn: int, period: int = 1, dropout: float = 0.0):
        super().__init__()
        self.heads, self.period, self.dropout = heads, period, dropout
        self.in_proj, self.out_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.linear1, self.linear2 = nn.Linear(dim, ffn), nn.Linear(ffn, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (b, n, d), every item sees every other."""
        b, n, d = x.shape
        query, key, value = self.in_proj(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        near = nearness(n, self.heads, x.device, self.period).to(query.dtype)
        drop = self.dropout if self.training else 0.0
        seen = (query * query.shape[-1] ** -0.5 @ key.mT + near).softmax(-1).to(value.dtype) @ value
        x = self.norm1(x + F.dropout(self.out_proj(seen.transpose(1, 2).reshape(b, n, d)), drop))
        return self.norm2(x + F.dropout(self.linear2(F.dropout(F.gelu(self.linear1(x)), drop)), drop))
