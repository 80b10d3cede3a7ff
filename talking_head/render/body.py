"""Movement of a person separated from the background: hair and hat follow the head rigidly, the neck follows less
towards the shoulders, and the shoulders follow the head a little and breathe."""

import numpy as np

from talking_head.face.points import OVAL

DEEPEST = -8.5  # cm: depth limit of points; the outline of a head is at its widest part
NECK = (0.8, 9.5)  # cm below the chin: start and end of the transition from head to shoulders
REACH = (1.85, 2.3)  # radii of the face: start and end of the fade of head movement; beyond may be another person
CARRIED = 0.5  # share of the shoulders' movement that the head follows
FADED = 0.2  # share of the moving box: width of the fade of shoulder movement at its edge
LEAN = np.array([[0, 4.0, -2.0], [-2.0, 0, 0]])  # cm right and up of the shoulders per radian of pitch, yaw, roll
LAG = 0.35  # seconds of lag of the shoulders
BREATH, BREATHS = 0.09, 4.0  # cm, seconds


def smooth(share: np.ndarray) -> np.ndarray:
    """Smoothstep of a value clipped to [0, 1]."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


def follow(points: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (n,) of head movement and of shoulder movement at ``points`` (n, 3) in cm around a face (478, 3) in
    canonical axes; head and hair have both."""
    middle = face[OVAL, :2].mean(0)
    radius = np.abs(face[OVAL, :2] - middle).max()
    far = np.hypot(*(points[:, :2] - middle).T) / radius
    below = face[152, 1] - points[:, 1]
    neck = smooth((below - NECK[0]) / (NECK[1] - NECK[0]))
    head = (1 - neck) * (1 - smooth((far - REACH[0]) / (REACH[1] - REACH[0])))
    return head, CARRIED + (1 - CARRIED) * neck


def faded(count: int, low: np.ndarray, size: np.ndarray, whole: tuple[int, int]) -> np.ndarray:
    """Fade (count * count,) in [0, 1] on a grid over the box from ``low`` with ``size``, in a picture of ``whole``
    pixels: 0 at edges of the box inside the picture."""
    place = (np.arange(count) + 0.5) / count
    rows = []
    for i in range(2):
        ramp = np.ones(count)
        if low[i] > 0:
            ramp *= smooth(place / FADED)
        if low[i] + size[i] < whole[i]:
            ramp *= smooth((1 - place) / FADED)
        rows.append(ramp)
    return (rows[1][:, None] * rows[0]).ravel()


def sway(turns: np.ndarray, fps: float) -> np.ndarray:
    """Shoulder displacements (t, 2) in cm right and up for head rotation vectors (t, 3); zero if the head is still."""
    if not np.any(turns):
        return np.zeros((len(turns), 2))
    lagged, share, at = np.empty(turns.shape), 1 - np.exp(-1 / (LAG * fps)), turns[0]
    for i, turn in enumerate(turns):
        at = lagged[i] = at + share * (turn - at)
    way = lagged @ LEAN.T
    way[:, 1] += BREATH * np.sin(2 * np.pi * np.arange(len(turns)) / (BREATHS * fps))
    return way
