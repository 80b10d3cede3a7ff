"""Neutral face motion of any length from speech features: windows, each conditioned on the end of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from diffusers.schedulers import EDMDPMSolverMultistepScheduler
from torch import Tensor

from gen import checkpoints
from gen.diffusion import sample
from gen.errors import CheckpointError
from talking_head.motion.dice.model import SPREAD, MotionDenoiser
from talking_head.motion.speech import SpeechEncoder

WINDOW, PREFIX, AHEAD = 54, 16, 10  # frames: of a window, known from the one before, of speech after its end
GUIDANCE = 1.3  # of speech
STEPS = 8
FEATURES = 55


class DiceMotion:
    """A trained denoiser and its speech encoder."""

    def __init__(self, model: MotionDenoiser, speech: SpeechEncoder, device: str = "cpu"):
        self.model = model.float().to(device).eval().requires_grad_(False)
        self.speech = speech.float().eval().requires_grad_(False)

    @classmethod
    def load(cls, name: str = "dice-compact", device: str = "cpu") -> DiceMotion:
        """Load a checkpoint; a missing one raises CheckpointError with the command that trains it."""
        try:
            checkpoints.folder(name)
        except CheckpointError as error:
            raise CheckpointError(
                f"There is no checkpoint {name!r} of the motion model: train one with "
                "`affekt train dice --data DIR --out OUT` and give OUT/checkpoint."
            ) from error
        model = checkpoints.load(name, MotionDenoiser, "motion")
        return cls(model, checkpoints.load(name, SpeechEncoder, "speech"), device)

    def whole(
        self, features: Tensor, seed: int = 0, steps: int = STEPS, progress: Callable[[float], None] = lambda done: None
    ) -> np.ndarray:
        """Features (n, s) of a recording -> motion (n, 55)."""
        made = []
        for part in self.stream([features], seed, steps):
            made.append(part)
            progress(sum(map(len, made)) / len(features))
        return np.concatenate(made)

    @torch.inference_mode()
    def stream(self, features: Iterable[Tensor], seed: int = 0, steps: int = STEPS) -> Iterator[np.ndarray]:
        """Pieces (m, s) of speech features -> pieces of motion (k, 55), each as early as possible.

        A window uses features up to 0.4 s after its end, so that the pieces' lengths do not change the result.
        """
        waiting, start, past = None, 0, None
        for piece in features:
            waiting = piece if waiting is None else torch.cat((waiting, piece))
            while len(waiting) >= WINDOW + AHEAD:
                past, fresh = self._window(waiting[: WINDOW + AHEAD], WINDOW, start, past, seed, steps)
                yield fresh
                start, waiting = start + len(fresh), waiting[WINDOW - PREFIX :]
        if waiting is not None and len(waiting) > (0 if past is None else PREFIX):
            yield self._window(waiting, len(waiting), start, past, seed, steps)[1]

    def _window(
        self, heard: Tensor, count: int, start: int, past: Tensor | None, seed: int, steps: int
    ) -> tuple[Tensor, np.ndarray]:
        """Features from the known frames on, ``count`` frames to make -> the last PREFIX frames (1, k, 55), normalised,
        and the new ones as motion. ``start`` is the first new frame's place; the noise belongs to it and to the seed.
        """
        model, behind, n = self.model, 0 if past is None else PREFIX, len(heard)
        device = model.mean.device
        known, given = torch.zeros(1, n, FEATURES, device=device), torch.zeros(1, n, dtype=torch.bool, device=device)
        if past is not None:
            known[:, :behind], given[:, :behind] = past, True
        face = model.normalise(torch.zeros(1, FEATURES, device=device))  # the photo shows the face at rest
        branches = {
            name: dict(zip(("heard", "face"), model.condition(speech, face)), known=known, given=given)
            for name, speech in (("null", None), ("audio", heard.to(device)[None]))
        }
        draw = torch.Generator().manual_seed(seed * 1_000_003 + start)
        noise = torch.randn(1, n, FEATURES, generator=draw).to(device)
        x = sample(model, scheduler(), noise, steps, branches, {"audio": GUIDANCE}, generator=draw)[:, behind:count]
        return x[:, -PREFIX:], model.restore(x[0]).cpu().numpy()


def scheduler() -> EDMDPMSolverMultistepScheduler:
    """Second-order solver on Karras' noise levels."""
    return EDMDPMSolverMultistepScheduler(sigma_min=0.002, sigma_max=10.0, sigma_data=SPREAD)
