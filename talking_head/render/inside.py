"""The mouth interior: the photograph's teeth if visible, drawn teeth, a tongue, a dark cavity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talking_head.face.points import INDEX
from talking_head.render import mouth as mouths
from talking_head.render.opening import Opening
from talking_head.render.warp import sampled

TEETH_DEPTH = 0.9  # cm behind the lips
ARCH = 0.11  # 1/cm: how a row of teeth curves backwards
TONGUE, TONGUE_DEPTH = (0.7, -0.12), 0.6  # its top: factor of the lower teeth's height, and cm; cm behind the teeth
SLIT = 0.15  # cm: a smaller opening is dark
STANDING = 0.58  # cm: largest visible height of the lower teeth above the lower lip
SHOWN = 0.4  # cm: visible height of the upper teeth below the resting lip line


class Plane(NamedTuple):
    """An opening's pixels on a plane of the head."""

    x: Tensor  # (h, w) cm to the right
    y: Tensor  # (h, w) cm down
    pixels: Tensor  # (h, w, 2) the same point in the photograph
    deep: list[float]  # cm right and down per cm of depth


class Inside:
    """Mouth interior for a box (3, h, w) at ``scale`` pixels per cm: ``face`` (3, n) are colours of the face, ``skin``
    (3,) is its typical colour, ``seen`` the open mouth. In canonical cm: height of the resting lips' ``line`` and of
    the ``lowest`` open point, how far a lip's middle goes ``down`` with a wide jaw, and ``depth`` of the lips."""

    def __init__(
        self,
        box: Tensor,
        seen: Opening | None,
        face: Tensor,
        skin: np.ndarray,
        scale: float,
        line: float,
        lowest: float,
        down: float,
        depth: float,
    ):
        self.teeth, self.at, self.shown = None, (0, 0), SHOWN
        self.scale, self.line, self.down = scale, line, down
        self.origin = np.array([0, line, depth - TEETH_DEPTH])
        if seen is not None:
            self.teeth = mouths.teeth_of(box, seen.inside, seen.rows, seen.columns, skin, scale)
            self.at = (seen.columns.start, seen.rows.start)
        if self.teeth is not None:  # drawn teeth go on where the photograph's end
            self.shown = float(np.clip(line - lowest - 0.06, 0.1, 0.7))
        self.drawn = mouths.draw(skin, mouths.colours(face), self.teeth)

    def __call__(self, seen: Opening, plane: Plane, coefs: np.ndarray, lip: float) -> Tensor:
        """Draw an opening ``seen`` on the ``plane`` of the teeth, (3, h, w), for coefficients (52,); ``lip``: height in
        cm of the lower lip's inner middle."""
        x, y, pixels, deep = plane
        drop = max(0.0, float(coefs[INDEX["jawOpen"]])) * self.down * 0.8
        row = max(0.02 + drop, self.line - lip - STANDING)
        aside = float(coefs[INDEX["jawRight"]] - coefs[INDEX["jawLeft"]]) * -0.6
        dark = (seen.depth / seen.height.clamp_min(1)).clamp(0, 1)
        cavity = torch.from_numpy(self.drawn.cavity.astype(np.float32))[:, None, None] * (0.5 + 0.9 * dark)
        behind = [TONGUE_DEPTH * n for n in deep]
        inner = mouths.over(
            cavity.expand(3, *x.shape),
            self.drawn.tongue,
            x - aside - behind[0],
            y - TONGUE[0] * row - TONGUE[1] - behind[1],
        )
        arch = ARCH * x**2  # cm that teeth lie behind the front ones
        x, y = x - deep[0] * arch, y - deep[1] * arch
        inner = mouths.over(inner, self.drawn.lower, x - aside, y - row, 0.95)
        inner = mouths.over(inner, self.drawn.upper, x, y - self.shown)
        if self.teeth is not None:
            inner = self._own_teeth(inner, pixels)
        cm = seen.depth / self.scale  # the upper lip shades what is just behind it
        corner = (torch.minimum(seen.along, 1 - seen.along) / 0.22).clamp(0, 1)
        inner = torch.lerp(cavity, inner, (1.6 * corner).clamp_max(1))  # between cheek and teeth it is dark
        shade = (0.6 + 0.4 * (cm / 0.25).clamp(0, 1)) * (0.35 + 0.65 * corner)
        return inner * shade * (seen.height / (SLIT * self.scale)).clamp(0.3, 1)

    def _own_teeth(self, inner: Tensor, pixels: Tensor) -> Tensor:
        h, w = self.teeth.shape[1:]
        own = sampled(self.teeth, (pixels - torch.tensor(self.at)) / torch.tensor([w / 2, h / 2]) - 1)
        return inner + (own[:3] - inner) * own[3:]
