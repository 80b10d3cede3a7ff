"""Drawings of an open mouth: a dark cavity, a tongue, lower teeth fixed to the jaw, upper teeth fixed to the head.

Drawn once in centimetres of the canonical head (x to the picture's right, y down from the resting lip line), in the
light of the photograph. Teeth of the photograph are used if visible.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PER_CM = 40  # pixels
HALF = (3.4, 2.0)  # cm of a drawing to each side of its origin
UPPER_EDGES, LOWER_EDGES = (0.86, 1.54, 2.2, 2.68, 3.05), (0.54, 1.1, 1.72, 2.25, 2.7)  # cm from the middle
TYPICAL = np.array([0.72, 0.55, 0.46])  # skin in neutral light


class Mouth(NamedTuple):
    """Drawings (4, h, w): colour and opacity."""

    upper: Tensor
    lower: Tensor
    tongue: Tensor
    cavity: np.ndarray  # (3,) colour


def draw(skin: np.ndarray, colours: float = 1.0, teeth: Tensor | None = None) -> Mouth:
    """Drawings for mean skin colour ``skin`` (3,) in [0, 1]; ``colours`` 0: a photograph of one tint; ``teeth``
    (4, h, w) of the photograph set the colour of drawn teeth."""
    light = float(np.clip(skin.mean() / TYPICAL.mean(), 0.25, 1.15))
    tint = (skin / skin.mean()) / (TYPICAL / TYPICAL.mean())
    tint = np.clip(tint, 0.6, 1.5) ** 0.5
    coloured = lambda colour, light: (
        colours * np.array(colour) * tint * light + (1 - colours) * (np.mean(colour) * light * skin / skin.mean())
    )
    enamel = coloured([0.80, 0.73, 0.63], light**0.8)
    if teeth is not None and bool((teeth[3] > 0.8).any()):
        enamel = teeth[:3, teeth[3] > 0.8].median(1).values.numpy()
    flesh = coloured([0.60, 0.29, 0.28], light)
    return Mouth(
        _teeth(UPPER_EDGES, enamel, flesh * 0.9, 0.10, 1.0, True),
        _teeth(LOWER_EDGES, enamel * 0.86, flesh * 0.7, 0.05, 0.8, False),
        _tongue(flesh),
        coloured([0.22, 0.085, 0.075], light),
    )


def _plane() -> tuple[np.ndarray, np.ndarray]:
    """x and y in cm of a drawing's pixels."""
    w, h = (int(2 * half * PER_CM) for half in HALF)
    y, x = np.mgrid[:h, :w]
    return (x + 0.5) / PER_CM - HALF[0], (y + 0.5) / PER_CM - HALF[1]


def _teeth(edges: tuple, enamel: np.ndarray, gum: np.ndarray, rise: float, height: float, upper: bool) -> Tensor:
    """A row whose biting edge is at y = 0, the gum above (``upper``) or below it."""
    x, y = _plane()
    away = -y if upper else y  # cm from the biting edge towards the gum
    bounds = np.array([0.0, *edges])
    place = np.clip(np.searchsorted(bounds, np.abs(x)) - 1, 0, len(edges) - 1)
    left, right = bounds[place], bounds[place + 1]
    across = (np.abs(x) - left) / (right - left) * 2 - 1
    short = np.array([0.0, 0.07, 0.0, 0.1, 0.14])[place] + (0.02 if upper else 0.03) * np.abs(x)
    edge = short + 0.10 * np.clip(np.abs(across) - 0.55, 0, 1) ** 1.5 + 0.02
    tall = height - 0.05 * np.abs(x) - 0.14 * np.abs(across) ** 2
    soft = 1.6 / PER_CM
    tooth = np.clip((away - edge) / soft + 0.5, 0, 1)
    gums = np.clip((away - tall) / (4 * soft) + 0.5, 0, 1)
    shade = 1 - 0.16 * np.clip((np.abs(across) - 0.75) / 0.25, 0, 1) ** 2  # lines between teeth
    shade = shade * (1 - 0.10 * across**2) * np.clip(1.04 - (np.abs(x) / 3.3) ** 2 * 0.75, 0.15, 1)
    shade = shade * (0.93 + 0.07 * np.clip(away / 0.5, 0, 1))
    colour = enamel * shade[..., None] * (1 - gums[..., None]) + gum * gums[..., None]
    alpha = tooth * (np.abs(x) < edges[-1]) * np.clip((height + 0.5 - away) / 0.2, 0, 1)
    return _layer(colour, alpha)


def _tongue(flesh: np.ndarray) -> Tensor:
    """Its tip's upper edge is at y = 0."""
    x, y = _plane()
    top = 0.25 * (x / 1.9) ** 2 + 0.10 * np.exp(-((x / 0.18) ** 2)) * 0.6
    body = np.clip((y - top) / 0.18, 0, 1) * np.clip((2.1 - np.abs(x)) / 0.5, 0, 1)
    light = 0.42 + 0.38 * np.exp(-(((y - top - 0.6) / 0.45) ** 2)) - 0.06 * np.exp(-((x / 0.15) ** 2))
    return _layer(flesh * light[..., None], body)


def _layer(colour: np.ndarray, alpha: np.ndarray) -> Tensor:
    return torch.from_numpy(np.concatenate((colour.clip(0, 1), alpha[..., None]), -1).astype(np.float32)).permute(
        2, 0, 1
    )


def over(below: Tensor, layer: Tensor, x: Tensor, y: Tensor, shade: Tensor | float = 1.0) -> Tensor:
    """``below`` (3, h, w) with a drawing on it; x, y (h, w): the place in the drawing, in cm."""
    grid = torch.stack((x / HALF[0], y / HALF[1]), -1)
    seen = F.grid_sample(layer[None], grid[None], padding_mode="zeros", align_corners=False)[0]
    return below + (seen[:3] * shade - below) * seen[3:]


def teeth_of(box: Tensor, inside: Tensor, rows: slice, columns: slice, skin: np.ndarray, scale: float) -> Tensor | None:
    """The photograph's open mouth (4, h, w) in its part of the box, None without teeth; ``scale`` pixels per cm."""
    part, mask = box[:, rows, columns], inside > 0.9
    if mask.sum() < 60:
        return None
    bright = part.mean(0)[mask]
    if float(bright.quantile(0.6)) < 0.75 * skin.mean():
        return None
    soft = F.avg_pool2d(-F.max_pool2d(-inside[None], 3, 1, 1), 3, 1, 1)
    tooth = (part.mean(0, keepdim=True) > 0.8 * bright.quantile(0.6)).float()
    wide = 2 * round(scale / 20) + 1  # pixels: gaps between teeth, and ragged edges, are closed
    tooth = -F.max_pool2d(-F.max_pool2d(tooth, wide, 1, wide // 2), wide, 1, wide // 2)
    return torch.cat((part, soft * F.avg_pool2d(tooth, wide, 1, wide // 2)))


def colours(face: Tensor) -> float:
    """Of pixels (3, n) of a face: 1 for a photograph in colour, 0 for one in grays, or in grays of one tint."""
    level = face.mean(0)
    lit = face[:, (level > 0.1) & (level < 0.95)]
    if lit.shape[1] < 50:
        return 0.0
    tint = lit / lit.mean(0)
    # a tint depends on brightness; lips, cheeks and eyes differ from it
    level = torch.stack((torch.ones_like(lit[0]), lit.mean(0), lit.mean(0) ** 2), 1)
    left = tint.T - level @ torch.linalg.lstsq(level, tint.T).solution
    return float(((left.std(0).max() - 0.012) / 0.018).clamp(0, 1))
