"""Guided denoising of latents in moving windows. b branches, n frames of the clip, f of a window."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from diffusers.schedulers import EulerDiscreteScheduler
from torch import Tensor

from gen.diffusion import Scale, branch_weights
from talking_head.video.schedule import TAIL, WINDOW, shifts, windows
from talking_head.video.unet import Contexts, VideoUNet

BRANCHES = ("null", "reference", "audio", "emotion")
SCALES = {"reference": 3.0, "audio": 6.0, "emotion": 6.0}  # as published, where one scale served speech and emotion


def scheduler() -> EulerDiscreteScheduler:
    """Stable Video Diffusion's: v-prediction on Karras' noise levels from 700 down to 0.002."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
        timestep_type="continuous",
        timestep_spacing="leading",
        steps_offset=1,
    )


@dataclass(frozen=True)
class Plan:
    """Sampling options. ``parity`` reproduces upstream, with its frames that are discarded."""

    steps: int = 25
    parity: bool = False
    continued: bool = False  # a time axis with ends in place of a circle
    batched: bool = True  # the branches of guidance side by side; otherwise one after the other, in less memory
    reuse: int = 1  # deep features serve so many steps; 1 works all out
    scales: Mapping[str, Scale] = field(default_factory=lambda: dict(SCALES))

    @property
    def tail(self) -> int:
        return TAIL if self.parity else 0


@dataclass
class Inputs:
    """A clip's conditions; the first of a pair is the unconditional one. c context width."""

    latent: Tensor  # (1, 4, h, w) of the reference, not scaled
    start: Tensor  # (1, 4, h, w) scaled: what the noise lies on
    portrait: Tensor  # (1, 1, c)
    audio: tuple[Tensor, Tensor]  # (1, 1, 32, c), (1, n, 32, c)
    emotion: tuple[Tensor, Tensor] | None  # (1, 1, 32, c), (1, n or 1, 32, c); None for a network without
    mask: Tensor  # (1, H, W)
    pose: Tensor | None  # (1, 1, d, h, w)

    def branch(self, name: str, frames: Tensor) -> tuple[Tensor, Contexts]:
        """Reference latent (1, 4, h, w) and contexts of one branch over a window."""
        level = BRANCHES.index(name)
        pick = lambda x: x if x.shape[1] == 1 else x[:, frames]
        tokens = [pick(self.audio[level >= 2])]
        if self.emotion is not None:
            tokens.append(pick(self.emotion[level >= 3]))
        known = float(level >= 1)
        return self.latent * known, Contexts(self.portrait * known, tuple(tokens), (1.0, 1.0), self.mask)


def joined(parts: list[Contexts]) -> Contexts:
    """Contexts of several branches as one batch."""
    tokens = []
    for kind in zip(*(part.tokens for part in parts)):
        frames = max(x.shape[1] for x in kind)
        tokens.append(torch.cat([x.expand(-1, frames, -1, -1) for x in kind]))
    first = parts[0]
    return Contexts(
        torch.cat([p.portrait for p in parts]), tuple(tokens), first.strengths, torch.cat([p.mask for p in parts])
    )


class Sampler:
    """Runs the network over a clip. ``strengths`` are those of the adapters."""

    def __init__(self, unet: VideoUNet, plan: Plan, strengths: tuple[float, float] = (1.0, 1.0)):
        self.unet, self.plan, self.strengths = unet, plan, strengths
        self.deep: dict[str, Tensor] = {}

    @torch.no_grad()
    def run(self, inputs: Inputs, noise: Tensor, progress: Callable[[float], None] = lambda done: None) -> Tensor:
        """Unit noise (1, n, 4, h, w), tail included -> scaled latents of that shape."""
        plan, rule = self.plan, scheduler()
        rule.set_timesteps(plan.steps)  # on the CPU: on a device it would read back each of them
        rule.set_begin_index(0)
        rule.timesteps = rule.timesteps.to(noise.device)
        x = inputs.start[:, None] + noise * rule.sigmas[0].to(noise)
        for step, time in enumerate(rule.timesteps):
            # one Euler step of the mean velocity is the mean of the windows' Euler steps
            velocity = self.velocity(rule.scale_model_input(x, time), time, inputs, step)
            x = rule.step(velocity, time, x).prev_sample.to(x.dtype)
            progress((step + 1) / plan.steps)
        return x

    def velocity(self, x: Tensor, time: Tensor, inputs: Inputs, step: int) -> Tensor:
        """Scaled noisy latents (1, n, 4, h, w) at a step -> the guided velocity, a mean where windows overlap."""
        frames, shift = x.shape[1], shifts(self.plan.steps)[step]
        weights = self._weights(inputs, step)
        fresh = step % self.plan.reuse == 0 or not weights.keys() <= self.deep.keys()
        total, count = torch.zeros_like(x), x.new_zeros(1, frames, 1, 1, 1)
        for places in windows(frames, shift, WINDOW, self.plan.continued):
            window = (torch.arange(len(places), device=x.device) + places[0]) % frames
            total[:, window] += self._window(x[:, window], time, inputs, window, weights, fresh, frames)
            count[:, window] += 1
        return total / count

    def _weights(self, inputs: Inputs, step: int) -> dict[str, float | Tensor]:
        """The weight of each branch at this step, if not 0; tensors are (n, 1, 1, 1)."""
        names = list(BRANCHES if inputs.emotion is not None else BRANCHES[:3])
        scales = {name: scale for name, scale in self.plan.scales.items() if name in names}
        found = branch_weights(names, scales, step / max(self.plan.steps - 1, 1))
        return {name: w for name, w in found.items() if isinstance(w, Tensor) or w}

    def _window(
        self, x: Tensor, time: Tensor, inputs: Inputs, window: Tensor, weights: dict, fresh: bool, frames: int
    ) -> Tensor:
        """(1, f, 4, h, w) -> the guided velocity of one window."""
        names = list(weights)
        groups = [names] if self.plan.batched else [[name] for name in names]
        total = torch.zeros_like(x)
        for group in groups:
            latents, contexts = zip(*(inputs.branch(name, window) for name in group))
            latent = torch.cat(latents)[:, None].expand(-1, x.shape[1], -1, -1, -1)
            sample = torch.cat((x.expand(len(group), -1, -1, -1, -1), latent), 2)
            told = joined(list(contexts))
            told.strengths = self.strengths
            deep = None if fresh else torch.cat([self.deep[name][window] for name in group])
            out = self.unet(sample, time.expand(len(group)), told, inputs.pose, deep=deep)
            if self.plan.reuse > 1 and fresh:
                self._remember(group, window, frames, out.deep)
            for name, velocity in zip(group, out.velocity):
                weight = weights[name]
                total += (weight[window] if isinstance(weight, Tensor) and len(weight) == frames else weight) * velocity
        return total

    def _remember(self, group: list[str], window: Tensor, frames: int, deep: Tensor) -> None:
        """Keep the deep features (b f, d, h, w) of each branch by the clip's frames."""
        for name, part in zip(group, deep.chunk(len(group))):
            if name not in self.deep:
                self.deep[name] = part.new_zeros(frames, *part.shape[1:])
            self.deep[name][window] = part
