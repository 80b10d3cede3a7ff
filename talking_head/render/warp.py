"""From where the sheets' points go to where each pixel of a frame comes from. Pixels of a box; g grid points a side."""

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = (0.55, 1.0, 0.55, 1.0, 0.55, 0.8)  # shares of the way: whole steps overshoot where the picture stretches to double


def inverted(shift: Tensor, size: tuple[int, int]) -> Tensor:
    """Shifts (s, g, g, 2) in pixels of the grid's own points, of s sheets -> (s, g, g, 2) where what is seen at each
    grid point comes from, in [-1, 1]; by fixed-point iteration u += step * (y - shift(u) - u)."""
    g = shift.shape[1]
    axis = (torch.arange(g) + 0.5) / g * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    target = torch.stack((x, y), -1)[None]
    field = (shift * (2 / torch.tensor(size))).permute(0, 3, 1, 2)
    source = target - field.permute(0, 2, 3, 1)
    for step in STEPS:
        seen = F.grid_sample(field, source, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)
        source = torch.lerp(source, target - seen, step)
    return source


def enlarged(source: Tensor, height: int, width: int) -> Tensor:
    """(s, g, g, 2) -> (s, height, width, 2)."""
    return F.interpolate(source.permute(0, 3, 1, 2), (height, width), mode="bilinear").permute(0, 2, 3, 1)


def sampled(picture: Tensor, source: Tensor) -> Tensor:
    """(3, h, w) at (h', w', 2) in [-1, 1] -> (3, h', w')."""
    return F.grid_sample(picture[None], source[None], padding_mode="border", align_corners=False)[0]
