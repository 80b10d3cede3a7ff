"""Image warping: from displacements of grid points to the sources of pixels. Pixels of a box; g points per side."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = (1, 1, 0.5, 0.5, 0.33, 0.33, 0.25, 0.25, 0.2, 0.2)  # shares of the way: whole ones overshoot where it stretches
SHRINKING = (1.6, 2.6)  # pixels of the photograph in one of the frame: where it begins to be blurred, and wholly is


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def places(width: int, height: int) -> Tensor:
    """(height, width, 2) centres of pixels in [-1, 1]."""
    x, y = ((torch.arange(n) + 0.5) / n * 2 - 1 for n in (width, height))
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((x, y), -1)


def inverted(shift: Tensor, size: tuple[int, int]) -> Tensor:
    """Invert displacements (s, g, g, 2) in pixels of the grid points of s sheets: offsets (s, g, g, 2) in [-1, 1] from
    each grid point to its source, by fixed-point iteration u += step * (y - shift(u) - u)."""
    target = places(shift.shape[2], shift.shape[1])
    field = (shift * (2 / torch.tensor(size))).permute(0, 3, 1, 2).contiguous()
    off = -field.permute(0, 2, 3, 1)
    for step in STEPS:
        seen = F.grid_sample(field, target + off, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)
        off = torch.lerp(off, -seen, step)
    return off


def enlarged(off: Tensor, width: int, height: int) -> Tensor:
    """Offsets (g, g, 2) of grid points -> where each pixel comes from (height, width, 2), in [-1, 1]."""
    wide = F.interpolate(off.permute(2, 0, 1)[None].contiguous(), (height, width), mode="bilinear")[0]
    return wide.permute(1, 2, 0) + places(width, height)


def part_of(off: Tensor, width: int, height: int, rows: slice, columns: slice) -> Tensor:
    """The rows and columns of :func:`enlarged`."""
    place = places(width, height)[rows, columns]
    return place + sampled(off.permute(2, 0, 1), place).permute(1, 2, 0)


def sampled(picture: Tensor, source: Tensor) -> Tensor:
    """(c, h, w) at (h', w', 2) in [-1, 1] -> (c, h', w')."""
    return F.grid_sample(picture[None], source[None], padding_mode="border", align_corners=False)[0]


def blur(picture: Tensor, sigma: float) -> Tensor:
    """(c, h, w) by a Gaussian of ``sigma`` pixels."""
    if sigma < 0.3:
        return picture
    reach = max(1, int(np.ceil(2.5 * sigma)))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1, 1)
    wide = F.pad(picture[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(wide, kernel), kernel.transpose(2, 3))[:, 0]


class Photograph(NamedTuple):
    """A picture for sharp resampling.

    ``fine`` (c, 2 h, 2 w) is the picture enlarged by Lanczos's kernel and corrected so that each group of four pixels
    has the mean of its source pixel: linear sampling of it is as sharp as cubic sampling at a quarter of the cost, and
    unmoved pixels are unchanged. ``coarse`` (c, h, w) is used where the picture shrinks.
    """

    fine: Tensor
    coarse: Tensor

    @classmethod
    def of(cls, picture: Tensor) -> Photograph:
        """From (c, h, w)."""
        from PIL import Image

        size = tuple(2 * n for n in picture.shape[:0:-1])
        planes = [Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS) for plane in picture.numpy()]
        fine = torch.from_numpy(np.stack(planes))
        missing = picture - F.avg_pool2d(fine[None], 2)[0]
        fine += F.interpolate(missing[None], scale_factor=2, mode="nearest")[0]
        return cls(fine, F.avg_pool2d(F.pad(picture[None], (1,) * 4, "replicate"), 3, 1)[0])

    def moved(self, source: Tensor, off: Tensor) -> Tensor:
        """At ``source`` (h, w, 2), whose offsets at grid points are ``off`` (g, g, 2): (c, h, w)."""
        made = sampled(self.fine, source)
        cells = len(off)
        step = torch.stack([off.diff(dim=i, append=off.narrow(i, cells - 1, 1)) * (cells / 2) for i in range(2)])
        step[0, ..., 1] += 1
        step[1, ..., 0] += 1
        level = (step.norm(dim=-1).amax(0) - SHRINKING[0]) / (SHRINKING[1] - SHRINKING[0])
        rows, columns = ((level > 0).any(1 - i).nonzero() for i in range(2))
        if not len(rows):
            return made
        height, width = source.shape[:2]
        part = tuple(
            slice(max(0, int(at[0]) - 1) * n // cells, min(cells, int(at[-1]) + 2) * n // cells)
            for at, n in ((rows, height), (columns, width))
        )
        level = sampled(level.clamp(0, 1)[None], places(width, height)[part])[0]
        row, column = (level > 0).nonzero(as_tuple=True)
        level, at = level[row, column], (row + part[0].start) * width + column + part[1].start
        seen = sampled(self.coarse, source.view(1, -1, 2)[:, at])[:, 0]
        flat = made.view(len(made), -1)
        flat[:, at] = torch.lerp(flat[:, at], seen, level)
        return made
