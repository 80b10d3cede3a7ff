"""A photograph's own expression, which is taken away before another one is put on."""

import numpy as np

from talking_head.face.points import ARKIT, side

SHARES = {"mouthSmile": 1.3, "jawOpen": 1.05, "mouthUpperUp": 1.0, "mouthLowerDown": 1.0, "mouthFrown": 1.0,
          "mouthStretch": 1.0, "mouthDimple": 1.0, "mouthClose": 1.0, "browInnerUp": 0.5, "browOuterUp": 0.5,
          "browDown": 0.4}  # fmt: skip
RAISED = 0.8  # cheek raiser that goes with a smile of 1: the tracker never sees it


def own_expression(coefs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a photograph's coefficients (52,): its expression, and as much of it as is taken away for a face at rest."""
    had, own = np.zeros((2, len(ARKIT)), np.float32)
    for name, share in SHARES.items():
        had[side(name)] = min(1.0, share) * coefs[side(name)]
        own[side(name)] = share * coefs[side(name)]
    had[side("cheekSquint")] = own[side("cheekSquint")] = RAISED * coefs[side("mouthSmile")]
    return had, own
