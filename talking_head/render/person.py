"""Person segmentation: a soft mask from a small network, and the background without the person."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gen.errors import InputError
from gen.notes import note
from talking_head.face.graph import Graph
from talking_head.face.points import OVAL
from talking_head.face.tracker import Face
from talking_head.frame import framed
from talking_head.render.fill import filled

SIZE = 256  # input size of the network
AROUND, SURE = 4, 2e-3  # guided filter: radius in input pixels, and regularisation (variance within one object)
STEEP = (0.2, 0.65)  # filter output: certainly background, certainly person
LEAST = 0.9  # smallest share of the face in the mask
RIM = 0.012  # of the picture's shorter side: margin around the person excluded from the background


class Person(NamedTuple):
    """A picture as two layers: ``picture`` = ``cut`` + (1 - ``mask``) * ``behind``."""

    mask: Tensor  # (h, w) in [0, 1]
    cut: Tensor  # (3, h, w) person colours times mask
    behind: Tensor  # (3, h, w) background, filled behind the person; None: transparent


def mask(network: Graph, pixels: np.ndarray, whole: Face, picture: np.ndarray, face: Face) -> Tensor:
    """Person mask (h, w) in [0, 1] of a frame ``picture`` (h, w, 3) uint8 with ``face``. ``pixels`` (h', w', 3) with
    the face ``whole`` is the photograph that the frame was cropped from: it shows more of hats and hair."""
    guide = as_tensor(picture)
    wide, there = framed(pixels, whole, SIZE, "source", "whole" if max(pixels.shape) < 2 * SIZE else "shoulders")
    place = there.landmarks[[10, 152, 234, 454], :2], face.landmarks[[10, 152, 234, 454], :2]
    scale = np.ptp(place[0], axis=0).max() / np.ptp(place[1], axis=0).max()
    x, y = (
        torch.from_numpy((np.arange(SIZE) + 0.5) / SIZE * n * scale + place[0][0, i] - scale * place[1][0, i])
        for i, n in enumerate(picture.shape[1::-1])
    )
    y, x = torch.meshgrid(y / wide.shape[0] * 2 - 1, x / wide.shape[1] * 2 - 1, indexing="ij")
    further = F.grid_sample(
        _seen(network, as_tensor(wide))[None, None],
        torch.stack((x, y), -1)[None].float(),
        padding_mode="border",
        align_corners=False,
    )[0, 0]
    found = (_seen(network, guide) + further) / 2
    share = guided(F.interpolate(guide[None], (SIZE, SIZE), mode="area")[0], found, guide)
    return ((share - STEEP[0]) / (STEEP[1] - STEEP[0])).clamp(0, 1)


def _seen(network: Graph, picture: Tensor) -> Tensor:
    """Network output (256, 256) in [0, 1] for a picture (3, h, w)."""
    small = F.interpolate(picture[None], (SIZE, SIZE), mode="area")
    return network(small.permute(0, 2, 3, 1))[0][0, ..., 0]


def as_tensor(picture: np.ndarray) -> Tensor:
    """(h, w, 3) uint8 -> (3, h, w) in [0, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def guided(small: Tensor, value: Tensor, whole: Tensor) -> Tensor:
    """``value`` (h, w) of a picture ``small`` (3, h, w), refined to the edges of the same picture ``whole``
    (3, h', w'): a local linear function of its colours (He and Sun, "Fast Guided Filter", 2015)."""
    mean = lambda x: F.avg_pool2d(x[None], 2 * AROUND + 1, 1, AROUND, count_include_pad=False)[0]
    colour, level = mean(small), mean(value[None])
    pairs = mean((small[:, None] * small).flatten(0, 1)).unflatten(0, (3, 3)) - colour[:, None] * colour
    shared = mean(small * value) - colour * level
    system = pairs.permute(2, 3, 0, 1) + SURE * torch.eye(3)
    slope = torch.linalg.solve(system, shared.permute(1, 2, 0)).permute(2, 0, 1)
    both = mean(torch.cat((slope, level - (slope * colour).sum(0, keepdim=True))))
    slope = F.interpolate(both[None], whole.shape[1:], mode="bilinear")[0]
    return (slope[:3] * whole).sum(0) + slope[3]


def shows(mask: Tensor, landmarks: np.ndarray) -> bool:
    """Return True if the face with landmarks (478, 2 or more) in pixels is in the mask (h, w)."""
    middle = landmarks[OVAL, :2].mean(0)
    at = np.concatenate([middle + share * (landmarks[OVAL, :2] - middle) for share in (0.3, 0.6, 0.85)])
    x, y = at.round().astype(int).clip(0, np.array(mask.shape[::-1]) - 1).T
    return float(mask[y, x].mean()) > LEAST


def layers(mask: Tensor, picture: Tensor) -> Person:
    """Of a picture (3, h, w) in [0, 1]."""
    wide = max(1, round(RIM * min(mask.shape)))
    across = lambda by: F.max_pool2d(mask[None, None], (1, 2 * by + 1), 1, (0, by))
    beyond = lambda by: F.max_pool2d(across(by), (2 * by + 1, 1), 1, (by, 0))[0, 0]
    made = filled(picture, (beyond(wide) < 0.02).float())
    behind = torch.where(beyond((wide + 2) // 3) > 0.02, made, picture)
    return Person(mask, picture - (1 - mask) * behind, behind)


def cut_out(
    network: Graph,
    pixels: np.ndarray,
    whole: Face,
    picture: np.ndarray,
    face: Face,
    background: str | np.ndarray = "keep",
) -> Person | None:
    """Separate the person by :func:`mask`; the background is the photograph's ("keep"), transparent ("none"), a colour
    such as "#00ff00" or a picture (h, w, 3). Returns None with a note for "keep" if no person is found."""
    found = mask(network, pixels, whole, picture, face)
    keep = isinstance(background, str) and background == "keep"
    if not shows(found, face.landmarks):
        if not keep:
            raise InputError("the person cannot be told from the background of this picture: give another portrait")
        note("the person is not told from the background, which bends a little beside the head")
        return None
    made = layers(found, as_tensor(picture))
    if keep:
        return made
    made = made._replace(cut=torch.minimum(made.cut.clamp_min(0), found), behind=None)
    return (
        made
        if isinstance(background, str) and background == "none"
        else made._replace(behind=painted(background, *picture.shape[:2]))
    )


def painted(background: str | np.ndarray, height: int, width: int) -> Tensor:
    """(3, height, width) of a colour such as "#00ff00", or of a picture (h, w, 3), cut to that shape."""
    from PIL import Image, ImageColor, ImageOps

    if isinstance(background, str):
        return torch.tensor(ImageColor.getrgb(background)).view(3, 1, 1).expand(3, height, width) / 255
    fit = ImageOps.fit(Image.fromarray(background), (width, height), Image.Resampling.LANCZOS)
    return as_tensor(np.asarray(fit))
