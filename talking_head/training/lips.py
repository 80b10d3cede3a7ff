"""Agreement of predicted and tracked lips, for training and evaluation."""

import numpy as np
import torch

from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track
from talking_head.face.points import INDEX, MIRROR
from talking_head.motion.emote.model import STYLES, Emote
from talking_head.motion.expression import SPEECH
from talking_head.motion.speech import SpeechEncoder
from talking_head.training.corpus import Clip, own_spectrum

PARTS = {
    "jaw": ("jawOpen",),
    "close": ("mouthClose",),
    "pucker": ("mouthPucker",),
    "roll": ("mouthRollUpper",),
    "lower down": ("mouthLowerDownLeft", "mouthLowerDownRight"),
}


@torch.inference_mode()
def predict(speech: SpeechEncoder, emote: Emote, rows: np.ndarray, style: str = STYLES[0]) -> np.ndarray:
    """Rows (4 t, 80) of a whole clip -> neutral motion (t, 52)."""
    own = speech.mean_shift(*own_spectrum(rows))
    features, _ = speech(torch.from_numpy(rows.astype(np.float32))[None] + own)
    calm = track(EmotionCurve.parse("neutral @ 0"), np.arange(features.shape[1]))
    tokens = emote.emotion(**emote.emotion.prepare([calm])).tokens
    return emote(features, tokens, torch.tensor([STYLES.index(style)]))[0].float().numpy()


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-6 and b.std() > 1e-6 else 0.0


def _shifted(made: np.ndarray, real: np.ndarray, most: int) -> dict[int, float]:
    """Correlation for each delay of the prediction in frames."""
    inner = real[most : len(real) - most]
    return {k: correlation(made[most + k : len(made) - most + k], inner) for k in range(-most, most + 1)}


def lag(made: np.ndarray, real: np.ndarray, most: int = 8) -> int:
    """Delay of the prediction in frames with the best correlation."""
    found = _shifted(made, real, most)
    return max(found, key=found.get)


def at_best(made: np.ndarray, real: np.ndarray, most: int) -> float:
    """Correlation at the best lag of at most ``most`` frames."""
    return max(_shifted(made, real, most).values())


def part_of(motion: np.ndarray, name: str) -> np.ndarray:
    return motion[:, [INDEX[n] for n in PARTS[name]]].mean(1)


def pairs(speech: SpeechEncoder, emote: Emote, clips: list[Clip]) -> list[tuple[Clip, np.ndarray]]:
    """Each clip with its predicted motion, in the style of many voices."""
    return [(c, predict(speech, emote, c.rows)) for c in clips]


def agreement(speech: SpeechEncoder, emote: Emote, clips: list[Clip]) -> dict[str, float]:
    """Correlation of jaw, pucker and lower lip on held-out clips of GRID and of FACEGOOD."""
    found = {}
    for source in ("grid", "facegood"):
        held = pairs(speech, emote, [c for c in clips if c.part == "test" and c.source == source])
        for name in ("jaw", "pucker", "lower down"):
            if not held:
                continue
            each = [correlation(part_of(made, name), part_of(c.motion.astype(np.float32), name)) for c, made in held]
            found[f"{source} {name}"] = round(float(np.mean(each)), 3)
    return found


def calibrate(speech: SpeechEncoder, emote: Emote, clips: list[Clip], most: float = 1.6) -> None:
    """Set the model's gain: predictions of GRID training clips get the deviations of the truth."""
    held = pairs(speech, emote, [c for c in clips if c.source == "grid"][::8])
    real = np.concatenate([c.motion.astype(np.float32) for c, _ in held]).std(0)
    made = np.concatenate([m for _, m in held]).std(0)
    moving = SPEECH & (real > 0.008) & (made > 1e-3)
    gain = np.where(moving, np.clip(real / np.maximum(made, 1e-3), 0.8, most), 1.0)
    gain = (gain + gain[MIRROR]) / 2
    emote.gain.copy_(torch.from_numpy(gain.astype(np.float32)))
