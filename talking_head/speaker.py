"""From a recording and an emotion curve to motion, at any length: windows with overlaps, cross-faded."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from gen.emotion.spec import EmotionCurve
from talking_head import life
from talking_head.emote.expression import strength
from talking_head.emote.model import STYLES, Emote
from talking_head.emote.speech import CLOSED, FRAME, ROWS, SpeechEncoder, log_mel, spectrum
from talking_head.face.basis import FaceBasis
from talking_head.face.points import INDEX, side

FPS = 25
WINDOW, OVERLAP = 512, 64  # frames; both multiples of 8, the frames of a latent
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


class Speaker:
    """A trained encoder and EMOTE."""

    def __init__(self, speech: SpeechEncoder, emote: Emote, basis: FaceBasis):
        self.speech, self.emote = (m.float().eval().requires_grad_(False) for m in (speech, emote))
        self.basis = basis

    def speak(self, samples: np.ndarray, curve: EmotionCurve, *, seed: int = 0, head_motion: float = 0.6,
              blinks: bool = True, style: str = STYLES[0],
              progress: Callable[[float], None] = lambda done: None) -> Motion:  # fmt: skip
        """Mono samples at 16 kHz -> round(seconds * 25) frames of motion."""
        return self.from_rows(recorded(samples), curve, seed=seed, head_motion=head_motion, blinks=blinks,
                              style=style, progress=progress, samples=samples)  # fmt: skip

    @torch.inference_mode()
    def from_rows(self, rows, curve: EmotionCurve, *, seed: int = 0, head_motion: float = 0.6, blinks: bool = True,
                  style: str = STYLES[0], progress: Callable[[float], None] = lambda done: None,
                  samples: np.ndarray | None = None) -> Motion:  # fmt: skip
        """:meth:`speak` for log-mel rows (4 t, 80) of a whole recording."""
        rows = torch.as_tensor(rows, dtype=torch.float32)
        count = len(rows) // ROWS
        heard = curve.sample(np.arange(count) / FPS)
        lively = 1 + 0.10 * life.slow(count, 2.5, np.random.default_rng((seed, 2))).clip(-1.5, 1.5)
        intensity = (heard.intensity * lively).clip(0, 2).astype(np.float32)
        level = loudness(rows)
        hear = self._ears(rows, samples)
        coefs, closed = self._windows(hear, heard, intensity, STYLES.index(style), progress)
        closed = contact(closed) * nearby(level > 0.05)
        coefs = sealed(steadied(coefs), closed, self.basis)
        amount = strength(torch.from_numpy(intensity)).numpy()[:, None] * heard.weights
        turns = head_motion * life.head(count, level, amount, np.random.default_rng((seed, 3)))
        return Motion(life.enliven(coefs, level, seed, blinks).clip(-0.3, 1.1), turns.astype(np.float32), closed)

    def _ears(self, rows, samples) -> Callable[[slice], tuple[torch.Tensor, torch.Tensor]]:
        """Features (1, n, s) of a stretch of n frames, and its probability (n,) of closed lips."""
        own = self.speech.familiar(*spectrum(rows))

        def hear(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
            features, logits = self.speech(rows[None, part.start * ROWS : part.stop * ROWS] + own)
            return features, logits[0].softmax(-1)[:, CLOSED]

        return hear

    def _shown(self, made: np.ndarray) -> np.ndarray:
        """What the network moves -> coefficients (t, 52)."""
        return made

    def _windows(self, hear, heard, intensity, style: int, progress) -> tuple[np.ndarray, np.ndarray]:
        """(t, 52) motion and (t,) probability of closed lips."""
        count = len(intensity)
        coefs, closed, weight = np.zeros((count, 52)), np.zeros(count), np.zeros(count)
        for start in range(0, count, WINDOW - OVERLAP):
            part = slice(start, min(start + WINDOW, count))
            features, shut = hear(part)
            given = {"weights": heard.weights[part], "vad": heard.vad[part], "intensity": intensity[part]}
            tokens = self.emote.emotion(**{k: torch.from_numpy(v)[None] for k, v in given.items()}).tokens
            made = self._shown(self.emote(features, tokens, torch.tensor([style]))[0].numpy())
            fade = np.ones(len(made))
            ramp = (np.arange(OVERLAP) + 0.5) / OVERLAP
            if start:
                fade[:OVERLAP] = ramp[: len(fade)]
            if part.stop < count:
                fade[-OVERLAP:] *= ramp[::-1]
            coefs[part] += made * fade[:, None]
            closed[part] += shut.numpy() * fade
            weight[part] += fade
            progress(part.stop / count)
            if part.stop == count:
                break
        return coefs / weight[:, None], closed / weight


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
