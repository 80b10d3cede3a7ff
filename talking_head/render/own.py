"""The photograph's expression, which is removed before another one is applied."""

import numpy as np

from talking_head.face.points import ARKIT, side

SHARES = {
    "mouthSmile": 1.3,
    "jawOpen": 1.05,
    "mouthUpperUp": 1.0,
    "mouthLowerDown": 1.0,
    "mouthFrown": 1.0,
    "mouthStretch": 1.0,
    "mouthDimple": 1.0,
    "mouthClose": 1.0,
    "browInnerUp": 0.5,
    "browOuterUp": 0.5,
    "browDown": 0.4,
}
RAISED = 0.8  # cheek raiser of a full smile: the tracker never reports it


def own_expression(coefs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the expression in a photograph's coefficients (52,), and the part removed for a neutral face."""
    had, own = np.zeros((2, len(ARKIT)), np.float32)
    for name, share in SHARES.items():
        had[side(name)] = min(1.0, share) * coefs[side(name)]
        own[side(name)] = share * coefs[side(name)]
    had[side("cheekSquint")] = own[side("cheekSquint")] = RAISED * coefs[side("mouthSmile")]
    return had, own
