"""Pose guider: features of the face box, added to the denoiser's first features."""

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from gen.network import ConfigMixin, ModelMixin, register_to_config


class PoseGuider(ModelMixin, ConfigMixin):
    """Pictures (n, 3, H, W) in [0, 1], white in the box -> (n, out, H / 8, W / 8)."""

    @register_to_config
    def __init__(self, channels: tuple[int, ...] = (16, 32, 96, 256), out: int = 320):
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        pairs = ((a, b, stride) for a, n in itertools.pairwise(channels) for b, stride in ((a, 1), (n, 2)))
        self.blocks = nn.ModuleList(nn.Conv2d(a, b, 3, stride, padding=1) for a, b, stride in pairs)
        self.conv_out = nn.Conv2d(channels[-1], out, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, box: Tensor) -> Tensor:
        x = F.silu(self.conv_in(box))
        for conv in self.blocks:
            x = F.silu(conv(x))
        return self.conv_out(x)
