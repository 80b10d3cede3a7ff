"""From where the sheets' points go to where each pixel of a frame comes from. Pixels of a box; g grid points a side."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = (
    0.55,
    1.0,
    0.55,
    1.0,
    0.55,
    0.8,
)  # shares of the way: whole steps overshoot where the picture stretches to double


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def places(width: int, height: int) -> Tensor:
    """(height, width, 2) centres of pixels in [-1, 1]."""
    x, y = ((torch.arange(n) + 0.5) / n * 2 - 1 for n in (width, height))
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((x, y), -1)


def inverted(shift: Tensor, size: tuple[int, int]) -> Tensor:
    """Shifts (s, g, g, 2) in pixels of the grid's own points, of s sheets -> (s, g, g, 2) how far from each grid
    point lies what is seen there, in [-1, 1]; by fixed-point iteration u += step * (y - shift(u) - u)."""
    target = places(shift.shape[2], shift.shape[1])
    field = (shift * (2 / torch.tensor(size))).permute(0, 3, 1, 2).contiguous()
    off = -field.permute(0, 2, 3, 1)
    for step in STEPS:
        seen = F.grid_sample(field, target + off, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)
        off = torch.lerp(off, -seen, step)
    return off


def enlarged(off: Tensor, width: int, height: int) -> Tensor:
    """Offsets (s, g, g, 2) of grid points -> where each pixel comes from (s, height, width, 2), in [-1, 1]."""
    wide = F.interpolate(off.permute(0, 3, 1, 2), (height, width), mode="bilinear").permute(0, 2, 3, 1)
    return wide + places(width, height)


def sampled(picture: Tensor, source: Tensor) -> Tensor:
    """(3, h, w) at (h', w', 2) in [-1, 1] -> (3, h', w')."""
    return F.grid_sample(picture[None], source[None], padding_mode="border", align_corners=False)[0]
