"""Upper lids over an eye that closes.

A lid that is stretched out of the skin above it drags brows and the rims of glasses along. Here the photograph is kept
a second time with each eye grown over by the skin around it, and a closing lid uncovers that picture down to its edge.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from talking_head.render.opening import opening
from talking_head.render.warp import sampled

ABOVE, BELOW = 0.26, 0.14  # cm beyond the contours that belongs to the eye and its lashes
LASH = 0.12  # cm
STEPS = 400  # of the relaxation
RANGE = (0.8, 1.12)  # of the usual skin around the eye that may grow into it: no rim, no brow, no shine
ROUND = (0.93, 1.06)  # how much darker the lid is at the fold, and lighter where the eyeball carries it


def grown_over(box: Tensor, upper: np.ndarray, lower: np.ndarray, scale: float) -> Tensor:
    """The box (3, h, w) with skin where its eye is; contours (9, 2), ``scale`` in pixels of a cm. Harmonic inside."""
    over, under = _wider(upper, -ABOVE * scale), _wider(lower, BELOW * scale)
    seen = opening(over, under, (box.shape[2], box.shape[1]), 0.3 * scale + 3)
    if seen is None:
        return box
    found, part = box.clone(), box[:, seen.rows, seen.columns].clone()
    hole = (seen.inside > 0.02)[None].expand(3, -1, -1)
    near = F.max_pool2d(hole[:1].float(), 2 * round(0.12 * scale) + 3, 1, round(0.12 * scale) + 1)[0] > 0
    rim = part[:, near & ~hole[0]]
    if not rim.numel():
        return box
    usual = rim[:, rim.mean(0) >= rim.mean(0).quantile(0.5)].median(1).values[:, None, None]
    known = torch.minimum(torch.maximum(part, RANGE[0] * usual), RANGE[1] * usual)
    filled = torch.where(hole, usual, known)
    for _ in range(STEPS):
        filled = torch.where(hole, F.avg_pool2d(F.pad(filled[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0], filled)
    found[:, seen.rows, seen.columns] = torch.where(hole, filled, part)
    return found


def _wider(contour: np.ndarray, pixels: float) -> np.ndarray:
    """A contour (9, 2) further down by ``pixels`` in the middle, less toward the corners."""
    t = np.linspace(0, 1, len(contour))
    return contour + np.stack((np.zeros(9), pixels * np.minimum(1, 5 * t * (1 - t))), 1)


def draw(made: Tensor, skin: Tensor, source: Tensor, upper: np.ndarray, edge: np.ndarray, scale: float) -> None:
    """Into the frame's box (3, h, w) what ``skin`` has between the open lid's contour (9, 2) and the ``edge`` (9, 2) it
    has come down to; ``source`` (h, w, 2) is where each pixel comes from."""
    fall = float(np.abs(edge - upper).max())
    if fall < 0.5:
        return
    over = _wider(upper, -min(ABOVE * scale, fall))
    seen = opening(over, edge, (made.shape[2], made.shape[1]), 2.0, soft=1.2)
    if seen is None:
        return
    colour = sampled(skin, source[seen.rows, seen.columns])
    down = (seen.depth / seen.height.clamp_min(1)).clamp(0, 1)
    colour = colour * (ROUND[0] + (ROUND[1] - ROUND[0]) * torch.sin(2.6 * down))
    left = seen.height - seen.depth  # pixels above the edge
    lashes = 0.7 * (1 - left / max(1.2, LASH * scale)).clamp(0, 1) * (4 * seen.along * (1 - seen.along)).clamp(0, 1)
    soft = (seen.depth / max(1.5, 0.4 * min(ABOVE * scale, fall))).clamp(0, 1)
    part = made[:, seen.rows, seen.columns]
    part += (colour * (1 - lashes) - part) * (seen.inside * soft)
