"""The eyeball behind the lids: the photograph's own, completed where lids hide it."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talking_head.render.opening import Opening, opening

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


def _clear(seen: Opening) -> np.ndarray:
    """(h, w) bool: well inside the lids, away from lashes and their shadow."""
    edge = np.maximum(1.2, 0.16 * seen.height.numpy())
    depth, height = seen.depth.numpy(), seen.height.numpy()
    clear = (depth > edge) & (height - depth > 0.6 * edge) & (seen.inside.numpy() > 0.5)
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
    sclera = np.stack([gaussian_filter(sclera[..., c], 0.15 * radius + 1) for c in range(3)], -1)
    level = pixels[white].mean(1)
    typical = np.median(pixels[white][level >= np.median(level)], 0)  # lids shade what is nearest to them
    sclera = np.where(white[..., None], pixels, 0.4 * sclera + 0.6 * typical)
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
    filled = np.where(clear[..., None], pixels, disc * share + sclera * (1 - share))
    soft = gaussian_filter(clear.astype(float), 0.8)[..., None]
    smooth = np.stack([gaussian_filter(filled[..., c], 0.7) for c in range(3)], -1)
    return torch.from_numpy((filled * soft + smooth * (1 - soft)).astype(np.float32)).permute(2, 0, 1)
