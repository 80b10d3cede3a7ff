"""The networks at the published size: the average-voice encoder and the score network that EmoReg shares with DiffVC
(ICLR 2022, appendix; 8.46 and 117.79 million parameters). Modules are named so that DiffVC's state dicts fit.

b batch, n frames, m mel bands (80 as published), h heads. Maps are (b, c, m, n) as published; masks (b, n) are 1 where
a frame is.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gen.diffusion import MeanReverting
from gen.network import ConfigMixin, ModelMixin, register_to_config
from voice_conversion.features import BANDS

LEVELS = 3  # of the U-Net; frames come in multiples of 4


class Wrapped(nn.Module):
    """Holds a module under one name, as the published state dicts do."""

    def __init__(self, name: str, module: nn.Module):
        super().__init__()
        self.name = name
        setattr(self, name, module)

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.name)(x)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (b, c, n)."""

    def __init__(self, channels: int):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.transpose(1, 2), self.gamma.shape, self.gamma, self.beta, 1e-4).transpose(1, 2)


class Prenet(nn.Module):
    """Three convolutions beside an identity."""

    def __init__(self, channels: int, kernel: int = 5, layers: int = 3):
        super().__init__()
        make = lambda: nn.Conv1d(channels, channels, kernel, padding=kernel // 2)
        self.conv_layers = nn.ModuleList(make() for _ in range(layers))
        self.norm_layers = nn.ModuleList(ChannelNorm(channels) for _ in range(layers))
        self.proj = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = x
        for conv, norm in zip(self.conv_layers, self.norm_layers):
            y = F.dropout(norm(conv(y * mask)).relu(), 0.5, self.training)
        return (x + self.proj(y)) * mask


class NearAttention(nn.Module):
    """Attention with learned keys and values for how far apart two frames are, up to ``window``."""

    def __init__(self, channels: int, heads: int, window: int):
        super().__init__()
        self.heads, self.window = heads, window
        for name in "qkvo":
            setattr(self, f"conv_{name}", nn.Conv1d(channels, channels, 1))
        size = channels // heads
        self.emb_rel_k = nn.Parameter(torch.randn(1, 2 * window + 1, size) * size**-0.5)
        self.emb_rel_v = nn.Parameter(torch.randn(1, 2 * window + 1, size) * size**-0.5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (rearrange(getattr(self, f"conv_{name}")(x), "b (h d) n -> b h n d", h=self.heads) for name in "qkv")
        at = torch.arange(x.shape[2], device=x.device)
        apart = at - at[:, None] + self.window  # (n, n) index of the embedding
        near = (apart >= 0) & (apart <= 2 * self.window)
        index = apart.clamp(0, 2 * self.window).expand(*q.shape[:2], -1, -1)
        q = q / math.sqrt(q.shape[-1])
        scores = q @ k.mT + (q @ self.emb_rel_k[0].T).gather(3, index) * near
        shares = scores.masked_fill(~(mask.bool() & mask.mT.bool())[:, None], -1e4).softmax(-1)
        by_distance = torch.zeros(*q.shape[:3], 2 * self.window + 1, dtype=q.dtype, device=q.device)
        by_distance.scatter_add_(3, index, shares * near)
        seen = shares @ v + by_distance @ self.emb_rel_v[0]
        return self.conv_o(rearrange(seen, "b h n d -> b (h d) n"))


class FeedForward(nn.Module):
    def __init__(self, channels: int, hidden: int, kernel: int):
        super().__init__()
        self.conv_1 = nn.Conv1d(channels, hidden, kernel, padding=kernel // 2)
        self.conv_2 = nn.Conv1d(hidden, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.conv_2(F.dropout(self.conv_1(x * mask).relu(), 0.1, self.training) * mask) * mask


class Transformer(nn.Module):
    def __init__(self, channels: int, hidden: int, heads: int, layers: int, kernel: int, window: int):
        super().__init__()
        many = lambda make: nn.ModuleList(make() for _ in range(layers))
        self.attn_layers = many(lambda: NearAttention(channels, heads, window))
        self.norm_layers_1 = many(lambda: ChannelNorm(channels))
        self.ffn_layers = many(lambda: FeedForward(channels, hidden, kernel))
        self.norm_layers_2 = many(lambda: ChannelNorm(channels))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        drop = lambda y: F.dropout(y, 0.1, self.training)
        layers = zip(self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2)
        for attend, first, feed, second in layers:
            x = first(x * mask + drop(attend(x * mask, mask)))
            x = second(x + drop(feed(x, mask)))
        return x * mask


class MelEncoder(nn.Module):
    def __init__(self, channels: int, hidden: int, heads: int, layers: int, kernel: int, window: int, bands: int):
        super().__init__()
        self.init_proj = nn.Conv1d(bands, channels, 1)
        self.prenet = Prenet(channels)
        self.encoder = Transformer(channels, hidden, heads, layers, kernel, window)
        self.term_proj = nn.Conv1d(channels, bands, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.term_proj(self.encoder(self.prenet(self.init_proj(x * mask), mask), mask) * mask)


class Masked2d(nn.Module):
    """Convolution, group normalisation, Mish, with masked frames kept at 0."""

    def __init__(self, into: int, out: int, kernel: int = 3):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(into, out, kernel, padding=kernel // 2), nn.GroupNorm(8, out), nn.Mish())

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.block(x * mask) * mask


class PostBlock(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.block1, self.block2 = Masked2d(dim, dim, 7), Masked2d(dim, dim, 7)
        self.res = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.res(x * mask) + self.block2(self.block1(x, mask), mask)


class PostNet(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.init_conv, self.res_block = nn.Conv2d(1, dim, 1), PostBlock(dim)
        self.final_conv = nn.Conv2d(dim, 1, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        mask = mask[:, None]
        return self.final_conv(self.res_block(self.init_conv(x[:, None] * mask), mask) * mask)[:, 0]


class PublishedEncoder(ModelMixin, ConfigMixin):
    """Mel (b, n, m) -> average voice (b, n, m)."""

    @register_to_config
    def __init__(
        self,
        channels: int = 192,
        hidden: int = 768,
        heads: int = 2,
        layers: int = 6,
        kernel: int = 3,
        window: int = 4,
        post: int = 128,
        bands: int = BANDS,
    ):
        super().__init__()
        self.encoder = MelEncoder(channels, hidden, heads, layers, kernel, window, bands)
        self.postnet = PostNet(post)

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        mask = torch.ones_like(mel[..., 0]) if mask is None else mask.to(mel.dtype)
        x = self.encoder(mel.transpose(1, 2), mask[:, None])
        return self.postnet(x, mask[:, None]).transpose(1, 2)


class Residual2d(nn.Module):
    """Two blocks with the time between them, and a shortcut."""

    def __init__(self, into: int, out: int, time: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Mish(), nn.Linear(time, out))
        self.block1, self.block2 = Masked2d(into, out), Masked2d(out, out)
        self.res_conv = nn.Conv2d(into, out, 1) if into != out else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        y = self.block1(x, mask) + self.mlp(time)[..., None, None]
        return self.block2(y, mask) + self.res_conv(x * mask)


class MapAttention(nn.Module):
    """Linear attention over all places of a map, four heads of 32 (Shen et al., WACV 2021)."""

    def __init__(self, dim: int, heads: int = 4, size: int = 32):
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Conv2d(dim, 3 * heads * size, 1, bias=False)
        self.to_out = nn.Conv2d(heads * size, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = rearrange(self.to_qkv(x), "b (p h d) m n -> p b h d (m n)", p=3, h=self.heads)
        seen = (value @ key.softmax(-1).mT) @ query
        return self.to_out(rearrange(seen, "b h d (m n) -> b (h d) m n", m=x.shape[2]))


class Scaled(nn.Module):
    """A branch that begins at nothing: its output times a learned number."""

    def __init__(self, branch: nn.Module):
        super().__init__()
        self.fn, self.g = branch, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.g * self.fn(x)


def attention(dim: int) -> nn.Module:
    return Wrapped("fn", Scaled(MapAttention(dim)))


class ReferenceSummary(nn.Module):
    """A noisy reference mel (b, 1, m, n) -> (b, out): convolutions with gates, the mean over the map."""

    def __init__(self, out: int, time: int):
        super().__init__()
        base = out // 4
        self.mlp1 = nn.Sequential(nn.Mish(), nn.Linear(time, base))
        self.mlp2 = nn.Sequential(nn.Mish(), nn.Linear(time, 2 * base))
        sizes = {
            "11": (1, base),
            "12": (base, base),
            "21": (base, 2 * base),
            "22": (2 * base, 2 * base),
            "31": (2 * base, 4 * base),
            "32": (4 * base, 4 * base),
        }
        for name, (i, o) in sizes.items():
            gate = nn.Sequential(nn.Conv2d(i, 2 * o, 3, 1, 1), nn.InstanceNorm2d(2 * o, affine=True), nn.GLU(1))
            setattr(self, f"block{name}", gate)
        self.final_conv = nn.Conv2d(4 * base, out, 1)

    def forward(self, x: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        y = self.block12(self.block11(x * mask) * mask) + self.mlp1(time)[..., None, None]
        y = self.block22(self.block21(y * mask) * mask) + self.mlp2(time)[..., None, None]
        y = self.final_conv(self.block32(self.block31(y * mask) * mask) * mask)
        return (y * mask).sum((2, 3)) / (mask.sum((2, 3)) * x.shape[2])


class PublishedScore(ModelMixin, ConfigMixin):
    """The score of the diffusion from the average voice; ``vector`` is EmoReg's e_ir, in DiffVC the speaker's."""

    @register_to_config
    def __init__(
        self, base: int = 256, condition: int = 128, vector: int = 256, reference: bool = True, bands: int = BANDS
    ):
        super().__init__()
        self.sde = MeanReverting()
        dims = [2 + condition, *(base * 2**i for i in range(LEVELS))]
        self.mlp = nn.Sequential(nn.Linear(base, 4 * base), nn.Mish(), nn.Linear(4 * base, base))
        self.ref_block = ReferenceSummary(condition, base) if reference else None
        told = base + vector + condition * reference
        self.cond_block = nn.Sequential(nn.Linear(told, 4 * condition), nn.Mish(), nn.Linear(4 * condition, condition))
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for level, (i, o) in enumerate(pairwise(dims)):
            half = Wrapped("conv", nn.Conv2d(o, o, 3, 2, 1)) if level < LEVELS - 1 else nn.Identity()
            self.downs.append(nn.ModuleList([Residual2d(i, o, base), Residual2d(o, o, base), attention(o), half]))
        self.mid_block1, self.mid_attn = Residual2d(dims[-1], dims[-1], base), attention(dims[-1])
        self.mid_block2 = Residual2d(dims[-1], dims[-1], base)
        for i, o in reversed(list(pairwise(dims[1:]))):
            double = Wrapped("conv", nn.ConvTranspose2d(i, i, 4, 2, 1))
            self.ups.append(nn.ModuleList([Residual2d(2 * o, i, base), Residual2d(i, i, base), attention(i), double]))
        self.final_block, self.final_conv = Masked2d(base, base), nn.Conv2d(base, 1, 1)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        mean: Tensor,
        vector: Tensor,
        mask: Tensor | None = None,
        reference: Tensor | None = None,
        reference_mean: Tensor | None = None,
        reference_mask: Tensor | None = None,
    ) -> Tensor:
        """x, mean (b, n, m), n in fours, t (b,), vector (b, v); the reference is (b, n', m), clean, with a mask."""
        up = lambda y: y.mT[:, None]  # (b, 1, m, n)
        mask = torch.ones_like(x[..., 0]) if mask is None else mask.to(x.dtype)
        wave = self._wave(t)
        time, told = self.mlp(wave), [wave]
        if self.ref_block is not None:
            seen = up(self.sde.marginal(reference, reference_mean, t)[0])
            there = torch.ones_like(reference[..., 0]) if reference_mask is None else reference_mask.to(x.dtype)
            told.append(self.ref_block(seen, there[:, None, None], time))
        told = self.cond_block(torch.cat((*told, vector), 1))[..., None, None]
        y = torch.cat((up(mean), up(x), told.expand(-1, -1, *x.shape[:0:-1])), 1)
        return self._unet(y, mask[:, None, None], time)[:, 0].mT

    def _wave(self, t: Tensor) -> Tensor:
        half = self.config.base // 2
        rates = torch.exp(torch.arange(half, device=t.device) * (-math.log(10_000.0) / (half - 1)))
        angles = 1000 * t[:, None] * rates
        return torch.cat((angles.sin(), angles.cos()), -1)

    def _unet(self, y: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        held, masks = [], [mask]
        for first, second, attend, half in self.downs:
            y = attend(second(first(y, masks[-1], time), masks[-1], time))
            held.append(y)
            y = half(y * masks[-1])
            masks.append(masks[-1][..., ::2])
        masks.pop()
        y = self.mid_block2(self.mid_attn(self.mid_block1(y, masks[-1], time)), masks[-1], time)
        for first, second, attend, double in self.ups:
            here = masks.pop()
            y = torch.cat((y, held.pop()), 1)
            y = double(attend(second(first(y, here, time), here, time)) * here)
        return self.final_conv(self.final_block(y, mask) * mask) * mask
