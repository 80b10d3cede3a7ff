"""Motion, and what every model of motion does with what it hears: loudness, lips that meet, faces without trembling."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from talking_head.face.basis import FaceBasis
from talking_head.face.points import INDEX, side
from talking_head.motion.speech import FRAME, ROWS, log_mel

FPS = 25
BLOCK = 60 * 16_000  # samples turned into rows at once
LIKELY = (0.05, 0.13)  # of training voices' p, b, m nine of ten pass the second, of all frames one in eleven
GIVES_WAY = {"mouthUpperUp": 1.0, "mouthLowerDown": 1.0, "mouthFunnel": 0.7, "mouthShrugUpper": 0.7, "jawOpen": 0.45}


class Motion(NamedTuple):
    """t frames at 25 a second."""

    coefs: np.ndarray  # (t, 52) ARKit coefficients
    turns: np.ndarray  # (t, 3) rotation vectors of the head from its resting pose, radians
    closed: np.ndarray  # (t,) in [0, 1]: whether lips must meet


def recorded(samples: np.ndarray) -> torch.Tensor:
    """Mono samples at 16 kHz -> log-mel rows (4 t, 80) of a whole number t of frames, at least one."""
    rows = torch.cat([log_mel(samples[at : at + BLOCK]) for at in range(0, max(1, len(samples)), BLOCK)])
    return rows[: max(1, round(len(samples) / FRAME)) * ROWS]


def nearby(loud: np.ndarray, frames: int = 8) -> np.ndarray:
    """(t,) whether it is loud within so many frames: lips that meet make silence."""
    from scipy.ndimage import maximum_filter1d

    return maximum_filter1d(loud.astype(np.uint8), 2 * frames + 1, mode="nearest") > 0


def contact(probability: np.ndarray) -> np.ndarray:
    """(t,) probability of p, b, m -> how far lips must meet: all the way where it is likely enough, on the way there in
    the frames around."""
    sure = ((probability - LIKELY[0]) / (LIKELY[1] - LIKELY[0])).clip(0, 1)
    near = np.pad(sure, 1)
    return np.maximum(sure, 0.4 * np.maximum(near[:-2], near[2:])).astype(np.float32)


def loudness(rows: torch.Tensor) -> np.ndarray:
    """(t,) in [0, 1], of rows (4 t, 80)."""
    level = rows.mean(-1).view(-1, ROWS).amax(-1).numpy()
    top = np.percentile(level, 97)
    if top < -8.5:
        return np.zeros(len(level), np.float32)
    return ((level - top + 3.0) / 3.0).clip(0, 1).astype(np.float32)


def steadied(coefs: np.ndarray) -> np.ndarray:
    """Brows, lids, cheeks and nose without frame-to-frame trembling; the mouth as it is."""
    from scipy.ndimage import gaussian_filter1d

    calm = [i for name, i in INDEX.items() if not name.startswith(("jaw", "mouth"))]
    coefs = coefs.copy()
    coefs[:, calm] = gaussian_filter1d(coefs[:, calm], 2.5, axis=0, mode="nearest")
    return coefs


def sealed(coefs: np.ndarray, closed: np.ndarray, basis: FaceBasis) -> np.ndarray:
    """Lips that meet where ``closed`` (t,) says so, whatever the expression: what parts them gives way, and
    mouthClose takes up the gap that is left."""
    coefs = coefs.copy()
    for name, share in GIVES_WAY.items():
        coefs[:, side(name)] *= 1 - share * closed[:, None]
    gap = basis.lip_gap(coefs).clip(0, None)
    close = INDEX["mouthClose"]
    coefs[:, close] += closed * gap / -float(basis.lip_gap(np.eye(52)[close]))
    return coefs
