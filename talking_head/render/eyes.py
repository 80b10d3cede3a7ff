"""The eyeball behind the lids: the photograph's own, completed where lids hide it."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talking_head.render.opening import Opening, opening

EDGE, LOWER = 0.16, 0.6  # share of an eye's height that its upper lid's edge takes, and of that what the lower one's
TYPICAL = 0.2  # share of the usual white in what completes an eye; the rest is what is next to it, in the lids' shade
NEAR = 0.35  # radii of the iris over which that fades
HIDDEN = 3.0  # pixels of opening below which an eye counts as shut


class Eyeball(NamedTuple):
    """A texture over a part of the photograph's box."""

    picture: Tensor  # (3, h, w)
    low: np.ndarray  # (2,) x, y of its corner in the box
    centre: np.ndarray  # (2,) of the iris, in the box


def eyeball(box: Tensor, upper: np.ndarray, lower: np.ndarray, iris: np.ndarray) -> Eyeball | None:
    """From the photograph's box (3, h, w), contours (n, 2) and iris points (5, 2); None for a shut eye."""
    size = (box.shape[2], box.shape[1])
    width = float(np.hypot(*(upper[-1] - upper[0])))
    seen = opening(upper, lower, size, 0.6 * width)
    if seen is None or float(seen.height.max()) < HIDDEN:
        return None
    pixels = box[:, seen.rows, seen.columns].permute(1, 2, 0).numpy()
    low = np.array([seen.columns.start, seen.rows.start])
    centre = iris[0] - low
    radius = float(np.hypot(*(iris[1:] - iris[0]).T).mean())
    return Eyeball(_completed(pixels, _clear(seen), centre, radius), low, iris[0])


def within_lids(seen: Opening) -> Tensor:
    """(h, w) in [0, 1]: where the eyeball is seen, 0 at the lids' edges: those go with the lids, as do their lashes and
    shadow, and are the photograph's own."""
    edge = (EDGE * seen.height).clamp_min(1.2)
    ramp = lambda depth: (2 * depth / edge - 1).clamp(0, 1)
    return ramp(seen.depth) * ramp((seen.height - seen.depth) / LOWER) * (seen.inside > 0)


def _clear(seen: Opening) -> np.ndarray:
    """(h, w) bool: well inside the lids, away from lashes and their shadow."""
    clear = (within_lids(seen) == 1).numpy()
    return clear if clear.any() else seen.inside.numpy() > 0.5


def _completed(pixels: np.ndarray, clear: np.ndarray, centre: np.ndarray, radius: float) -> Tensor:
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    h, w = clear.shape
    y, x = np.mgrid[:h, :w] + 0.5
    distance = np.hypot(x - centre[0], y - centre[1])
    white = clear & (distance > 1.1 * radius)
    white = white if white.sum() > 8 else clear
    nearest = distance_transform_edt(~white, return_distances=False, return_indices=True)
    sclera = pixels[nearest[0], nearest[1]]
    sclera = _soft(sclera, 0.15 * radius + 1)
    level = pixels[white].mean(1)
    typical = np.median(pixels[white][level >= np.median(level)], 0)  # lids shade what is nearest to them
    sclera = np.where(white[..., None], pixels, TYPICAL * typical + (1 - TYPICAL) * sclera)
    ring = np.clip(distance, 0, radius - 0.5).astype(int)
    inner = clear & (distance < radius)
    colours = np.stack([np.bincount(ring[inner], pixels[..., c][inner], int(radius) + 2) for c in range(3)], -1)
    counts = np.bincount(ring[inner], minlength=int(radius) + 2)[:, None]
    known = np.flatnonzero(counts[:, 0])
    mean = colours / np.maximum(counts, 1)
    if len(known):
        mean = np.stack([np.interp(np.arange(len(mean)), known, mean[known, c]) for c in range(3)], -1)
    flip = np.clip((2 * centre[1] - y).astype(int), 0, h - 1)
    columns = np.broadcast_to(np.arange(w), (h, w))
    mirrored = np.where(clear[flip, columns][..., None], pixels[flip, columns], mean[ring])
    disc = np.where(clear[..., None], pixels, mirrored)
    share = np.clip((1.04 * radius - distance) / max(1.0, 0.12 * radius) + 0.5, 0, 1)[..., None]
    far, at = distance_transform_edt(~clear, return_indices=True)
    near = np.exp(-((far / (NEAR * radius + 1e-6)) ** 2))[..., None]  # there it goes on as it is, in the lids' shade
    beside = _soft(pixels[at[0], at[1]], 0.1 * radius)
    filled = np.where(clear[..., None], pixels, near * beside + (1 - near) * (disc * share + sclera * (1 - share)))
    soft = gaussian_filter(clear.astype(float), 0.8)[..., None]
    made = filled * soft + _soft(filled, 0.7) * (1 - soft)
    return torch.from_numpy(made.astype(np.float32)).permute(2, 0, 1)


def _soft(pixels: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(pixels, (sigma, sigma, 0))
