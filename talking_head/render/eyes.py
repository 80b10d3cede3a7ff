"""Eyeball textures from the photograph, completed where the lids cover them."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talking_head.render.opening import Opening, opening

EDGE, LOWER = 0.16, 0.6  # upper lid edge as a share of the eye's height; lower lid edge relative to it
TYPICAL = 0.2  # weight of the typical sclera colour in completed areas; the rest is the nearest visible colour
NEAR = 0.35  # fade distance of visible pixels into completed areas, in iris radii
HIDDEN = 3.0  # pixels: an eye opened less is closed
SHADED = 0.34  # share of the eye's height in the shadow of the upper lid
WHITE, BLEACHED = 0.9, 0.6  # smallest sclera brightness relative to skin, and how much skin tint is removed
OWN = 0.4  # weight of the visible sclera in the widened eye
CORNERS = 0.35  # darkening at the eye corners
UNDER = (0.12, 0.35)  # band below the eye, in eye widths, where skin has the same light


class Eyeball(NamedTuple):
    """A texture for one part of the box."""

    picture: Tensor  # (3, h, w)
    wide: Tensor  # (3, h, w) texture for a raised lid: no lid shadow, sclera around the iris
    low: np.ndarray  # (2,) x, y of its corner in the box
    centre: np.ndarray  # (2,) of the iris, in the box


def eyeball(box: Tensor, upper: np.ndarray, lower: np.ndarray, iris: np.ndarray) -> Eyeball | None:
    """Build textures from the box (3, h, w), lid contours (n, 2) and iris points (5, 2); None if the eye is closed."""
    size = (box.shape[2], box.shape[1])
    width = float(np.hypot(*(upper[-1] - upper[0])))
    seen = opening(upper, lower, size, 0.6 * width)
    if seen is None or float(seen.height.max()) < HIDDEN:
        return None
    pixels = box[:, seen.rows, seen.columns].permute(1, 2, 0).numpy()
    low = np.array([seen.columns.start, seen.rows.start])
    centre = iris[0] - low
    radius = float(np.hypot(*(iris[1:] - iris[0]).T).mean())
    clear = _clear(seen)
    lit = clear & (seen.depth > SHADED * seen.height).numpy()
    under = ((seen.depth - seen.height) / width).numpy()  # skin below the lower lid
    under = (under > UNDER[0]) & (under < UNDER[1]) & (np.abs(seen.along.numpy() - 0.5) < 0.3)
    skin = np.median(pixels[under], 0) if under.any() else pixels[clear].max(0)
    wide = _wide(pixels, lit if lit.any() else clear, centre, radius, skin)
    return Eyeball(_completed(pixels, clear, centre, radius), wide, low, iris[0])


def within_lids(seen: Opening, wide: float = 0.0) -> Tensor:
    """Visibility mask (h, w) of the eyeball in [0, 1]. It is 0 at the lid edges, where lashes and shadow of the
    photograph move with the lids; the edges are thinner if the lids are opened ``wide`` (0..1)."""
    edge = (EDGE * (1 - 0.6 * wide) * seen.height).clamp_min(1.2)
    ramp = lambda depth: (2 * depth / edge - 1).clamp(0, 1)
    return ramp(seen.depth) * ramp((seen.height - seen.depth) / LOWER) * (seen.inside > 0)


def _clear(seen: Opening) -> np.ndarray:
    """Mask (h, w) of pixels inside the lids, without lashes and their shadow."""
    clear = (within_lids(seen) == 1).numpy()
    return clear if clear.any() else seen.inside.numpy() > 0.5


def _completed(pixels: np.ndarray, clear: np.ndarray, centre: np.ndarray, radius: float) -> Tensor:
    """Texture (3, h, w): ``pixels`` (h, w, 3) where ``clear`` (h, w), elsewhere iris and sclera in the lids' shadow."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    disc, share, white = _iris(pixels, clear, centre, radius)
    nearest = distance_transform_edt(~white, return_distances=False, return_indices=True)
    sclera = _soft(pixels[nearest[0], nearest[1]], 0.15 * radius + 1)
    sclera = np.where(white[..., None], pixels, TYPICAL * _typical(pixels[white]) + (1 - TYPICAL) * sclera)
    far, at = distance_transform_edt(~clear, return_indices=True)
    near = np.exp(-((far / (NEAR * radius + 1e-6)) ** 2))[..., None]  # weight of the nearest visible pixel
    beside = _soft(pixels[at[0], at[1]], 0.1 * radius)
    filled = np.where(clear[..., None], pixels, near * beside + (1 - near) * (sclera + (disc - sclera) * share))
    soft = gaussian_filter(clear.astype(float), 0.8)[..., None]
    return _planes(filled * soft + _soft(filled, 0.7) * (1 - soft))


def _wide(pixels: np.ndarray, clear: np.ndarray, centre: np.ndarray, radius: float, skin: np.ndarray) -> Tensor:
    """Texture (3, h, w) of the whole iris and the sclera around it; ``skin`` (3,), the colour below the eye, limits
    its brightness from below."""
    disc, share, white = _iris(pixels, clear, centre, radius)
    bleached = WHITE * (skin + BLEACHED * (skin.mean() - skin))
    typical = np.maximum(_typical(pixels[white]), bleached)
    sclera = np.where(white[..., None], OWN * pixels + (1 - OWN) * typical, typical)
    aside = (np.arange(pixels.shape[1]) + 0.5 - pixels.shape[1] / 2) / (0.5 * pixels.shape[1])
    sclera = _soft(sclera, 0.15 * radius) * (1 - CORNERS * aside**2)[None, :, None]
    return _planes(_soft(sclera + (disc - sclera) * share, 0.5))


def _iris(pixels: np.ndarray, clear: np.ndarray, centre: np.ndarray, radius: float) -> tuple[np.ndarray, ...]:
    """Return the completed iris (h, w, 3), its mask (h, w, 1) in [0, 1] and a mask (h, w) of sclera pixels; ``clear``
    (h, w) marks visible pixels."""
    h, w = clear.shape
    y, x = np.mgrid[:h, :w] + 0.5
    distance = np.hypot(x - centre[0], y - centre[1])
    white = clear & (distance > 1.1 * radius)
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
    return disc, share, white if white.sum() > 8 else clear


def _typical(white: np.ndarray) -> np.ndarray:
    """Typical colour (3,) of sclera pixels (n, 3): the median of the brighter half, because lids shade the rest."""
    level = white.mean(1)
    return np.median(white[level >= np.median(level)], 0)


def _planes(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)


def _soft(pixels: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(pixels, (sigma, sigma, 0))
