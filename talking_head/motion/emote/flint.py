"""FLINT: a temporal variational autoencoder of facial motion, eight frames to a latent.

EMOTE (Danecek et al., SIGGRAPH Asia 2023), sec. 3.2, after Learning to Listen. f features of a frame, t frames a
multiple of 8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.network import ConfigMixin, ModelMixin, register_to_config
from talking_head.motion.emote.layers import BiasedLayer

SQUEEZE = 8  # frames to a latent


class Squasher(nn.Module):
    """A convolution, a leaky ReLU and a batch norm."""

    def __init__(self, source: int, dim: int, stride: int):
        super().__init__()
        self.conv = nn.Conv1d(source, dim, 5, stride, padding=2, padding_mode="replicate")
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(F.leaky_relu(self.conv(x), 0.2))


class MotionEncoder(nn.Module):
    """(b, t, f) -> mean and log-variance (b, t / 8, d)."""

    def __init__(self, features: int, dim: int, heads: int, ffn: int):
        super().__init__()
        self.squash = nn.ModuleList(Squasher(features if i == 0 else dim, dim, 2 - (i > 0)) for i in range(3))
        self.embed = nn.Linear(dim, dim)
        self.layer = BiasedLayer(dim, heads, ffn)
        self.mean, self.logvar = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        x = self.squash[0](motion.transpose(1, 2))
        for step in self.squash[1:]:
            x = F.max_pool1d(step(x), 2)
        x = self.layer(self.embed(x.transpose(1, 2)))
        return self.mean(x), self.logvar(x)


class MotionDecoder(nn.Module):
    """Latents (b, t / 8, d) -> (b, t, f)."""

    def __init__(self, features: int, dim: int, heads: int, ffn: int):
        super().__init__()
        self.grow = nn.ConvTranspose1d(dim, dim, 5, 2, padding=2, output_padding=1)
        self.grow_norm = nn.BatchNorm1d(dim)
        self.expand = nn.ModuleList(Squasher(dim, dim, 1) for _ in range(2))
        self.embed = nn.Linear(dim, dim)
        self.layer = BiasedLayer(dim, heads, ffn)
        self.after = nn.Linear(dim, dim)
        self.smooth = nn.Conv1d(dim, features, 5, padding=2)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.grow_norm(F.leaky_relu(self.grow(latents.transpose(1, 2)), 0.2))
        for step in self.expand:
            x = step(x).repeat_interleave(2, 2)
        x = self.after(self.layer(self.embed(x.transpose(1, 2))))
        return self.smooth(x.transpose(1, 2)).transpose(1, 2)


class Flint(ModelMixin, ConfigMixin):
    """The prior. ``features``: 52 coefficients here; expression and jaw (53 or 103) in the published ones."""

    @register_to_config
    def __init__(self, features: int = 52, dim: int = 128, heads: int = 8, ffn: int = 384):
        super().__init__()
        self.encoder = MotionEncoder(features, dim, heads, ffn)
        self.decoder = MotionDecoder(features, dim, heads, ffn)

    def forward(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """motion (b, t, f) -> its reconstruction and the KL divergence of the latents, summed over d (a scalar)."""
        mean, logvar = self.encoder(motion)
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        kl = 0.5 * (mean.float() ** 2 + logvar.float().exp() - 1 - logvar.float()).sum(-1).mean()
        return self.decoder(mean + (0.5 * logvar).exp() * noise), kl
