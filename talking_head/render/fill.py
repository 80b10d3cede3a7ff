"""Hole filling from surrounding pixels."""

import torch.nn.functional as F
from torch import Tensor


def filled(picture: Tensor, known: Tensor) -> Tensor:
    """Fill pixels of a picture (c, h, w) where ``known`` (h, w) in [0, 1] is below 1, by the pull-push algorithm
    (Gortler et al., "The Lumigraph", SIGGRAPH 1996)."""
    levels = [(picture * known, known[None])]
    while min(levels[-1][0].shape[1:]) > 1:
        level = [F.avg_pool2d(part[None], 2, ceil_mode=True, count_include_pad=False)[0] for part in levels[-1]]
        most = level[1].clamp(1e-6)  # a pixel of the next level is sure of itself where anything in it is known
        sure = (4 * level[1]).clamp_max(1)
        levels.append((level[0] / most * sure, sure))
    colour, sure = levels.pop()
    made = colour / sure.clamp_min(1e-6)
    for colour, sure in reversed(levels):
        made = F.interpolate(made[None], colour.shape[1:], mode="bilinear", align_corners=False)[0]
        made = colour + (1 - sure) * made
    return made
