"""The openings of a frame: mouth and eyes as soft masks between two contours. Pixels of a box."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Opening(NamedTuple):
    """An opening in a frame's pixels."""

    rows: slice
    columns: slice
    inside: Tensor  # (h, w) in [0, 1]
    below: Tensor  # (h, w) bool: on the lower contour's side, between the corners
    along: Tensor  # (h, w) 0 at the picture's left corner, 1 at the right one
    depth: Tensor  # (h, w) pixels below the upper contour
    height: Tensor  # (h, w) pixels between the contours in this column


def opening(
    upper: np.ndarray, lower: np.ndarray, size: tuple[int, int], reach: float, soft: float = 0.8
) -> Opening | None:
    """Contours (n, 2) in pixels, corner to corner, of a box (width, height); ``reach``: pixels around to decide on.

    None where it lies outside the box.
    """
    both = np.concatenate((upper, lower))
    low = np.maximum(np.floor(both.min(0) - np.array([2, reach])), 0).astype(int)
    high = np.minimum(np.ceil(both.max(0) + np.array([3, reach])), size).astype(int)
    if np.any(high - low < 2):
        return None
    start, axis = upper[0], upper[-1] - upper[0]
    length = float(np.hypot(*axis))
    axis = axis / length
    x, y = torch.meshgrid(torch.arange(low[0], high[0]) + 0.5 - start[0],
                          torch.arange(low[1], high[1]) + 0.5 - start[1], indexing="xy")  # fmt: skip
    along = x * axis[0] + y * axis[1]
    down = y * axis[0] - x * axis[1]
    top, bottom = (curve(contour - start, axis, along, length) for contour in (upper, lower))
    inside = ((down - top) / soft + 0.5).clamp(0, 1) * ((bottom - down) / soft + 0.5).clamp(0, 1)
    within = (along > 0) & (along < length)
    open_ = ((bottom - top) / soft).clamp(0, 1)
    below = (down > (top + bottom) / 2) & within
    return Opening(slice(low[1], high[1]), slice(low[0], high[0]), inside * within * open_, below,
                   along / length, down - top, bottom - top)  # fmt: skip


def curve(contour: np.ndarray, axis: np.ndarray, along: Tensor, length: float) -> Tensor:
    """Height of a contour (n, 2) over places (h, w) on the line between the corners, smooth between its points."""
    at = contour @ axis
    height = contour @ np.array([-axis[1], axis[0]])
    order = np.argsort(at)
    fine = np.linspace(0, length, 65)
    values = np.interp(fine, at[order], height[order])
    values[1:-1] = (values[:-2] + 2 * values[1:-1] + values[2:]) / 4
    values[[0, -1]] = 0
    place = (along / length * 64).clamp(0, 63.999)
    index = place.long()
    table = torch.from_numpy(values.astype(np.float32))
    return table[index] + (table[(index + 1).clamp(max=64)] - table[index]) * (place - index)
