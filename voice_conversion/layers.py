"""The one block that the compact networks are made of. Shapes: b batch, n frames, d width, c width of a condition."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def neighbours(x: Tensor, kernel: int, dilation: int = 1) -> Tensor:
    """(b, n, d) -> (b, n, kernel d): each frame beside those around it, zeros beyond the ends."""
    reach = kernel // 2 * dilation
    padded, n = F.pad(x, (0, 0, reach, reach)), x.shape[1]
    return torch.cat([padded[:, i * dilation : i * dilation + n] for i in range(kernel)], -1)


class Frames(nn.Linear):
    """A convolution over frames as one matrix product, which a CPU does fastest."""

    def __init__(self, size: int, out: int, kernel: int = 3, dilation: int = 1):
        super().__init__(kernel * size, out)
        self.kernel, self.dilation = kernel, dilation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(neighbours(x, self.kernel, self.dilation))


class Block(nn.Module):
    """A residual block: normalise, shift and scale by a condition where there is one, convolve, mix."""

    def __init__(self, dim: int, kernel: int = 3, dilation: int = 1, dropout: float = 0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.conv = Frames(dim, dim, kernel, dilation)
        self.mix = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        y = self.norm(x).to(x.dtype)
        if scale is not None:
            y = y * (1 + scale) + shift
        return x + self.mix(self.dropout(F.relu(self.conv(y))))
