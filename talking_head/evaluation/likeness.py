"""Identity and steadiness of a video, measured without a trained network.

The descriptor is a histogram of oriented gradients (Dalal and Triggs, CVPR 2005) of the face without its mouth,
straightened by its landmarks. It is no face recogniser: it tells small changes of one picture from another person.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from talking_head.face.crop import cut
from talking_head.face.tracker import Face, square_of

SIDE, CELL, WAYS = 96, 12, 9
STEADY = np.array([6, 197, 195, 5, 4, 33, 133, 362, 263, 168, 234, 454])  # nose, eye corners, sides


def descriptor(pixels: np.ndarray, face: Face) -> np.ndarray:
    """(h, w, 3) uint8 and its face -> (f,) of unit length: forehead to nose, where speech moves little."""
    centre, side, angle = square_of(face.landmarks)
    grey = cut(pixels, centre, side / 1.3, angle, SIDE).mean(-1).numpy()[: SIDE * 5 // 8 // CELL * CELL]
    down, across = np.gradient(grey)
    size, way = np.hypot(down, across), np.arctan2(down, across) % np.pi
    turn = np.minimum((way / np.pi * WAYS).astype(int), WAYS - 1)
    cells = (v.reshape(-1, CELL, SIDE // CELL, CELL).swapaxes(1, 2).reshape(-1, CELL * CELL) for v in (turn, size))
    rows = np.stack([np.bincount(ways, amounts, WAYS) for ways, amounts in zip(*cells)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 0.05
    return (rows / np.linalg.norm(rows)).ravel()


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Distance of two descriptors: 0 for equal ones, up to 1."""
    return float(1 - one @ other)


def jitter(faces: Iterable[Face]) -> float:
    """Mean change of the change of a frame's steady points, in thousandths of the distance of the eyes."""
    points = np.stack([face.landmarks[STEADY, :2] for face in faces])
    scale = np.mean([np.linalg.norm(p[8] - p[5]) for p in points])
    return float(1000 * np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean() / scale)
