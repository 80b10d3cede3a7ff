"""Detection of a mouth covered by a mask or a hand, where the tracker reports lips without evidence."""

import numpy as np

from talking_head.face.points import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP

SEAM, CONTRAST, CHROMA = 0.08, 0.15, 0.03  # log brightness and colour: below them no lips are visible
CLOTH = (0.25, 0.3)  # chroma difference to the nose above which it is not skin, and the largest contrast of its folds


def covered(picture: np.ndarray, landmarks: np.ndarray) -> bool:
    """Return True if the mouth at landmarks (478, 2 or more), in pixels of ``picture`` (h, w, 3), is covered."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    points, inner = landmarks[:, :2], slice(2, -2)  # without the corners
    width = np.hypot(*(points[61] - points[291]))
    low = np.maximum(points[[*OUTER_UPPER_LIP, *OUTER_LOWER_LIP, 195]].min(0) - width, 0).astype(int)
    high = (points[[*OUTER_UPPER_LIP, *OUTER_LOWER_LIP]].max(0) + width).astype(int)
    part = picture[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    if min(part.shape[:2]) < 8:
        return False
    soft = [np.log(gaussian_filter(part[..., c], max(width / 30, 0.5)) + 8) for c in range(3)]

    def at(place: np.ndarray) -> np.ndarray:
        places = (place - low).reshape(-1, 2).T[::-1]
        return np.stack([map_coordinates(c, places, order=1, mode="nearest") for c in soft], -1)

    upper, lower = points[INNER_UPPER_LIP][inner], points[INNER_LOWER_LIP][inner]
    above, below = points[OUTER_UPPER_LIP][inner], points[OUTER_LOWER_LIP][inner]
    pairs = (((upper + above) / 2, above + 0.9 * (above - upper)), ((lower + below) / 2, below + 0.8 * (below - lower)))
    colours = [[np.median(at(place), 0) for place in pair] for pair in pairs]  # of each lip and of the skin around it
    contrast = max(np.abs(lip - around).max() for lip, around in colours)
    tone = lambda colour: colour - colour.mean()
    chroma = max(np.abs(tone(lip) - tone(around)).max() for lip, around in colours)
    if chroma > CHROMA:
        return False
    nose = np.median(at(points[[195, 5, 4]]), 0)
    if contrast < CLOTH[1] and all(np.abs(tone(around) - tone(nose)).max() > CLOTH[0] for _, around in colours):
        return True
    across = (upper + lower) / 2 + np.linspace(-0.6, 0.6, 13)[:, None, None] * (below - above)
    lines = at(across).mean(-1).reshape(13, -1)
    seam = np.median(np.median(lines, 0) - lines[3:10].min(0))
    return bool(contrast < CONTRAST and seam < SEAM)
