"""Denoiser of face motion: a transformer conditioned on the noise level, speech and the face at rest.

DICE-Talk's diffusion (ACM MM 2025) on motion in place of video, for neutral speech. A learned embedding of silence
replaces speech, for guidance. Positions are relative, so that a window may start at any time.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.network import ConfigMixin, ModelMixin, register_to_config
from gen.nn import AdaLN, Attention, FourierFeatures

SPREAD = 0.4  # sigma_data of the residual


class Layer(nn.Module):
    """Attention over the frames and a feed-forward network modulated by a condition per frame."""

    def __init__(self, dim: int, heads: int, ffn: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), AdaLN(dim, dim)
        self.attention = Attention(dim, heads)
        self.linear1, self.linear2 = nn.Linear(dim, ffn), nn.Linear(ffn, dim)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, self.attention.remember(y))
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x, condition))))


class Listen(nn.Module):
    """Speech features (b, n, s) -> (b, n, d): each frame and two on each side."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.norm, self.project = nn.LayerNorm(size), nn.Linear(size, dim)
        self.conv = nn.Conv1d(dim, dim, 5, padding=2)

    def forward(self, features: Tensor) -> Tensor:
        x = self.project(self.norm(features))
        return x + F.gelu(self.conv(x.mT)).mT


class Expected(nn.Module):
    """Encoded speech (b, n, d) and face at rest (b, 1, d) -> expected motion (b, n, f)."""

    def __init__(self, dim: int, features: int):
        super().__init__()
        self.both, self.conv = nn.Linear(dim, dim), nn.Conv1d(dim, dim, 3, padding=1)
        self.leave = nn.Linear(dim, features)

    def forward(self, heard: Tensor, face: Tensor) -> Tensor:
        x = F.gelu(self.both(heard + face))
        return self.leave(x + F.gelu(self.conv(x.mT)).mT)


class MotionDenoiser(ModelMixin, ConfigMixin):
    """Motion is in units of ``scale`` around ``mean``.

    The expected motion m is trained by regression, and the residual, of deviation SPREAD, is diffused: of D(x) =
    m + D'(x - m) the network's part in EDM's preconditioning is F'(c_in (x - m)) + m (1 - c_skip) / c_out.
    """

    @register_to_config
    def __init__(
        self, features: int = 55, speech: int = 160, dim: int = 128, layers: int = 4, heads: int = 4, ffn: int = 256
    ):
        super().__init__()
        self.listen = Listen(speech, dim)
        self.silence = nn.Parameter(0.5 * torch.randn(dim))
        self.rest, self.time = nn.Linear(features, dim), FourierFeatures(1, dim, octaves=4)
        self.told = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())
        self.expected = Expected(dim, features)
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

    def condition(self, speech: Tensor | None, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Speech (b, n, s), or None for silence, and a normalised face at rest (b, f) -> encoded speech, (b, n, d) or
        (d,), and encoded face (b, 1, d)."""
        return self.silence if speech is None else self.listen(speech), self.rest(rest)[:, None]

    def forward(self, x: Tensor, time: Tensor, heard: Tensor, face: Tensor, known: Tensor, given: Tensor) -> Tensor:
        """Noisy normalised motion x (b, n, f), time (b,) log(sigma) / 4, :meth:`condition`, frames already ``known``
        (b, n, f) where ``given`` (b, n) bool -> the network's part of the denoised motion, as
        :class:`gen.diffusion.EDM` wants it."""
        return self.through(x, time, heard, face, known, given)[0]

    def through(
        self, x: Tensor, time: Tensor, heard: Tensor, face: Tensor, known: Tensor, given: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The result of :meth:`forward` and the expected motion (b, n, f)."""
        sigma = (4 * time.float()).exp()[:, None, None]
        heard = heard.expand(*x.shape[:2], -1)
        root, expected = (sigma**2 + SPREAD**2).sqrt(), self.expected(heard, face)
        mean = expected.detach()  # trained by its own error alone
        told = self.told(face + heard + self.time(time[:, None].float()).to(x.dtype)[:, None])
        here = given[..., None].to(x.dtype)
        y = self.enter(torch.cat(((x - mean / root) * (1 - here), (known - mean) * here, here), -1)) + heard
        for layer in self.stack:
            y = layer(y, told)
        return self.leave(self.norm(y, told)) + mean * (sigma / root / SPREAD), expected
