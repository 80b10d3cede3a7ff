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
from gen.emotion.calibration import Calibration
from gen.emotion.resolve import resolve
from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track
from gen.errors import CheckpointError
from talking_head.motion.dice.model import SPREAD, MotionDenoiser
from talking_head.motion.expression import SPEECH
from talking_head.motion.speech import SpeechEncoder

FPS = 25
WINDOW, PREFIX, AHEAD = 54, 16, 10  # frames: of a window, of those the one before gave, heard past its end
SCALES = {"reference": 1.0, "audio": 1.3, "emotion": 1.0}
FEATURES = 55
SPOKEN = torch.cat((torch.from_numpy(SPEECH), torch.zeros(FEATURES - len(SPEECH), dtype=torch.bool)))


@dataclass(frozen=True)
class How:
    """How motion is drawn. A scale is a number or a function of the share of sampling that is done.

    Beyond an emotion scale of 1 the lips' part in speech stays that of scale 1: both are drawn, from the same noise.
    """

    steps: int = 8
    scales: Mapping[str, Scale] = field(default_factory=lambda: dict(SCALES))


class DiceMotion:
    """A trained denoiser and the speech encoder that it listens through."""

    def __init__(self, model: MotionDenoiser, speech: SpeechEncoder, device: str = "cpu"):
        self.model = model.float().to(device).eval().requires_grad_(False)
        self.speech = speech.float().eval().requires_grad_(False)

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
        model = checkpoints.load(name, MotionDenoiser, "motion")
        return cls(model, checkpoints.load(name, SpeechEncoder, "speech"), device)

    def whole(self, features: Tensor, curve: EmotionCurve, seed: int = 0, how: How | None = None,
              progress: Callable[[float], None] = lambda done: None) -> np.ndarray:  # fmt: skip
        """Features (n, s) of a recording -> motion (n, 55)."""
        made = []
        for part in self.stream([features], curve, seed, how):
            made.append(part)
            progress(sum(map(len, made)) / len(features))
        return np.concatenate(made)

    @torch.inference_mode()
    def stream(self, features: Iterable[Tensor], curve: EmotionCurve, seed: int = 0,
               how: How | None = None) -> Iterator[np.ndarray]:  # fmt: skip
        """Pieces (m, s) of speech features as they come -> pieces of motion (k, 55) as soon as they can be made.

        A frame is made from what was heard up to 0.4 s after its window, however the sound came.
        """
        how, waiting, start, past, curve = how or How(), None, 0, None, resolve(curve)
        for piece in features:
            waiting = piece if waiting is None else torch.cat((waiting, piece))
            while len(waiting) >= WINDOW + AHEAD:
                past, fresh = self._window(waiting[: WINDOW + AHEAD], WINDOW, start, past, curve, seed, how)
                yield fresh
                start, waiting = start + len(fresh), waiting[WINDOW - PREFIX :]
        if waiting is not None and len(waiting) > (0 if past is None else PREFIX):
            yield self._window(waiting, len(waiting), start, past, curve, seed, how)[1]

    def _window(self, heard: Tensor, count: int, start: int, past: Tensor | None, curve: EmotionCurve,
                seed: int, how: How) -> tuple[Tensor, np.ndarray]:  # fmt: skip
        """Features from the known frames on, ``count`` frames to make -> the last PREFIX frames (b, k, 55), normalised,
        and the new ones as motion. ``start`` is the first new frame's place; the noise belongs to it and to the seed.
        """
        model, behind = self.model, 0 if past is None else PREFIX
        device, n, scales, b = model.mean.device, len(heard), dict(how.scales), 1
        if isinstance(scales["emotion"], (int, float)) and scales["emotion"] > 1:
            both, b = torch.tensor([1.0, scales["emotion"]], device=device), 2
            scales["emotion"] = both.view(1, 2, 1, 1).expand(how.steps, 2, 1, 1)
        known, given = torch.zeros(b, n, FEATURES, device=device), torch.zeros(b, n, dtype=torch.bool, device=device)
        if past is not None:
            known[:, :behind], given[:, :behind] = past, True
        at = (np.arange(n) + start - behind) / FPS
        felt = Calibration.linear(float(model.gain))(track(curve, at))
        prepared = {k: v.to(device) for k, v in model.emotion.prepare([felt]).items()}
        tokens = model.emotion(**prepared).tokens.expand(b, -1, -1)
        null = model.emotion.null.expand_as(tokens)
        face = model.normalise(torch.zeros(b, FEATURES, device=device))  # the photograph shows the face at rest
        speech = heard.to(device).expand(b, -1, -1)
        told = {"null": (None, None, null), "reference": (None, face, null), "audio": (speech, face, null),
                "emotion": (speech, face, tokens)}  # fmt: skip
        branches = {name: dict(zip(("heard", "felt"), model.condition(*parts)), known=known, given=given)
                    for name, parts in told.items()}  # fmt: skip
        draw = torch.Generator().manual_seed(seed * 1_000_003 + start)
        noise = torch.randn(1, n, FEATURES, generator=draw).to(device).expand(b, -1, -1)
        x = sample(model, scheduler(), noise, how.steps, branches, scales, generator=draw)[:, behind:count]
        drawn = torch.where(SPOKEN.to(device), x[0], x[-1])
        return x[:, -PREFIX:], model.restore(drawn).cpu().numpy()


def scheduler() -> EDMDPMSolverMultistepScheduler:
    """A second-order solver on Karras' noise levels, for few steps."""
    return EDMDPMSolverMultistepScheduler(sigma_min=0.002, sigma_max=10.0, sigma_data=SPREAD)
