"""Rotated square crops."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def cut(pixels: np.ndarray, centre: np.ndarray, side: float, angle: float, size: int) -> Tensor:
    """Pixels (h, w, 3) uint8 -> (size, size, 3) in [0, 1]: the square of ``side`` pixels at ``centre``, turned by
    ``angle`` (radians, clockwise in the picture); black outside the picture."""
    h, w = pixels.shape[:2]
    reach = side * 0.75 + 2
    low = np.clip(np.floor(centre - reach), 0, (w - 1, h - 1)).astype(int)
    high = np.clip(np.ceil(centre + reach), 1, (w, h)).astype(int)
    part = torch.from_numpy(pixels[low[1] : high[1], low[0] : high[0]].copy())
    part = part.permute(2, 0, 1)[None].float() / 255
    shrink = int(side / size)
    if shrink > 1:  # average before sampling, against aliasing
        part = F.avg_pool2d(part, shrink, ceil_mode=True, count_include_pad=False)
    shrink = max(shrink, 1)
    axis = (torch.arange(size) + 0.5) / size - 0.5
    v, u = torch.meshgrid(axis * side, axis * side, indexing="ij")
    x = centre[0] - low[0] + u * np.cos(angle) - v * np.sin(angle)
    y = centre[1] - low[1] + u * np.sin(angle) + v * np.cos(angle)
    extent = torch.tensor([part.shape[3] * shrink, part.shape[2] * shrink], dtype=torch.float32)
    grid = torch.stack((x, y), -1).float() / extent * 2 - 1
    return F.grid_sample(part, grid[None], align_corners=False)[0].permute(1, 2, 0)
