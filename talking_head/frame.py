"""The part of a picture that becomes the frame."""

import numpy as np

from talking_head.face.points import OVAL
from talking_head.face.tracker import Face

ROOM = 2.05  # side of the frame, in heights of the face


def head_square(pixels: np.ndarray, face: Face, size: int) -> tuple[np.ndarray, Face]:
    """The square around the head at ``size`` pixels, and the face in it; inside the picture, whatever that costs."""
    from PIL import Image

    h, w = pixels.shape[:2]
    low, high = face.landmarks[OVAL, :2].min(0), face.landmarks[OVAL, :2].max(0)
    middle = (low + high) / 2 - (0, 0.04 * (high - low)[1])
    side = min(ROOM * (high - low).max(), h, w)
    corner = np.clip(middle - side / 2, 0, (w - side, h - side))
    box = (*corner, *(corner + side))
    kind = Image.Resampling.LANCZOS if side > size else Image.Resampling.BICUBIC
    picture = Image.fromarray(pixels).resize((size, size), kind, box=box)
    scale = size / side
    return np.asarray(picture), face._replace(landmarks=(face.landmarks - (*corner, 0)) * scale)


def even(pixels: np.ndarray) -> np.ndarray:
    """The picture less an odd last row or column, which H.264 cannot hold."""
    return np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])
