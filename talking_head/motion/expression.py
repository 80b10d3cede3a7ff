"""Which movements make up which expression, and how an expression lies over speech.

Facial actions per emotion follow Ekman and Friesen's EMFACS and Du, Tao and Martinez (PNAS 2014); amounts were found
by eye, and for sad, anger and contempt by how MEAD's actors do it while they speak: they squint more and frown less.
What an expression does to the lips gives way where speech needs them.
"""

import numpy as np
import torch
from torch import Tensor

from gen.emotion.spec import CANONICAL
from talking_head.face.points import ARKIT, INDEX, coefficients

FACES = {
    "neutral": {},
    # AU 6 + 12 (+ 25)
    "happy": {"mouthSmile": 0.8, "cheekSquint": 0.6, "eyeSquint": 0.35, "mouthUpperUp": 0.35, "mouthDimple": 0.2,
              "mouthLowerDown": 0.1, "jawOpen": 0.08, "browOuterUp": 0.1},
    # AU 1 + 4 + 15 (+ 7, 17)
    "sad": {"browInnerUp": 0.9, "browOuterUp": -0.3, "mouthFrown": 0.75, "browDown": 0.2, "eyeSquint": 0.5,
            "cheekSquint": 0.15, "eyeBlink": 0.1, "mouthShrugLower": 0.15, "eyeLookDown": 0.1, "mouthLowerDown": 0.1},
    # AU 1 + 2 + 5 + 26
    "surprise": {"browInnerUp": 0.6, "browOuterUp": 0.9, "eyeWide": 0.75, "jawOpen": 0.5, "mouthFunnel": 0.15},
    # AU 1 + 2 + 4 + 5 + 20
    "fear": {"browInnerUp": 0.75, "browOuterUp": 0.2, "browDown": 0.15, "eyeWide": 1.0, "mouthStretch": 0.65,
             "jawOpen": 0.15, "mouthLowerDown": 0.42, "mouthFrown": 0.5, "mouthUpperUp": 0.17},
    # AU 9 + 10 + 4 + 15
    "disgust": {"noseSneer": 0.75, "mouthUpperUp": 0.55, "browDown": 0.6, "eyeSquint": 0.65, "cheekSquint": 0.7,
                "mouthFrown": 0.6, "mouthShrugLower": 0.3, "jawOpen": 0.06},
    # AU 4 + 7 + 10 (+ 23, 25)
    "anger": {"browDown": 1.0, "browInnerUp": -0.2, "browOuterUp": -0.25, "eyeSquint": 0.7, "noseSneer": 0.2,
              "mouthUpperUp": 0.3, "mouthFrown": 0.25, "mouthLowerDown": 0.25, "jawOpen": 0.15, "mouthPress": 0.15},
    # AU 14 (+ 12) on one side, under raised brows and lowered lids
    "contempt": {"browOuterUp": 0.75, "browInnerUp": 0.6, "mouthDimpleLeft": 0.9, "mouthSmileLeft": 0.4,
                 "mouthUpperUpLeft": 0.45, "mouthLeft": 0.35, "eyeBlink": 0.15, "eyeSquint": 0.2, "eyeLookDown": 0.1},
}  # fmt: skip
TABLE = torch.from_numpy(np.stack([coefficients(FACES[name]) for name in CANONICAL]))  # (8, 52)
LIVELY = torch.tensor([0.0, 0.15, -0.2, 0.15, 0.1, 0.0, 0.2, -0.1])  # how much wider the jaw moves, at intensity 1

_KEEPS = {"mouthSmile": 1.0, "mouthFrown": 1.0, "jawOpen": 0.25, "mouthFunnel": 0.15, "mouthPucker": 0.15,
          "mouthClose": 0.15}  # fmt: skip
# what speech moves, (52,) bool
SPEECH = np.array([name.startswith(("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRoll", "mouthShrug",
                                    "mouthPress", "mouthLowerDown", "mouthUpperUp")) for name in ARKIT])  # fmt: skip
# what is left of an expression's coefficient while the mouth speaks
SPOKEN = torch.tensor([
    next((v for k, v in _KEEPS.items() if name.startswith(k)), 0.55 if name.startswith("mouth") else 1.0)
    for name in ARKIT
])  # fmt: skip
PARTING = torch.tensor([
    name.startswith(("jawOpen", "mouthUpperUp", "mouthLowerDown", "mouthFunnel", "mouthStretch")) for name in ARKIT
])  # fmt: skip
MOUTH = torch.tensor([name.startswith(("jaw", "mouth")) for name in ARKIT])
JAW, PUCKER, FUNNEL = INDEX["jawOpen"], INDEX["mouthPucker"], INDEX["mouthFunnel"]


def strength(intensity: Tensor) -> Tensor:
    """How far an expression goes: steeper at first, since weak ones are hard to see; 1 at intensity 1."""
    x = intensity.clamp(0, 2)
    return torch.where(x < 1, x.clamp_min(1e-6) ** 0.8 * (x > 0), 0.2 + 0.8 * x)


def express(speech: Tensor, weights: Tensor, intensity: Tensor, active: Tensor, closed: Tensor) -> Tensor:
    """Neutral speech motion (b, t, 52) with an expression over it.

    weights (b, t, 8), intensity (b, t); active and closed (b, t) in [0, 1]: whether the mouth speaks, and whether its
    lips must meet.
    """
    weights = weights.clamp(-1, 1)
    amount = strength(intensity)[..., None]
    face = (weights @ TABLE).clamp(-0.3, 1.0) * amount
    kept = 1 - active[..., None] * (1 - SPOKEN)
    face = face * kept * torch.where(PARTING, 1 - closed[..., None], torch.ones(()))
    rounded = (speech[..., PUCKER] + speech[..., FUNNEL]).clamp(0, 1)
    face = torch.where(MOUTH, face * (1 - 0.5 * rounded)[..., None], face)
    wider = 1 + (weights @ LIVELY)[..., None] * amount
    jaw = torch.zeros(len(ARKIT))
    jaw[JAW] = 1
    return (speech * (1 + jaw * (wider - 1)) + face).clamp(-0.2, 1.2)
