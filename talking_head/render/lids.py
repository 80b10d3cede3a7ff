"""Upper lids of closing eyes.

The skin between brow and lashes is stretched down over the eye, with the lashes at its edge. Most of a closed lid is a
second copy of the photograph in which each eye is filled by the skin around it; this also keeps rims in place.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from talking_head.render.fill import filled
from talking_head.render.opening import curve, opening
from talking_head.render.warp import blur, places, sampled

ABOVE, BELOW = 0.26, 0.14  # cm beyond the contours: extent of the eye with its lashes
LASH = 0.18  # cm above the lid edge without stretching: the lashes
FREE, LEAST, MOST = 0.42, 0.18, 0.5  # height of the stretched skin: share of the distance to the brow, limits in cm
FOLD, ENDS = 0.25, 0.2  # transition to filled skin, in heights of a closed lid, and in its widths at both ends
FAINT = 0.04  # largest amplitude of skin texture
GRAIN = 0.06  # cm: skin texture below the eye, finer than this, is added to filled skin
STEPS = 60  # of the relaxation
USUAL = 0.3  # quantile of brightness around the eye below which it is not skin
RANGE = (0.7, 1.12)  # allowed brightness of filled skin, relative to typical skin: excludes rims, brows, highlights
LASHES, LINE = 0.65, 0.12  # darkening by the lashes of a closed eye, and the width of their line in cm
ROUND = (0.93, 1.06)  # brightness at the fold, and over the eyeball


def grown_over(box: Tensor, upper: np.ndarray, lower: np.ndarray, scale: float) -> Tensor:
    """The box (3, h, w) with its eye filled by skin, almost harmonic; contours (9, 2), ``scale`` in pixels per cm."""
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
    usual = rim[:, rim.mean(0) >= rim.mean(0).quantile(USUAL)].median(1).values[:, None, None]
    known = torch.minimum(torch.maximum(part, RANGE[0] * usual), RANGE[1] * usual)
    grown = torch.where(hole, filled(known, 1 - hole[0].float()), known)
    for _ in range(STEPS):
        grown = torch.where(hole, F.avg_pool2d(F.pad(grown[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0], grown)
    start = seen.rows.start + int(seen.height.max()) + 1
    below = box[:, start : start + grown.shape[1], seen.columns]
    if below.shape == grown.shape:
        grown = grown + (below - blur(below, GRAIN * scale)).clamp(-FAINT, FAINT)
    found[:, seen.rows, seen.columns] = torch.where(hole, grown, part)
    return found


def _wider(contour: np.ndarray, pixels: float) -> np.ndarray:
    """A contour (9, 2) moved down by ``pixels`` in the middle, less towards the corners."""
    t = np.linspace(0, 1, len(contour))
    return contour + np.stack((np.zeros(9), pixels * np.minimum(1, 5 * t * (1 - t))), 1)


def strip(upper: np.ndarray, brow: np.ndarray, scale: float) -> np.ndarray:
    """Upper edge (9, 2) of the skin stretched by a closing lid, below the ``brow`` (n, 2)."""
    room = float(upper[:, 1].min() - brow[:, 1].max()) / scale + 0.1
    return _wider(upper, -scale * float(np.clip(FREE * room, LEAST, MOST)))


def smooth(share: Tensor) -> Tensor:
    """Smoothstep on [0, 1]."""
    return share * share * (3 - 2 * share)


def draw(
    made: Tensor,
    read: Callable[[Tensor], Tensor],
    skin: Tensor,
    source: Tensor,
    over: np.ndarray,
    upper: np.ndarray,
    edge: np.ndarray,
    scale: float,
    covered: float,
) -> None:
    """Draw a closing lid into the frame's box (3, h, w): the strip of skin from ``over`` to the open lid's contour is
    stretched down to the ``edge`` (9, 2 each); its lowest part, the lashes, keeps its height.

    ``source`` (h, w, 2): source of each pixel; ``read`` returns the photograph's colours (3, h', w') there; ``skin``:
    the photograph with filled eyes; ``covered`` (0..1): confidence of glasses, whose rims may be close to the lashes.
    """
    if float(np.abs(edge - upper).max()) < 0.5:
        return
    size = (made.shape[2], made.shape[1])
    seen = opening(over, edge, size, 2.0, soft=1.2)
    if seen is None:
        return
    axis = over[-1] - over[0]
    length = float(np.hypot(*axis))
    axis = axis / length
    at = seen.along * length
    was = curve(upper - over[0], axis, at, length)[0] - curve(over - over[0], axis, at, length)[0]
    left, lash = seen.height - seen.depth, LASH * scale * (1 - 0.5 * covered)  # pixels above the edge
    stretched = seen.depth * ((was - lash).clamp_min(1) / (seen.height - lash).clamp_min(1))
    up = seen.depth - torch.where(left < lash, (was - left).clamp_min(0), torch.minimum(stretched, seen.depth))
    step = torch.tensor([2 * axis[1] / size[0], -2 * axis[0] / size[1]], dtype=torch.float32)
    place = places(*size)[seen.rows, seen.columns] + up[..., None] * step
    there = sampled(source.permute(2, 0, 1), place).permute(1, 2, 0)
    colour = read(there)
    down = (seen.depth / seen.height.clamp_min(1)).clamp(0, 1)
    share = (up / (0.1 * scale)).clamp(0, 1)  # 0 without stretching
    hidden = smooth((down / FOLD).clamp(0, 1)) * (left / lash - 0.5).clamp(0, 1)
    fresh = share * hidden * (torch.minimum(seen.along, 1 - seen.along) / ENDS).clamp(0, 1)
    colour = torch.lerp(colour, sampled(skin, source[seen.rows, seen.columns]), fresh)
    colour = colour * (1 + share * (ROUND[0] - 1 + (ROUND[1] - ROUND[0]) * torch.sin(2.6 * down)))
    colour = colour * (1 - LASHES * share * torch.exp(-((left / (LINE * scale)) ** 2)))
    part = made[:, seen.rows, seen.columns]
    part += (colour - part) * seen.inside
