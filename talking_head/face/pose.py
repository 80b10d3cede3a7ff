"""Head pose: rotations, and the fit of the canonical head to landmarks."""

import numpy as np

# weights of the points for head pose, from the upstream file, thousandths
STIFF = {
    4: 71,
    6: 32,
    10: 8,
    33: 59,
    54: 8,
    67: 9,
    117: 10,
    119: 15,
    121: 19,
    127: 5,
    129: 121,
    132: 6,
    133: 53,
    136: 67,
    143: 15,
    147: 14,
    198: 25,
    205: 47,
    263: 59,
    284: 8,
    297: 9,
    346: 10,
    348: 15,
    350: 19,
    356: 5,
    358: 121,
    361: 6,
    362: 53,
    365: 67,
    372: 15,
    376: 14,
    420: 25,
    425: 47,
}
POINTS, WEIGHTS = np.array(list(STIFF)), np.array(list(STIFF.values())) / sum(STIFF.values())


Similarity = tuple[float, np.ndarray, np.ndarray]


def similarity(source: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None) -> Similarity:
    """Scale, rotation, translation with target = scale * source @ rotation.T + translation (Umeyama 1991)."""
    weight = np.full(len(source), 1 / len(source)) if weight is None else weight
    middle, goal = weight @ source, weight @ target
    a, b = source - middle, target - goal
    u, s, vt = np.linalg.svd((b * weight[:, None]).T @ a)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * flip) @ vt
    scale = float((s * flip).sum() / (weight @ a**2).sum())
    return scale, rotation, goal - scale * rotation @ middle


def placed(landmarks: np.ndarray, canonical: np.ndarray) -> Similarity:
    """Similarity that maps the canonical head (n, 3) to landmarks (478, 3) in pixels, axes as :func:`upward`."""
    return similarity(canonical[POINTS], upward(landmarks)[POINTS], WEIGHTS)


def head_pose(landmarks: np.ndarray, canonical: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) from the canonical head (n, 3) to landmarks (478, 3) in pixels."""
    return placed(landmarks, canonical)[1]


def upward(landmarks: np.ndarray) -> np.ndarray:
    """Pixels (y down, z away) -> the canonical axes (y up, z to the viewer), and back."""
    return landmarks * (1.0, -1.0, -1.0)


def vector(rotation: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> rotation vectors (..., 3), radians."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(rotation).as_rotvec().astype(np.float32)


def matrix(rotation: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3), radians -> (..., 3, 3)."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(rotation).as_matrix()
