"""The photograph as two elastic sheets, with the displacement of each point per movement.

An opening mouth or eye tears the picture. Therefore two maps lead from the photograph to the frame: the ``upper`` sheet
continues the upper lip and lids smoothly across their openings, the ``lower`` sheet the lower ones. Each pixel of a
frame uses the sheet of its side of the opening. g grid points per side, k movements.
"""

from typing import NamedTuple

import numpy as np

from talking_head.face.basis import FaceBasis
from talking_head.face.points import (
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    OVAL,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
)
from talking_head.face.pose import Similarity, upward

GRID = 96
# rings around the face oval: size, weight of head movement, weight of face movements
RINGS = ((1.12, 1.0, 0.7), (1.3, 0.97, 0.4), (1.55, 0.8, 0.15), (1.85, 0.4, 0.0), (2.1, 0.1, 0.0), (2.3, 0.0, 0.0))
BEHIND = 2.2  # cm that each ring lies behind the one inside it
OPENINGS = (
    (INNER_UPPER_LIP, INNER_LOWER_LIP),
    (RIGHT_EYE_UPPER, RIGHT_EYE_LOWER),
    (LEFT_EYE_UPPER, LEFT_EYE_LOWER),
)
# rows of lip points from the opening outwards, column by column
UPPER_LIP = (INNER_UPPER_LIP, np.array([62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292]), OUTER_UPPER_LIP)
LOWER_LIP = (INNER_LOWER_LIP, np.array([62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292]), OUTER_LOWER_LIP)
LIP_SHARES = (1.0, 0.75, 0.5)
RIGHT_LID = (RIGHT_EYE_UPPER, np.array([130, 247, 30, 29, 27, 28, 56, 190, 243]))  # and the crease above
LEFT_LID = (LEFT_EYE_UPPER, np.array([463, 414, 286, 258, 257, 259, 260, 467, 359]))
LID_SHARES = (1.0, 0.88)


class Sheets(NamedTuple):
    """Grid points of both sheets in the canonical axes (cm), and their movements."""

    points: np.ndarray  # (g * g, 3) where they are in the photograph
    follow: np.ndarray  # (g * g,) weight of head movement
    moves: np.ndarray  # (2, k, g * g, 3): upper and lower sheet


def corrections() -> list[dict[int, float]]:
    """Movements beyond the coefficients: one lip or lid point of an opening up or down, with the points attached to it.

    In the order of :data:`OPENINGS`: the inner points of the upper contour, then of the lower one.
    """
    hanging = ((UPPER_LIP, LOWER_LIP), (RIGHT_LID, (RIGHT_EYE_LOWER,)), (LEFT_LID, (LEFT_EYE_LOWER,)))
    found = []
    for opening in hanging:
        for rows in opening:
            shares = LIP_SHARES if len(rows) == 3 else LID_SHARES
            for j in range(1, len(rows[0]) - 1):
                found.append({int(row[j]): share for row, share in zip(rows, shares)})
    return found


def movements(basis: FaceBasis) -> np.ndarray:
    """(52 + corrections, 478, 3) cm."""
    extra = np.zeros((len(corrections()), 478, 3), np.float32)
    for row, moved in zip(extra, corrections(), strict=True):
        for point, share in moved.items():
            row[point, 1] = share
    return np.concatenate((basis.deltas, extra))


def one_sided(moves: np.ndarray, upper: bool) -> np.ndarray:
    """The movements (k, 478, 3) of a sheet: each opening's other contour goes with this one."""
    moves = moves.copy()
    for above, below in OPENINGS:
        own, other = (above, below) if upper else (below, above)
        moves[:, other[1:-1]] = moves[:, own[1:-1]]
    middle, outer = (LOWER_LIP if upper else UPPER_LIP)[1:]
    near = (UPPER_LIP if upper else LOWER_LIP)[0]
    moves[:, middle[1:-1]] = 0.7 * moves[:, near[1:-1]] + 0.3 * moves[:, middle[1:-1]]
    moves[:, outer[1:-1]] = 0.3 * moves[:, near[1:-1]] + 0.7 * moves[:, outer[1:-1]]
    return moves


def straighten(points: np.ndarray, place: Similarity) -> np.ndarray:
    """Pixels (n, 3) -> canonical axes."""
    scale, rotation, shift = place
    return (upward(points) - shift) @ rotation / scale


def with_rings(landmarks: np.ndarray, place: Similarity) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """468 landmarks and the rings around them, in pixels (n, 3); how far each follows the head and the oval (n,)."""
    scale, rotation, _ = place
    face = landmarks[:468]
    middle = landmarks[OVAL].mean(0)
    rows, follow, moved = [face], [np.ones(468)], [np.ones(468)]
    back = upward(scale * rotation @ np.array([0.0, 0.0, -BEHIND]))
    for i, (size, head, own) in enumerate(RINGS):
        ring = middle + (landmarks[OVAL] - middle) * size
        ring[:, 2] = landmarks[OVAL][:, 2] + back[2] * (i + 1)
        rows.append(ring)
        follow.append(np.full(len(OVAL), head))
        moved.append(np.full(len(OVAL), own))
    return np.concatenate(rows), np.concatenate(follow), np.concatenate(moved)


def build(landmarks: np.ndarray, place: Similarity, basis: FaceBasis, low: np.ndarray, size: np.ndarray) -> Sheets:
    """Sheets over the box of pixels from ``low`` (x, y), ``size`` wide and high."""
    from scipy.spatial import Delaunay

    points, follow, moved = with_rings(landmarks, place)
    x, y = np.meshgrid(*(low[i] + (np.arange(GRID) + 0.5) / GRID * size[i] for i in range(2)))
    grid = np.stack((x.ravel(), y.ravel()), 1)
    border = np.array([[low[0] + a * size[0], low[1] + b * size[1]] for a in (-2, 0.5, 3) for b in (-2, 0.5, 3)])
    border = border[np.abs(border - low - size / 2).max(1) > size.max()]
    plane = np.concatenate((points[:, :2], border))
    net = Delaunay(plane)
    home = net.find_simplex(grid)
    matrix = net.transform[home]
    two = np.einsum("nij,nj->ni", matrix[:, :2], grid - matrix[:, 2])
    weight = np.concatenate((two, 1 - two.sum(1, keepdims=True)), 1)
    corner = net.simplices[home]
    spread = lambda values: np.einsum("nc,nc...->n...", weight, values[corner])
    pad = lambda values: np.concatenate((values, np.zeros((len(border), *values.shape[1:]))))

    depth = spread(np.concatenate((points[:, 2], np.full(len(border), points[-1, 2]))))
    canonical = straighten(np.column_stack((grid, depth)), place)
    moves = movements(basis)[:, :468]
    sheets = []
    for upper in (True, False):
        own = one_sided(moves, upper)
        rings = [own[:, OVAL] * (moved[468 + i * len(OVAL)]) for i in range(len(RINGS))]
        full = np.concatenate((own, *rings), 1).transpose(1, 0, 2)  # (n, k, 3)
        sheets.append(spread(pad(full)).transpose(1, 0, 2))
    return Sheets(
        canonical.astype(np.float32), spread(pad(follow)).astype(np.float32), np.stack(sheets).astype(np.float32)
    )
