"""Parted lips in a photograph: corrected inner edges, and the lips without the opening."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from talking_head.face.points import INNER_LOWER_LIP, INNER_UPPER_LIP
from talking_head.render.fill import filled
from talking_head.render.opening import Opening
from talking_head.render.sheets import LOWER_LIP, UPPER_LIP

APART = 0.08  # of the mouth's width: lips further apart are parted
FAR, STEPS = 0.7, 24  # search range towards the outer lip edge, and number of samples
BODY = (0.55, 0.9)  # of that range: certainly lip
PARTED, LIP = 0.35, 0.04  # cm: lips further apart are parted; blur of their edge
ALIKE = 0.8  # distance to the opening's colours relative to the lip's, below which a pixel is open


def found(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (478, 3) in pixels of ``picture`` (h, w, 3), inner lip points moved to the edge of the opening."""
    from scipy.ndimage import gaussian_filter, map_coordinates, median_filter

    width = float(np.hypot(*(landmarks[78, :2] - landmarks[308, :2])))
    inner = [landmarks[rows][1:-1, :2] for rows in (INNER_UPPER_LIP, INNER_LOWER_LIP)]
    if np.hypot(*(inner[1] - inner[0]).T).max() < APART * width:
        return landmarks
    points = np.concatenate([landmarks[rows[2], :2] for rows in (UPPER_LIP, LOWER_LIP)])
    low = np.maximum(np.floor(points.min(0)) - 4, 0).astype(int)
    high = np.ceil(points.max(0)).astype(int) + 5
    part = picture[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    part = gaussian_filter(part, (width / 120, width / 120, 0))

    def colours(place: np.ndarray) -> np.ndarray:
        at = (place - low - 0.5).reshape(-1, 2).T[::-1]
        seen = [map_coordinates(part[..., c], at, order=1, mode="nearest") for c in range(3)]
        return np.stack(seen, -1).reshape(*place.shape[:-1], 3)

    share = np.linspace(0.15, 0.85, 9)[:, None, None]
    within = colours(inner[0] * share + inner[1] * (1 - share))  # (9, columns, 3)
    landmarks = landmarks.copy()
    for rows, start in zip((UPPER_LIP, LOWER_LIP), inner):
        way = landmarks[rows[2]][1:-1, :2] - start
        along = np.linspace(0, BODY[1], STEPS)[:, None, None]
        seen = colours(start + along * way)  # (steps, columns, 3)
        lip = np.median(seen[along[:, 0, 0] > BODY[0]], (0, 1))
        other = np.linalg.norm(seen[:, None] - within[None], axis=-1).min(1)
        open_ = (other < ALIKE * np.linalg.norm(seen - lip, axis=-1)) & (along[..., 0] < FAR)
        last = np.cumprod(open_, 0).sum(0) / STEPS * BODY[1]
        last = median_filter(last, 3, mode="nearest")[:, None] * way
        landmarks[rows[0][1:-1], :2] += last
        landmarks[rows[1][1:-1], :2] += 0.5 * last
    return landmarks


def alone(box: Tensor, seen: Opening | None, scale: float) -> Tensor:
    """The box (3, h, w) at ``scale`` pixels per cm with the open mouth ``seen`` filled from its lips, so that no
    interior pixels move with a lip."""
    if seen is None or float(seen.height.max()) < PARTED * scale:
        return box
    grown, wide, far = box.clone(), round(LIP * scale), round(scale)
    hole = torch.zeros_like(grown[:1])
    hole[0, seen.rows, seen.columns] = (seen.inside > 0).float()
    hole = F.max_pool2d(hole, 2 * wide + 1, 1, wide)
    part = tuple(slice(max(0, n.start - far), n.stop + far) for n in (seen.rows, seen.columns))
    grown[:, *part] = filled(grown[:, *part], 1 - hole[0, *part])
    return grown
