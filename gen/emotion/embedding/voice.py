"""The voice encoder: log-mel rows and pitch -> a frame every 80 ms, and one vector for the recording.

It is small (1.4 million parameters, a few milliseconds for three seconds of speech). It is trained on emotions and, by
distillation, on the outputs of a large speech encoder for the same recordings (:mod:`apps.embedding.hearing`).
b batch, n rows of 20 ms, f = 68 features of a row (:func:`gen.emotion.embedding.features.voice`), m = ceil(n / 4)
frames, d width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen.emotion.embedding import features
from gen.nn import Block

EXTRA = features.VOICE - features.BANDS  # loudness, pitch twice, voicing


class Local(nn.Module):
    """A block over time: a depthwise convolution of 7 frames and a feed-forward net (Liu et al., CVPR 2022, fig. 4)."""

    def __init__(self, width: int, dropout: float, wider: int = 2):
        super().__init__()
        self.conv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, wider * width), nn.Linear(wider * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(b n d) -> (b n d)"""
        y = self.conv((x * mask[..., None]).transpose(1, 2)).transpose(1, 2)
        y = self.down(F.gelu(self.up(self.norm(y))))
        return x + y * self.dropout(torch.ones_like(y[:, :1]))  # drops channels for all frames of a clip


class VoiceEncoder(nn.Module):
    """Rows (b n f) of voices -> frames (b m width) and vectors (b out)."""

    rows = staticmethod(features.voice)

    def __init__(self, width: int = 192, out: int = 192, dropout: float = 0.1, deep: int = 3):
        super().__init__()
        early = 5 * width // 6 // 8 * 8
        self.register_buffer("centre", torch.zeros(features.VOICE))
        self.register_buffer("scale", torch.ones(features.VOICE))
        self.stem = nn.ModuleList((nn.Conv2d(1, 16, 3, (2, 2), 1), nn.Conv2d(16, 32, 3, (1, 2), 1)))
        self.project = nn.Linear(32 * features.BANDS // 4 + 2 * EXTRA, early)
        self.start = nn.LayerNorm(early)
        self.early = nn.ModuleList(Local(early, dropout) for _ in range(2))
        self.halve = nn.Conv1d(early, width, 3, 2, 1)
        self.late = nn.ModuleList(Local(width, dropout) for _ in range(deep))
        self.block = Block(width, 4, 2 * width)
        self.attend = nn.Linear(width, 2)
        self.norm = nn.LayerNorm(6 * width)
        self.out = nn.Linear(6 * width, out)
        self.plain = nn.Linear(2 * features.VOICE, out)
        self.dropout = nn.Dropout(2 * dropout)

    def forward(self, rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``mask`` (b n) marks the existing rows, which come first."""
        rows = (rows - self.centre) * self.scale * mask[..., None]
        half, quarter = mask[:, ::2], mask[:, ::4]
        x = F.gelu(self.stem[0](rows[:, None, :, : features.BANDS])) * half[:, None, :, None]
        x = F.gelu(self.stem[1](x))
        pairs = F.pad(rows[..., features.BANDS :], (0, 0, 0, rows.shape[1] % 2)).unflatten(1, (-1, 2)).flatten(2)
        x = self.start(self.project(torch.cat((x.transpose(1, 2).flatten(2), pairs), -1)))
        for block in self.early:
            x = block(x, half)
        x = self.halve((x * half[..., None]).transpose(1, 2)).transpose(1, 2)
        for block in self.late:
            x = block(x, quarter)
        x = self.block(x, quarter)
        weight = self.attend(x).masked_fill(~quarter[..., None], -torch.inf).softmax(1)
        focus = torch.einsum("bnh,bnd->bhd", weight, x)
        spread = torch.einsum("bnh,bnd->bhd", weight, x.square()) - focus.square()
        seen = *moments(x, quarter), focus.flatten(1), spread.clamp(min=0).add(1e-4).sqrt().flatten(1)
        return x, self.out(self.dropout(self.norm(torch.cat(seen, 1)))) + self.plain(torch.cat(moments(rows, mask), 1))


def moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(b n f) -> mean and standard deviation (b f) over the existing steps."""
    here = mask[..., None]
    count = here.sum(1)
    mean = (x * here).sum(1) / count
    return mean, ((x - mean[:, None]).square() * here).sum(1).div(count).add(1e-4).sqrt()
