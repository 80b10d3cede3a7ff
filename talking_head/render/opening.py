"""The openings of a frame: mouth and eyes as soft masks between two contours. Pixels of a box."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BLENDED = 0.08  # of an opening's width: blend of its two sides beyond the corners
ROUNDS = 8  # of contour smoothing


class Opening(NamedTuple):
    """An opening in a frame's pixels."""

    rows: slice
    columns: slice
    inside: Tensor  # (h, w) in [0, 1]
    below: Tensor  # (h, w) in [0, 1]: on the lower contour's side; beyond the corners, of the line through them
    along: Tensor  # (h, w) 0 at the picture's left corner, 1 at the right one
    depth: Tensor  # (h, w) pixels below the upper contour
    height: Tensor  # (h, w) pixels between the contours in this column

    def tight(self) -> "Opening | None":
        """The open part, None if closed."""
        rows, columns = ((self.inside > 0).any(i).nonzero()[:, 0].tolist() for i in (1, 0))
        if not rows:
            return None
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        place = (slice(whole.start + own.start, whole.start + own.stop) for whole, own in zip(self[:2], part))
        return Opening(*place, *(values[part] for values in self[2:]))


def opening(
    upper: np.ndarray, lower: np.ndarray, size: tuple[int, int], reach: float, soft: float = 0.8, aside: float = 2
) -> Opening | None:
    """Opening between two contours (n, 2) in pixels, corner to corner, of a box (width, height); ``reach``: pixels
    above and below to cover, ``aside``: pixels beside.

    None if it lies outside the box.
    """
    both = np.concatenate((upper, lower))
    low = np.maximum(np.floor(both.min(0) - np.array([aside, reach])), 0).astype(int)
    high = np.minimum(np.ceil(both.max(0) + np.array([aside + 1, reach])), size).astype(int)
    if np.any(high - low < 2):
        return None
    start, axis = upper[0], upper[-1] - upper[0]
    length = float(np.hypot(*axis))
    axis = axis / length
    x, y = torch.meshgrid(
        torch.arange(low[0], high[0]) + 0.5 - start[0], torch.arange(low[1], high[1]) + 0.5 - start[1], indexing="xy"
    )
    along = x * axis[0] + y * axis[1]
    down = y * axis[0] - x * axis[1]
    (top, steep), (bottom, rising) = (curve(contour - start, axis, along, length) for contour in (upper, lower))
    edge = lambda far, slope: (far / (soft * (1 + slope**2).sqrt()) + 0.5).clamp(0, 1)  # where steep, a column is near
    within = (along > 0) & (along < length)
    inside = edge(down - top, steep) * edge(bottom - down, rising) * within
    open_ = ((bottom - top) / soft).clamp(0, 1)
    beyond = (down / (BLENDED * length) + 0.5).clamp(0, 1)
    below = torch.where(within, (down > (top + bottom) / 2).float(), beyond)
    return Opening(
        slice(low[1], high[1]), slice(low[0], high[0]), inside * open_, below, along / length, down - top, bottom - top
    )


def curve(contour: np.ndarray, axis: np.ndarray, along: Tensor, length: float) -> tuple[Tensor, Tensor]:
    """Height of a contour (n, 2) over places (h, w) on the line between the corners, smooth between its points, and
    its slope there."""
    at = contour @ axis
    height = contour @ np.array([-axis[1], axis[0]])
    order = np.argsort(at)
    fine = np.linspace(0, length, 65)
    values = np.interp(fine, at[order], height[order])
    for _ in range(ROUNDS):
        values[1:-1] = (values[:-2] + 2 * values[1:-1] + values[2:]) / 4
    values[[0, -1]] = 0
    place = (along / length * 64).clamp(0, 63.999)
    index = place.long()
    table = torch.from_numpy(values.astype(np.float32))
    step = table[(index + 1).clamp(max=64)] - table[index]
    return table[index] + step * (place - index), step * (64 / length)
