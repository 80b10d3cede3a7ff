"""From sound and an emotion curve to face motion of any length, a window at a time, each told the end of the last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from diffusers.schedulers import EDMDPMSolverMultistepScheduler
from torch import Tensor

from gen import checkpoints
from gen.diffusion import Scale, sample
from gen.emotion.features import FACE
from gen.emotion.spec import EmotionCurve
from gen.errors import CheckpointError
from talking_head.dice.motion.model import MotionDenoiser
from talking_head.dice.speech import FRAME, HOP, log_mel

FPS = 25
ROWS = FRAME // HOP  # of mel in a frame
WINDOW, PREFIX, AHEAD = 54, 16, 10  # frames: of a window, of those the one before gave, heard past its end
SCALES = {"reference": 1.0, "audio": 1.5, "emotion": 1.5}


@dataclass(frozen=True)
class How:
    """How motion is drawn. A scale is a number or a function of the share of sampling that is done."""

    steps: int = 8
    scales: Mapping[str, Scale] = field(default_factory=lambda: dict(SCALES))


def sound(samples: np.ndarray) -> Tensor:
    """Mono samples at 16 kHz -> rows (n, 320) of round(seconds * 25) frames: four of log-mel each, side by side.

    Loudness counts from that of the whole recording; give a recording whole.
    """
    count = max(1, round(len(samples) / FRAME))
    padded = np.zeros(max(count * FRAME, 400), np.float32)
    padded[: min(len(samples), count * FRAME)] = samples[: count * FRAME]
    return log_mel(torch.from_numpy(padded))[: count * ROWS].unflatten(0, (count, ROWS)).flatten(1)


class DiceMotion:
    """A trained denoiser."""

    def __init__(self, model: MotionDenoiser, device: str = "cpu"):
        self.model = model.float().to(device).eval().requires_grad_(False)

    @classmethod
    def load(cls, name: str = "dice-compact", device: str = "cpu") -> DiceMotion:
        """A checkpoint; CheckpointError says how to come by one."""
        try:
            checkpoints.folder(name)
        except CheckpointError as error:
            raise CheckpointError(
                f"There is no checkpoint {name!r} of the motion model: train one with "
                "`affekt train dice --data DIR --out OUT` and give OUT/checkpoint."
            ) from error
        return cls(checkpoints.load(name, MotionDenoiser), device)

    def generate(self, samples: np.ndarray, curve: EmotionCurve, rest: np.ndarray | None = None, seed: int = 0,
                 how: How | None = None,
                 progress: Callable[[float], None] = lambda done: None) -> np.ndarray:  # fmt: skip
        """Mono sound at 16 kHz, an emotion over its seconds, a face at rest (58,) -> motion (n, 58)."""
        rows, made = sound(samples), []
        for part in self.stream([rows], curve, rest, seed, how):
            made.append(part)
            progress(sum(map(len, made)) / len(rows))
        return np.concatenate(made)

    def speak(self, samples: np.ndarray, curve: EmotionCurve, rest: np.ndarray | None = None, *, seed: int = 0,
              head_motion: float = 1.0, how: How | None = None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """As :meth:`generate`, for a renderer: coefficients (n, 52) counted from the face at rest, and the head's
        rotation vectors (n, 3) in radians, ``head_motion`` times as wide as they were drawn."""
        made = self.generate(samples, curve, rest, seed, how)
        still = self.model.mean[:52].cpu().numpy() if rest is None else rest[:52]
        return made[:, :52] - still, head_motion * turns(made)

    @torch.inference_mode()
    def stream(self, rows: Iterable[Tensor], curve: EmotionCurve, rest: np.ndarray | None = None, seed: int = 0,
               how: How | None = None) -> Iterator[np.ndarray]:  # fmt: skip
        """Pieces of :func:`sound`'s rows as they come -> pieces of motion as soon as they can be made.

        A frame is made from what was heard up to 0.4 s after its window, however the rows came.
        """
        how, waiting, start, past = how or How(), None, 0, None
        for piece in rows:
            waiting = piece if waiting is None else torch.cat((waiting, piece))
            while len(waiting) >= WINDOW + AHEAD:
                past, fresh = self._window(waiting[: WINDOW + AHEAD], WINDOW, start, past, curve, rest, seed, how)
                yield fresh
                start, waiting = start + len(fresh), waiting[WINDOW - PREFIX :]
        if waiting is not None and len(waiting) > (0 if past is None else PREFIX):
            yield self._window(waiting, len(waiting), start, past, curve, rest, seed, how)[1]

    def _window(self, heard: Tensor, count: int, start: int, past: Tensor | None, curve: EmotionCurve,
                rest: np.ndarray | None, seed: int, how: How) -> tuple[Tensor, np.ndarray]:  # fmt: skip
        """Rows from the known frames on, ``count`` of them to make -> the last PREFIX frames, normalised, and the new
        frames as motion. ``start`` is the place of the first new frame; the noise belongs to it and to the seed.
        """
        model, behind = self.model, 0 if past is None else PREFIX
        device, n = model.mean.device, len(heard)
        known, given = torch.zeros(1, n, FACE, device=device), torch.zeros(1, n, dtype=torch.bool, device=device)
        if past is not None:
            known[0, :behind], given[0, :behind] = past, True
        at = (np.arange(n) + start - behind) / FPS
        prepared = {k: v.to(device) for k, v in model.emotion.prepare([curve], at).items()}
        tokens = model.emotion(**prepared).tokens
        null = model.emotion.null.expand_as(tokens)
        face = None if rest is None else model.normalise(torch.from_numpy(np.float32(rest)).to(device))[None]
        speech = heard[None].to(device)
        told = {"null": (None, None, null), "reference": (None, face, null), "audio": (speech, face, null),
                "emotion": (speech, face, tokens)}  # fmt: skip
        branches = {name: {"condition": model.condition(*parts).expand(1, n, -1), "known": known, "given": given}
                    for name, parts in told.items()}  # fmt: skip
        draw = torch.Generator().manual_seed(seed * 1_000_003 + start)
        noise = torch.randn(1, n, FACE, generator=draw).to(device)
        x = sample(model, scheduler(), noise, how.steps, branches, how.scales, generator=draw)[0, behind:count]
        return x[-PREFIX:], model.restore(x).cpu().numpy()


def scheduler() -> EDMDPMSolverMultistepScheduler:
    """A second-order solver on Karras' noise levels, for few steps."""
    return EDMDPMSolverMultistepScheduler(sigma_min=0.002, sigma_max=30.0, sigma_data=1.0)


def turns(motion: np.ndarray) -> np.ndarray:
    """Motion (n, 58) -> rotation vectors of the head (n, 3), radians, as renderers want them."""
    return motion[:, 52:55] / 2
