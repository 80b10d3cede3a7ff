"""Motion from a recording and an emotion curve: the steps that all models of motion share.

A model predicts neutral lips, the expression is added, lips close at p, b and m, and blinks, glances and nods are
added. t frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gen.emotion.calibration import Calibration
from gen.emotion.resolve import resolve
from gen.emotion.spec import EmotionCurve
from gen.emotion.track import EmotionTrack, track
from talking_head.face.basis import FaceBasis
from talking_head.face.points import INDEX, side
from talking_head.motion import life
from talking_head.motion.expression import HIGHEST, LOWEST, MOUTH, express
from talking_head.motion.layer import Expression
from talking_head.motion.speech import FRAME, ROWS, log_mel

FPS = 25
BLOCK = 60 * 16_000  # samples per log-mel computation
LEAD = 7  # rows of 10 ms that lips lead the network: other people lead GRID by 4, and trackers are late by 3
LIKELY = (0.05, 0.10)  # probabilities of p, b, m above which the expression gives way; 97 % of them exceed the second
SURE = (0.33, 0.6)  # probabilities above which the lips close at any predicted opening
AGREED = (0.1, 0.2)  # cm of predicted opening: a likely closure is completed below the first, ignored above the second
GIVES_WAY = {"mouthUpperUp": 1.0, "mouthLowerDown": 1.0, "mouthFunnel": 0.7, "mouthShrugUpper": 0.7, "jawOpen": 0.45}
EVEN = (0.35, 0.7)  # nepers between quiet and loud frames: noise has less than the first, a voice more than the second
PAUSE = 50  # frames of silence after which the mouth is no longer speaking


class Motion(NamedTuple):
    """t frames at 25 a second."""

    coefs: np.ndarray  # (t, 52) ARKit coefficients
    turns: np.ndarray  # (t, 3) rotation vectors of the head from its resting pose, radians
    closed: np.ndarray  # (t,) in [0, 1]: how far the lips must close

    def lasting(self, count: int) -> Motion:
        """Exactly ``count`` frames: repeats the last one or drops surplus ones."""
        whole = lambda part: np.concatenate((part, np.repeat(part[-1:], max(0, count - len(part)), 0)))[:count]
        return Motion(*map(whole, self))

    def at_rate(self, fps: int) -> Motion:
        """Resampled from :data:`FPS` to ``fps`` frames per second."""
        return Motion(*(at_rate(part, fps) for part in self))


class Said(NamedTuple):
    """The output of a model for a recording."""

    coefs: np.ndarray  # (t, 52) without emotion
    closed: np.ndarray  # (t,) probability of closed lips
    turns: np.ndarray | None = None  # (t, 3) of the head, if the model predicts them


class Speaker:
    """Base class of the motion models. A subclass implements ``_say``; ``expression`` is None if the model shows it."""

    def __init__(self, expression: Expression | None, basis: FaceBasis, calibration: Calibration):
        self.expression = None if expression is None else expression.float().eval().requires_grad_(False)
        self.basis, self.calibration = basis, calibration

    def speak(self, samples: np.ndarray, curve: EmotionCurve, **options) -> Motion:
        """Mono samples at 16 kHz -> round(seconds * 25) frames of motion; ``options`` as of :meth:`from_rows`."""
        return self.from_rows(recorded(samples), curve, samples=samples, **options)

    @torch.inference_mode()
    def from_rows(
        self,
        rows,
        curve: EmotionCurve,
        *,
        seed: int = 0,
        head_motion: float = 0.6,
        blinks: bool = True,
        mouth: float = 1.0,
        emotion_scale: float = 1.0,
        samples: np.ndarray | None = None,
        progress: Callable[[float], None] = lambda done: None,
        **how,
    ) -> Motion:
        """:meth:`speak` for log-mel rows (4 t, 80) of a whole recording.

        ``mouth`` scales the motion of the mouth in speech, ``emotion_scale`` the expression; ``how`` goes to the model.
        """
        rows = torch.as_tensor(rows, dtype=torch.float32)
        count = len(rows) // ROWS
        told = self.calibration(track(resolve(curve), np.arange(count) / FPS))
        told = told.at_intensity(told.intensity * lively(count, seed))
        level = loudness(rows)
        said = self._say(ahead(rows), told, samples, seed, progress, **how)
        likely = contact(said.closed) * nearby(level > 0.05)
        closed = np.maximum(ramp(said.closed, SURE), 1 - ramp(self.basis.lip_gap(said.coefs), AGREED)) * likely
        coefs = steadied(said.coefs)
        coefs[:, MOUTH] *= mouth * audible(level)[:, None]
        coefs = sealed(coefs, closed, self.basis)
        if self.expression is not None:
            face = self.expression.face(told, emotion_scale)
            arousal = told.vad[:, 1] * told.intensity
            shown = express(coefs, face, speaking(level), effort(level), likely, arousal)
            coefs = sealed(shown, likely, self.basis, coefs)
        amount = told.intensity[:, None] * told.weights
        turns = life.head(count, level, amount, said.turns, np.random.default_rng((seed, 3)))
        coefs = life.enliven(coefs, level, seed, blinks).clip(LOWEST, HIGHEST)
        return Motion(coefs.astype(np.float32), (head_motion * turns).astype(np.float32), closed)

    def _say(
        self, rows: Tensor, told: EmotionTrack, samples: np.ndarray | None, seed: int, progress: Callable[[float], None]
    ) -> Said:
        """Predict neutral speech; ``rows`` (4 t, 80) are shifted by :func:`ahead`."""
        raise NotImplementedError


def at_rate(values: np.ndarray, fps: int) -> np.ndarray:
    """Resamples rows from :data:`FPS` to ``fps``, linearly interpolated between frame centres."""
    if fps == FPS:
        return values
    at = ((np.arange(round(len(values) * fps / FPS)) + 0.5) * FPS / fps - 0.5).clip(0, len(values) - 1)
    before = at.astype(int)
    share = (at - before).reshape(-1, *[1] * (values.ndim - 1))
    return values[before] * (1 - share) + values[np.minimum(before + 1, len(values) - 1)] * share


def recorded(samples: np.ndarray) -> Tensor:
    """Mono samples at 16 kHz -> log-mel rows (4 t, 80) of a whole number t of frames, at least one."""
    rows = torch.cat([log_mel(samples[at : at + BLOCK]) for at in range(0, max(1, len(samples)), BLOCK)])
    return rows[: max(1, round(len(samples) / FRAME)) * ROWS]


def ahead(rows: Tensor) -> Tensor:
    """The rows (n, 80) shifted by :data:`LEAD` into the future."""
    return torch.cat((rows[LEAD:], rows[-1:].expand(min(LEAD, len(rows)), -1)))


def lively(count: int, seed: int) -> np.ndarray:
    """(t,) slow random factors around 1 for the intensity."""
    return 1 + 0.08 * life.slow(count, 2.5, np.random.default_rng((seed, 2))).clip(-1.5, 1.5)


def nearby(loud: np.ndarray, frames: int = 8) -> np.ndarray:
    """(t,) True if a frame within ``frames`` is loud: closed lips cause short silences."""
    from scipy.ndimage import maximum_filter1d

    return maximum_filter1d(loud.astype(np.uint8), 2 * frames + 1, mode="nearest") > 0


def audible(level: np.ndarray) -> np.ndarray:
    """(t,) in [0, 1], 0 in silence, in which the lips do not move."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(nearby(level > 0.02, 4).astype(float), 2.0, mode="nearest")


def speaking(level: np.ndarray) -> np.ndarray:
    """(t,) in [0, 1], 1 during speech and short pauses."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(nearby(level > 0.05, PAUSE).astype(float), 6.0, mode="nearest")


def effort(level: np.ndarray) -> np.ndarray:
    """(t,) in [0, 1]: loudness, smoothed over a third of a second."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(level.astype(float), 4.0, mode="nearest").clip(0, 1)


def ramp(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """0 below the first limit, 1 above the second, linear between."""
    return ((values - limits[0]) / (limits[1] - limits[0])).clip(0, 1)


def contact(probability: np.ndarray) -> np.ndarray:
    """(t,) probability of p, b, m -> how far the lips must close: 1 above :data:`LIKELY`, .4 in the frames beside."""
    sure = ramp(probability, LIKELY)
    near = np.pad(sure, 1)
    return np.maximum(sure, 0.4 * np.maximum(near[:-2], near[2:])).astype(np.float32)


def loudness(rows: Tensor) -> np.ndarray:
    """Loudness (t,) in [0, 1] from rows (4 t, 80); 0 everywhere if the recording is steady noise."""
    level = rows.mean(-1).view(-1, ROWS).amax(-1).numpy()
    floor, low, top = np.percentile(level, (5, 20, 97))
    if top < -8.5:
        return np.zeros(len(level), np.float32)
    heard = ramp(top - low, EVEN) * ramp(level - floor, EVEN) if len(level) > FPS else 1.0
    return (heard * ((level - top + 3.0) / 3.0).clip(0, 1)).astype(np.float32)


def steadied(coefs: np.ndarray) -> np.ndarray:
    """Smooth brows, lids, cheeks and nose over time; the mouth is unchanged."""
    from scipy.ndimage import gaussian_filter1d

    calm = [i for name, i in INDEX.items() if not name.startswith(("jaw", "mouth"))]
    coefs = coefs.copy()
    coefs[:, calm] = gaussian_filter1d(coefs[:, calm], 2.5, axis=0, mode="nearest")
    return coefs


def sealed(coefs: np.ndarray, closed: np.ndarray, basis: FaceBasis, speech: np.ndarray | None = None) -> np.ndarray:
    """Close the lips by ``closed`` (t,): to the opening of ``speech`` (t, 52), or wholly without it. Coefficients that
    part the lips move towards those of ``speech``, or 0, and mouthClose removes the remaining gap.
    """
    rest = np.zeros_like(coefs) if speech is None else speech
    coefs = coefs.copy()
    for name, share in GIVES_WAY.items():
        part = side(name)
        coefs[:, part] += share * closed[:, None] * (rest[:, part] - coefs[:, part])
    gap = (basis.lip_gap(coefs) - basis.lip_gap(rest).clip(0, None)).clip(0, None)
    close = INDEX["mouthClose"]
    coefs[:, close] += closed * gap / -float(basis.lip_gap(np.eye(52)[close]))
    return coefs
