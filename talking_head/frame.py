"""Crops a picture to the film's frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen.errors import InputError
from gen.notes import note
from talking_head.face.points import OVAL

if TYPE_CHECKING:
    from talking_head.face.tracker import Face, FaceTracker

ROOM = {"head": 2.05, "shoulders": 3.2, "whole": np.inf}  # shorter side of the frame, in heights of the face
DOWN = {"head": -0.04, "shoulders": 0.35, "whole": 0.35}  # frame centre below the face centre, in face heights
ABOVE = 0.75  # minimum face heights from its centre to the frame's upper edge
LONGEST = 1280  # maximum pixels of an uncropped picture's longer side
LEAST = 1.15  # minimum frame height in face heights


def framed(
    pixels: np.ndarray, face: Face, size: int, aspect: str = "1:1", crop: str = "head"
) -> tuple[np.ndarray, Face]:
    """Crops a picture around the head and returns the face in it: ``size`` pixels on the shorter side, ``aspect`` as
    "9:16" (width to height) or "source", limited by ``crop`` and the picture.

    Raises InputError if the face would not fit.
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
    """The picture without an odd last row or column, which H.264 cannot hold."""
    return np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])


def prepared(
    tracker: FaceTracker,
    pixels: np.ndarray,
    size: int,
    which: int | None = None,
    aspect: str = "1:1",
    crop: str = "head",
) -> tuple[np.ndarray, Face]:
    """The frame's picture and the face in it; arguments as in :func:`framed`."""
    return fitted(pixels, tracker.face(pixels, which), size, aspect, crop)


def fitted(
    pixels: np.ndarray, face: Face, size: int, aspect: str = "1:1", crop: str = "head"
) -> tuple[np.ndarray, Face]:
    """:func:`prepared` for a face that is already detected."""
    from PIL import Image

    if size % 2:
        note(f"frame size reduced from {size} to {size // 2 * 2} pixels: a film's sides are even")
    if not size and (aspect, crop) != ("1:1", "head"):
        note("aspect and crop are ignored for size 0 (the whole picture): give a size")
    if size:
        return framed(pixels, face, size // 2 * 2, aspect, crop)
    scale = min(1.0, LONGEST / max(pixels.shape[:2]))
    if scale < 1:
        wanted = tuple(round(n * scale) for n in pixels.shape[1::-1])
        note(f"the picture of {pixels.shape[1]} x {pixels.shape[0]} pixels was reduced to {wanted[0]} x {wanted[1]}")
        pixels = np.asarray(Image.fromarray(pixels).resize(wanted, Image.Resampling.LANCZOS))
        face = face._replace(landmarks=face.landmarks * scale)
    return even(pixels), face
