"""Rigid glasses: the skin around and behind them hardly moves with brows and cheeks.

Detected by their bridge: a bare nose is smooth between the eyes, and glasses cross it with an edge.
"""

from dataclasses import replace

import numpy as np

from talking_head.face.basis import FaceBasis
from talking_head.face.points import LEFT_EYE_LOWER, LEFT_EYE_UPPER, RIGHT_EYE_LOWER, RIGHT_EYE_UPPER

ROWS, COLUMNS = (-0.55, 0.9), (-0.28, 0.28)  # region of the nose, in distances between the inner eye corners
EDGE = (0.17, 0.27)  # edge strength relative to skin: no glasses, glasses
STIFF = 0.9  # share of skin movement removed by glasses
ACROSS, ABOVE, BELOW = 3.0, 2.1, 2.8  # cm: largest distance of a rim from the middle of the eye
SOFT = 0.3  # of these distances: width of the transition
BRIDGE = 1.1  # cm above and below the eyes' middles


def seen(picture: np.ndarray, landmarks: np.ndarray) -> float:
    """Confidence (0..1) of glasses on a face with landmarks (478, 2 or more) in pixels of ``picture`` (h, w, 3)."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    right, left = landmarks[133, :2], landmarks[362, :2]
    across = left - right
    down = np.array([-across[1], across[0]])
    rows, columns = (np.linspace(*ends, count) for ends, count in ((ROWS, 64), (COLUMNS, 17)))
    place = (right + left) / 2 + rows[:, None, None] * down + columns[None, :, None] * across
    low = np.floor(place.min((0, 1))).astype(int).clip(0) - 4
    low, high = low.clip(0), np.ceil(place.max((0, 1))).astype(int) + 5
    part = picture[low[1] : high[1], low[0] : high[0]].mean(2)
    if min(part.shape) < 8:
        return 0.0
    part = gaussian_filter(part, np.hypot(*across) / 80)
    nose = map_coordinates(part, (place - low).transpose(2, 0, 1)[::-1], order=1, mode="nearest")
    edge = np.median(np.abs(nose[4:] - nose[:-4]).max(0)) / (np.median(nose) + 20)
    return float(np.clip((edge - EDGE[0]) / (EDGE[1] - EDGE[0]), 0, 1))


def behind(neutral: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Weight (0..1) of glasses at each of ``points`` (n, 2 or more) of a face ``neutral`` (478, 3)."""
    eyes = [np.concatenate(pair) for pair in ((RIGHT_EYE_UPPER, RIGHT_EYE_LOWER), (LEFT_EYE_UPPER, LEFT_EYE_LOWER))]
    found = np.zeros(len(points))
    for own in eyes:
        across, up = (points[:, :2] - neutral[own, :2].mean(0)).T
        far = np.hypot(across / ACROSS, up / np.where(up > 0, ABOVE, BELOW))
        found = np.maximum(found, np.clip((1 + SOFT - far) / SOFT, 0, 1))
    height = np.abs(points[:, 1] - neutral[np.concatenate(eyes), 1].mean())
    between = np.abs(points[:, 0]) < np.abs(neutral[eyes[0], 0]).min()
    return np.maximum(found, between * np.clip((BRIDGE * (1 + SOFT) - height) / (BRIDGE * SOFT), 0, 1))


def stiff(basis: FaceBasis, worn: float) -> FaceBasis:
    """Basis of a face with glasses: the skin under them follows the head only, eyelids move as before."""
    held = behind(basis.neutral, basis.neutral)
    held[np.concatenate((RIGHT_EYE_UPPER, RIGHT_EYE_LOWER, LEFT_EYE_UPPER, LEFT_EYE_LOWER))] = 0
    held[468:] = 0
    return replace(basis, deltas=basis.deltas * (1 - STIFF * worn * held[:, None]).astype(np.float32))
