"""Facial expressions of emotions, and their combination with speech.

The amounts at intensity 1 are whole expressions: recognition is a threshold, and .6 of them is read half as often.
They began from Ekman and Friesen's EMFACS and Du, Tao and Martinez (PNAS 2014). Tracked coefficients of actors are no
source for sad, fear and disgust: trackers report too little of brows, nose and cheeks. t frames.
"""

import numpy as np

from gen.emotion import lexicon
from gen.emotion.spec import CANONICAL
from talking_head.face.points import ARKIT, INDEX, coefficients

FACES = {
    "neutral": {},
    # AU 6 + 12 + 25
    "happy": {
        "mouthSmile": 1.0,
        "cheekSquint": 0.6,
        "mouthUpperUp": 0.35,
        "mouthDimple": 0.3,
        "mouthLowerDown": 0.25,
        "eyeSquint": 0.3,
        "browOuterUp": 0.1,
    },
    # AU 1 + 4 + 15 (+ 17, 20)
    "sad": {
        "browInnerUp": 1.2,
        "browDown": 0.5,
        "browOuterUp": -0.4,
        "mouthFrown": 1.2,
        "mouthShrugLower": 0.2,
        "mouthStretch": 0.3,
        "mouthPress": 0.2,
        "eyeLookDown": 0.2,
    },
    # AU 1 + 2 + 5 + 26: brows and eyes carry it, because speech limits the jaw
    "surprise": {
        "browInnerUp": 1.0,
        "browOuterUp": 1.4,
        "eyeWide": 1.4,
        "jawOpen": 0.85,
        "mouthFunnel": 0.35,
        "mouthUpperUp": 0.15,
    },
    # AU 1 + 4 + 5 + 20 + 15 + 25 + 26 (+ 2): wide eyes, brows raised in the middle, mouth stretched and open; teeth
    # without lowered corners are recognised as a smile
    "fear": {
        "browInnerUp": 1.35,
        "browOuterUp": 0.4,
        "browDown": 0.3,
        "eyeWide": 1.6,
        "eyeSquint": 0.1,
        "mouthFrown": 0.7,
        "mouthStretch": 1.3,
        "mouthLowerDown": 0.6,
        "mouthUpperUp": 0.3,
        "jawOpen": 0.45,
    },
    # AU 4 + 7 + 9 + 10 + 15 + 17: a raised chin and an almost closed mouth distinguish it from anger
    "disgust": {
        "browDown": 0.7,
        "noseSneer": 1.1,
        "cheekSquint": 0.3,
        "eyeSquint": 1.0,
        "mouthUpperUp": 0.65,
        "mouthFrown": 0.9,
        "mouthShrugLower": 0.7,
        "eyeBlink": 0.25,
    },
    # AU 4 + 5 + 9 + 10 + 16 + 25 + 26: narrowed eyes and pressed lips are not recognised
    "anger": {
        "browDown": 1.25,
        "browInnerUp": -0.2,
        "eyeWide": 0.2,
        "noseSneer": 0.9,
        "mouthFrown": 0.8,
        "mouthStretch": 0.3,
        "mouthUpperUp": 0.5,
        "mouthLowerDown": 0.65,
        "mouthFunnel": 0.35,
        "jawOpen": 0.45,
    },
    # AU 14 (+ 12) on one side, under raised brows and lowered lids
    "contempt": {
        "browOuterUp": 0.75,
        "browInnerUp": 0.5,
        "mouthDimpleLeft": 0.9,
        "mouthSmileLeft": 0.5,
        "mouthUpperUpLeft": 0.5,
        "mouthLeft": 0.35,
        "eyeBlink": 0.2,
        "eyeSquint": 0.2,
        "eyeLookDown": 0.15,
    },
}
TABLE = np.stack([coefficients(FACES[name]) for name in CANONICAL])  # (8, 52)
# per unit of valence, arousal and dominance that a point has beyond its mix of the eight (3, 52)
BEYOND = np.stack(
    [
        coefficients({"mouthSmile": 0.4, "cheekSquint": 0.2, "mouthFrown": -0.2}),
        coefficients(
            {"eyeWide": 0.3, "browOuterUp": 0.2, "eyeBlink": -0.2, "mouthUpperUp": 0.1, "mouthLowerDown": 0.1}
        ),
        coefficients({"browDown": 0.25, "browInnerUp": -0.25}),
    ]
)
LOWEST, HIGHEST = np.where([name.startswith("brow") for name in ARKIT], -0.7, -0.2), 1.8

_KEEPS = (
    {"jawOpen": 0.6}
    | dict.fromkeys(("mouthSmile", "mouthFrown"), 1.0)
    | dict.fromkeys(("mouthFunnel", "mouthPress", "mouthShrug", "mouthRoll"), 0.4)
)
# factor of an expression's coefficients during speech
SPOKEN = np.array(
    [
        next((v for k, v in _KEEPS.items() if name.startswith(k)), 0.9 if name.startswith("mouth") else 1.0)
        for name in ARKIT
    ]
)
PARTING = np.array(
    [name.startswith(("jawOpen", "mouthUpperUp", "mouthLowerDown", "mouthFunnel", "mouthStretch")) for name in ARKIT]
)
OPENING = np.array([name.startswith(("jawOpen", "mouthUpperUp", "mouthLowerDown", "mouthFunnel")) for name in ARKIT])
MOUTH = np.array([name.startswith(("jaw", "mouth")) for name in ARKIT])
# coefficients of speech
SPEECH = np.array(
    [
        name.startswith(
            (
                "jawOpen",
                "mouthClose",
                "mouthFunnel",
                "mouthPucker",
                "mouthRoll",
                "mouthShrug",
                "mouthPress",
                "mouthLowerDown",
                "mouthUpperUp",
            )
        )
        for name in ARKIT
    ]
)
JAW, PUCKER, FUNNEL = INDEX["jawOpen"], INDEX["mouthPucker"], INDEX["mouthFunnel"]
WIDER = 0.3  # extra jaw movement per unit of arousal
WIDE, SHARED = 0.35, 0.4  # jawOpen of a mouth opened wide by speech; reduction of an expression's opening then
CALM = 0.8  # factor of an expression's opening for a quiet voice


def target(weights: np.ndarray, vad: np.ndarray) -> np.ndarray:
    """Expression (t, 52) at intensity 1 of emotion mixes (t, 8) at points vad (t, 3)."""
    beyond = vad - weights @ lexicon.canonical()[0]
    return (weights.clip(-1, 1) @ TABLE + beyond @ BEYOND).astype(np.float32)


def express(
    speech: np.ndarray,
    face: np.ndarray,
    speaking: np.ndarray,
    effort: np.ndarray,
    closed: np.ndarray,
    arousal: np.ndarray,
) -> np.ndarray:
    """Neutral speech motion (t, 52) with an expression (t, 52) over it.

    All (t,): ``speaking`` whether the mouth speaks, ``effort`` how loud it does, ``closed`` whether its lips must meet,
    all in [0, 1]; ``arousal`` in [-2, 2].
    """
    kept = 1 - speaking[:, None] * (1 - SPOKEN)
    kept = kept * np.where(OPENING, 1 - ((1 - CALM) * speaking * (1 - effort))[:, None], 1.0)
    open_ = (speech[:, JAW] / WIDE).clip(0, 1)
    kept = kept * np.where(OPENING, 1 - SHARED * open_[:, None], 1.0)
    kept = kept * np.where(PARTING, 1 - closed[:, None], 1.0)
    rounded = (speech[:, PUCKER] + speech[:, FUNNEL]).clip(0, 1)
    kept = kept * np.where(MOUTH, 1 - 0.5 * rounded[:, None], 1.0)
    speech = speech.copy()
    speech[:, JAW] *= (1 + WIDER * arousal).clip(0.5, 1.5)
    return (speech + face * kept).clip(LOWEST, HIGHEST)
