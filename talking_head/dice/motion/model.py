"""The denoiser of face motion: a transformer whose every frame is told noise level, speech, face at rest and emotion.

DICE-Talk's conditions (ACM MM 2025) on motion in place of video: a dropped condition becomes a learned null, so that
reference, speech and emotion are guided apart. Positions are relative: a window may stand anywhere on the time axis.
"""

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gen.emotion.features import FACE
from gen.nn import AdaLN, Attention, FourierFeatures
from gen.registry import build


class Layer(nn.Module):
    """Attention over the frames and a feed-forward net, both told a condition per frame."""

    def __init__(self, dim: int, heads: int, ffn: int):
        super().__init__()
        self.norms = nn.ModuleList(AdaLN(dim, dim) for _ in range(2))
        self.attention = Attention(dim, heads)
        self.linear1, self.linear2 = nn.Linear(dim, ffn), nn.Linear(ffn, dim)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = self.norms[0](x, condition)
        x = x + self.attention(y, self.attention.remember(y))
        return x + self.linear2(F.gelu(self.linear1(self.norms[1](x, condition))))


class Listen(nn.Module):
    """Rows of sound (b, n, s) -> (b, n, d): each frame and its neighbours, up to 0.4 s away."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.project, self.norm = nn.Linear(size, dim), nn.LayerNorm(dim)
        self.convs = nn.ModuleList(nn.Conv1d(dim, dim, 5, padding=2 * d, dilation=d) for d in (1, 2, 2))

    def forward(self, rows: Tensor) -> Tensor:
        x = self.project(rows)
        for conv in self.convs:
            x = x + F.gelu(conv(x.mT)).mT
        return self.norm(x)


class MotionDenoiser(ModelMixin, ConfigMixin):
    """``conditioner`` is ``{"name": registered name, ...}``. Motion is in units of ``scale`` around ``mean``."""

    @register_to_config
    def __init__(self, features: int = FACE, speech: int = 320, dim: int = 160, layers: int = 6, heads: int = 4,
                 ffn: int = 384, conditioner: dict | None = None):  # fmt: skip
        super().__init__()
        chosen = dict(conditioner or {"name": "bank"})
        self.emotion = build("conditioner", chosen.pop("name"), dim=dim, **chosen)
        self.listen = Listen(speech, dim)
        self.silence, self.nobody = (nn.Parameter(0.5 * torch.randn(dim)) for _ in range(2))
        self.rest, self.time = nn.Linear(features, dim), FourierFeatures(1, dim, octaves=4)
        self.told = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())
        self.enter = nn.Linear(2 * features + 1, dim)
        self.stack = nn.ModuleList(Layer(dim, heads, ffn) for _ in range(layers))
        self.norm, self.leave = AdaLN(dim, dim), nn.Linear(dim, features)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def normalise(self, motion: Tensor) -> Tensor:
        return (motion - self.mean) / self.scale

    def restore(self, x: Tensor) -> Tensor:
        return x * self.scale + self.mean

    def condition(self, speech: Tensor | None, rest: Tensor | None, tokens: Tensor) -> Tensor:
        """Sound (b, n, s), a normalised face at rest (b, f), emotion (b, n, d) -> (b, n, d); None says nothing."""
        heard = self.silence if speech is None else self.listen(speech)
        seen = self.nobody if rest is None else self.rest(rest)[:, None]
        return tokens + heard + seen

    def forward(self, x: Tensor, time: Tensor, condition: Tensor, known: Tensor, given: Tensor) -> Tensor:
        """Noisy normalised motion x (b, n, f), time (b,) log(sigma) / 4, frames already ``known`` (b, n, f) where
        ``given`` (b, n) bool -> the network's part of the denoised motion, as :class:`gen.diffusion.EDM` wants it."""
        told = self.told(condition + self.time(time[:, None].float()).to(x.dtype)[:, None])
        here = given[..., None].to(x.dtype)
        y = self.enter(torch.cat((x * (1 - here), known * here, here), -1))
        for layer in self.stack:
            y = layer(y, told)
        return self.leave(self.norm(y, told))
