"""The denoiser: diffusers' spatio-temporal UNet with adapters for speech and emotion (DICE-Talk; Sonic, CVPR 2025)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from torch import Tensor

from gen.network import ConfigMixin, ModelMixin, register_to_config
from talking_head.video.attention import AdapterAttention, Looks, SelfAttention, Transformer

TIME_IDS = (12.5, 8.0, 16.0)  # frames per second, and two motion buckets


@dataclass
class Contexts:
    """Conditions besides the reference latent; a second axis of 1 is the same for all frames."""

    portrait: Tensor  # (b, 1, c) the image encoder's token
    tokens: tuple[Tensor, ...]  # speech and emotion, (b, f or 1, 32, c) each
    strengths: tuple[float, ...] = (1.0, 1.0)
    mask: Tensor | None = None  # (b, H, W) of the picture: where the adapters act

    def looks(self, height: int, width: int, levels: int) -> tuple[Looks, Looks]:
        """Tokens of each frame for the spatial blocks, their mean over frames for the temporal ones."""
        masks = None
        if self.mask is not None:
            sizes = [(height, width)]
            for _ in range(levels - 1):
                sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
            shrunk = (F.interpolate(self.mask[:, None], size, mode="bicubic") for size in sizes)
            masks = {m.shape[-2] * m.shape[-1]: m.flatten(2).mT for m in shrunk}
        spatial = tuple(tokens.flatten(0, 1) for tokens in self.tokens)
        temporal = tuple(tokens.mean(1) for tokens in self.tokens)
        return Looks(self.portrait, spatial, self.strengths, masks), Looks(
            self.portrait, temporal, self.strengths, None
        )


class Denoised(NamedTuple):
    """The network's output."""

    velocity: Tensor  # (b, f, 4, h, w)
    middle: Tensor | None  # (b, f, d) mean features of the mid block, None where it was not run
    deep: Tensor  # what the last up block gets from below, (b f, d, h, w)


class VideoUNet(ModelMixin, ConfigMixin):
    """``net`` is the UNet of Stable Video Diffusion; ``adapters`` 2 for DICE-Talk, 1 (speech alone) for Sonic."""

    _supports_gradient_checkpointing = True
    _repeated_blocks = ("BasicTransformerBlock", "TemporalBasicTransformerBlock", "SpatioTemporalResBlock")

    @register_to_config
    def __init__(
        self,
        channels: tuple[int, ...] = (320, 640, 1280, 1280),
        heads: tuple[int, ...] = (5, 10, 20, 20),
        layers: int = 2,
        context: int = 1024,
        time_dim: int = 256,
        latents: int = 4,
        adapters: int = 2,
    ):
        super().__init__()
        cross, plain = (["CrossAttn"] * (len(channels) - 1)), [""]
        self.net = UNetSpatioTemporalConditionModel(
            in_channels=2 * latents,
            out_channels=latents,
            block_out_channels=tuple(channels),
            num_attention_heads=tuple(heads),
            layers_per_block=layers,
            cross_attention_dim=context,
            addition_time_embed_dim=time_dim,
            projection_class_embeddings_input_dim=len(TIME_IDS) * time_dim,
            down_block_types=tuple(f"{kind}DownBlockSpatioTemporal" for kind in cross + plain),
            up_block_types=tuple(f"{kind}UpBlockSpatioTemporal" for kind in plain + cross),
        )
        self.register_buffer("ids", torch.tensor(TIME_IDS), persistent=False)
        for name, module in self.net.named_modules():
            if isinstance(module, TransformerSpatioTemporalModel):
                module.__class__ = Transformer  # the same parameters, another forward
            elif name.endswith("attn1"):
                module.set_processor(SelfAttention())
            elif name.endswith("attn2"):
                module.set_processor(AdapterAttention(module, adapters))

    def forward(
        self, sample: Tensor, time: Tensor, contexts: Contexts, pose: Tensor | None = None, deep: Tensor | None = None
    ) -> Denoised:
        """sample (b, f, 8, h, w), time (b,) log(sigma) / 4, pose (b or 1, f or 1, d, h, w) -> :class:`Denoised`.

        With ``deep``, the field of that name from an earlier call, only the outermost blocks run.
        """
        net, (b, f) = self.net, sample.shape[:2]
        looks = contexts.looks(*sample.shape[-2:], len(self.config.channels))
        shared = {
            "temb": self._embed(time, sample.dtype).repeat_interleave(f, 0),
            "image_only_indicator": sample.new_zeros(b, f),
        }
        x = net.conv_in(sample.flatten(0, 1))
        if pose is not None:
            x = x + pose.expand(b, f, -1, -1, -1).flatten(0, 1)
        first, last = net.down_blocks[0], net.up_blocks[-1]
        below, skips = first(x, encoder_hidden_states=looks, **shared)
        outer, middle = (x, *skips[: len(last.resnets) - 1]), None
        if deep is None:
            deep, middle = self._inside(below, x.shape[2:], skips[len(outer) - 1 :], looks, shared)
            middle = middle.mean((2, 3)).unflatten(0, (b, f))
        x = last(deep, res_hidden_states_tuple=outer, encoder_hidden_states=looks, **shared)
        x = net.conv_out(net.conv_act(net.conv_norm_out(x)))
        return Denoised(x.unflatten(0, (b, f)), middle, deep)

    def grow(self) -> None:
        """Add an adapter to every cross-attention, such as emotion to Sonic."""
        for module in self.net.modules():
            if isinstance(getattr(module, "processor", None), AdapterAttention):
                module.processor.grow(module)
        self.register_to_config(adapters=self.config.adapters + 1)

    def _embed(self, time: Tensor, dtype: torch.dtype) -> Tensor:
        """(b,) -> (b, d): the noise level, the frame rate and the motion buckets."""
        net = self.net
        extra = net.add_time_proj(self.ids.to(time.device)).flatten()[None].to(dtype)
        return net.time_embedding(net.time_proj(time).to(dtype)) + net.add_embedding(extra)

    def _inside(self, x: Tensor, size, skips: tuple[Tensor, ...], looks, shared: dict) -> tuple[Tensor, Tensor]:
        """From the first down block's output to the last up block's input, of (h, w) ``size``, and the mid features."""
        told = lambda block: {"encoder_hidden_states": looks} if getattr(block, "has_cross_attention", False) else {}
        for block in self.net.down_blocks[1:]:
            x, found = block(x, **told(block), **shared)
            skips += found
        x = middle = self.net.mid_block(x, encoder_hidden_states=looks, **shared)
        for block in self.net.up_blocks[:-1]:
            count = len(block.resnets)
            rest, used = skips[:-count], skips[-count:]
            grown = rest[-1].shape[2:] if rest else size
            x = block(x, res_hidden_states_tuple=used, upsample_size=grown, **told(block), **shared)
            skips = rest
        return x, middle
