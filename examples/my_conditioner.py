"""A custom conditioner: intensity as distance from neutral, the kind of emotion as a direction in VAD.

Train a generator with it:  python examples/my_conditioner.py train music --set conditioner=sphere --data DIR --out DIR
"""

import torch
from diffusers.configuration_utils import register_to_config
from torch import nn

from gen.emotion.conditioner import EmotionConditioner
from gen.registry import register


@register("conditioner", "sphere")
class SphereConditioner(EmotionConditioner):
    @register_to_config
    def __init__(self, dim: int, hidden: int = 64):
        super().__init__(dim)
        self.still = nn.Parameter(torch.zeros(dim))
        self.style = nn.Sequential(nn.Linear(3, hidden), nn.SiLU(), nn.Linear(hidden, dim))

    def embed(self, weights, vad, intensity, embedding, known):
        """(b n 8), (b n 3), (b n), (b n 256), (b n) of the track -> tokens (b n d), and a loss or 0."""
        radius = vad.norm(dim=-1, keepdim=True)
        style = self.style(vad / (radius + 0.1))
        return self.still + intensity[..., None] * radius * style, 0.0


if __name__ == "__main__":
    from gen.cli import main

    raise SystemExit(main())
