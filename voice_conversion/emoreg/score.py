"""The compact score network: residual convolutions over frames, told time, speaker, emotion and pitch.

Shapes: b batch, n frames, 80 mel bands, e width of an emotion token, c width of the condition.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gen import registry
from gen.diffusion import MeanReverting, draw, masked_mean, uniform_times, wide
from gen.network import ConfigMixin, ModelMixin, register_to_config
from voice_conversion import features, speaker
from voice_conversion.features import BANDS
from voice_conversion.layers import Block, Frames


class Voice(NamedTuple):
    """What the network is told beside the noisy mel: who says what, at which pitch, in which emotion."""

    mean: Tensor  # (b, n, 80) average voice
    octave: Tensor  # (b, n) log2 Hz, also where there is no voice
    voiced: Tensor  # (b, n) 0 or 1
    speaker: Tensor  # (b, 256)
    emotion: Tensor  # (b, n, e) tokens of a conditioner

    def cat(self, other: "Voice") -> "Voice":
        return Voice(*(torch.cat(pair) for pair in zip(self, other)))


def harmonics(octave: Tensor, voiced: Tensor) -> Tensor:
    """log2 Hz (b, n) -> (b, n, 80) where a band lies between the harmonics of the pitch: 1 on one, -1 between two.

    Fades out where a band, or the spectrum's window, holds several harmonics.
    """
    centre = torch.as_tensor(features.centres(), dtype=torch.float32, device=octave.device)
    width = torch.maximum(centre.diff(append=2 * centre[-1:] - centre[-2:-1]), torch.tensor(50.0))
    hz = 2 ** octave[..., None]
    fade = (1.6 - 2 * width / hz).clamp(0, 1)
    return (2 * math.pi * centre / hz).cos() * fade * voiced[..., None]


class Score(ModelMixin, ConfigMixin):
    """``forward(x (b, n, 80), t (b,), **Voice)`` -> the score of the diffusion at x."""

    @register_to_config
    def __init__(self, dim: int = 256, depth: int = 9, kernel: int = 3, condition: int = 192,
                 conditioner: str = "direction", conditioner_config: dict | None = None):  # fmt: skip
        super().__init__()
        self.sde = MeanReverting()
        self.emotion = registry.build("conditioner", conditioner, dim=condition, **(conditioner_config or {}))
        own = {k: v for k, v in self.emotion.config.items() if not k.startswith("_") and k not in ("dim", "priors")}
        self.register_to_config(conditioner_config=own)
        self.into = Frames(3 * BANDS + 2, dim, kernel)
        self.blocks = nn.ModuleList(Block(dim, kernel, 2 ** (i % 4)) for i in range(depth))
        self.time = nn.Sequential(nn.Linear(128, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.speaker = nn.Linear(speaker.SIZE, condition)
        self.modulate = nn.Linear(condition, 2 * dim)
        self.place = nn.Parameter(torch.zeros(depth, 2 * dim))
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, BANDS)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def velocity(self, x: Tensor, t: Tensor, voice: Voice) -> Tensor:
        """gamma z - sigma (x0 - mean): what both the noise and the clean mel follow from, at any t."""
        dtype = self.out.weight.dtype
        rates = torch.exp(torch.arange(64, device=t.device) * (-math.log(10_000.0) / 64))
        angles = 1000 * t[:, None] * rates
        told = self.time(torch.cat((angles.sin(), angles.cos()), -1).to(dtype))
        told = told + self.speaker((16 * voice.speaker).to(dtype))
        told = nn.functional.silu(told[:, None] + voice.emotion.to(dtype))
        scale, shift = self.modulate(told).chunk(2, -1)
        seen = (x - voice.mean, (voice.mean + 5) / 2, harmonics(voice.octave, voice.voiced),
                voice.octave[..., None] - 7.5, voice.voiced[..., None])  # fmt: skip
        y = self.into(torch.cat(seen, -1).to(dtype))
        for block, place in zip(self.blocks, self.place.to(scale.dtype)):
            a, b = place.chunk(2)
            y = block(y, scale + a, shift + b)
        return self.out(self.norm(y).to(y.dtype)).float()

    def forward(self, x: Tensor, t: Tensor, voice: Voice) -> Tensor:
        gamma = wide(self.sde.gamma(0.0, t), x)
        sigma = (1 - gamma**2).sqrt().clamp_min(1e-4)
        return -(x - voice.mean) - gamma / sigma * self.velocity(x, t, voice)

    def loss(self, x0: Tensor, voice: Voice, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Mean squared error of the velocity, which weighs the noise levels evenly (Salimans and Ho, ICLR 2022)."""
        t = self.sde.edge + (1 - 2 * self.sde.edge) * uniform_times(x0, generator)
        z = draw(x0, generator)
        centre, sigma = self.sde.marginal(x0, voice.mean, t)
        gamma = wide(self.sde.gamma(0.0, t), x0)
        target = gamma * z - sigma * (x0 - voice.mean)
        return masked_mean((self.velocity(centre + sigma * z, t, voice) - target).square(), mask[..., None])
