"""The part of a picture that becomes the frame."""

import numpy as np

from gen.errors import InputError
from talking_head.face.points import OVAL
from talking_head.face.tracker import Face

ROOM = {"head": 2.05, "shoulders": 3.2, "whole": np.inf}  # shorter side of the frame, in heights of the face
DOWN = {"head": -0.04, "shoulders": 0.35, "whole": 0.35}  # the frame's middle below the face's, in heights of the face
ABOVE = 0.75  # heights of the face from its middle to the frame's upper edge, at least
LEAST = 1.15  # heights of the face that a frame must have


def framed(
    pixels: np.ndarray, face: Face, size: int, aspect: str = "1:1", crop: str = "head"
) -> tuple[np.ndarray, Face]:
    """The part of a picture around the head, and the face in it: ``size`` pixels on its shorter side, ``aspect`` as
    "9:16" (width to height) or "source", as much of the person as ``crop`` says and the picture has.

    InputError where the face would not fit.
    """
    from PIL import Image

    h, w = pixels.shape[:2]
    low, high = face.landmarks[OVAL, :2].min(0), face.landmarks[OVAL, :2].max(0)
    tall = float((high - low).max())
    across, up = (w, h) if aspect == "source" else map(int, aspect.split(":"))
    shape = np.array([across, up]) / min(across, up)
    side = min(ROOM[crop] * tall, *(np.array([w, h]) / shape))
    if side * shape[1] < LEAST * tall:
        raise InputError(f"a frame of {aspect} in this picture would cut the face: give aspect 1:1 or source")
    extent = side * shape
    down = min(DOWN[crop], 0.5 * extent[1] / tall - ABOVE)
    corner = np.clip((low + high) / 2 + (0, down * tall) - extent / 2, 0, np.maximum((w, h) - extent, 0))
    wanted = tuple(int(n) for n in np.round(size * shape / 2) * 2)
    kind = Image.Resampling.LANCZOS if side > size else Image.Resampling.BICUBIC
    picture = Image.fromarray(pixels).resize(wanted, kind, box=(*corner, *(corner + extent)))
    return np.asarray(picture), face._replace(landmarks=(face.landmarks - (*corner, 0)) * (size / side))


def even(pixels: np.ndarray) -> np.ndarray:
    """The picture less an odd last row or column, which H.264 cannot hold."""
    return np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])
