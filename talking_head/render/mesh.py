"""The head as a shaded mesh, to preview motion without a photograph."""

import numpy as np

from talking_head.face.basis import FaceBasis
from talking_head.face.pose import matrix

LIGHT = np.array([0.3, 0.45, 0.84])
CLAY, GROUND = np.array([212, 190, 176]), (38, 40, 46)
FINE = 2  # supersampling per side
SPAN = 24.0  # height of a frame in cm


def frame(basis: FaceBasis, coefs: np.ndarray, turn: np.ndarray, size: int = 512) -> np.ndarray:
    """(size, size, 3) uint8 of coefficients (52,) and a rotation vector (3,): triangles drawn from back to front."""
    from PIL import Image, ImageDraw

    points = basis.points(coefs)[:468] @ matrix(turn).T
    corners = points[basis.triangles]  # (m, 3, 3)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    facing = normal[:, 2] > 0
    shade = 0.25 + 0.75 * (normal @ LIGHT).clip(0, 1)
    order = np.argsort(corners[:, :, 2].mean(1))
    scale = size * FINE / SPAN
    flat = corners[:, :, :2] * (scale, -scale) + size * FINE / 2
    image = Image.new("RGB", (size * FINE, size * FINE), GROUND)
    pen = ImageDraw.Draw(image)
    for i in order[facing[order]]:
        colour = tuple((CLAY * shade[i]).astype(int))
        pen.polygon([tuple(corner) for corner in flat[i]], fill=colour, outline=colour)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))
