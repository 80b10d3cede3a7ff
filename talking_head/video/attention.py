"""Cross-attention of the video network to the portrait's token, with adapters for speech and emotion."""

from typing import NamedTuple

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from torch import Tensor, nn

from gen.nn import probed


class Looks(NamedTuple):
    """Contexts of one kind of block. Each row of a context is shared by successive rows of queries."""

    portrait: Tensor  # (b, 1, c)
    adapters: tuple[Tensor, ...]  # speech and emotion, (b or b f, 32, c) each
    strengths: tuple[float, ...]  # of the adapters
    masks: dict[int, Tensor] | None  # tokens h w of a layer -> (b, h w, 1), 1 where the adapters act


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, backend=None) -> Tensor:
    """query (q, n, d), key and value (r, m, d), r a divisor of q -> (q, n, d), or (q, 1, d) if all rows are equal.

    Rows of queries with the same keys are joined, so that no key is projected or copied twice.
    """
    if key.shape[1] == 1:  # a softmax over one key is 1
        return value.repeat_interleave(len(query) // len(value), 0)
    rows = query.reshape(len(key), -1, heads, query.shape[-1] // heads)
    key, value = (x.unflatten(-1, (heads, -1)) for x in (key, value))
    return dispatch_attention_fn(rows, key, value, backend=backend).reshape(query.shape)


class SelfAttention:
    """Processor of ``attn1``: as diffusers' own, through the dispatcher."""

    _attention_backend = None

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None
    ) -> Tensor:
        parts = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        return attn.to_out[0](attend(*parts, attn.heads, self._attention_backend))


class AdapterAttention(nn.Module):
    """Processor of ``attn2``: the portrait's attention plus one more for each adapter, before the common ``to_out``.

    Adapters begin as copies of the layer's own keys and values.
    """

    _attention_backend = None

    def __init__(self, attn: Attention, adapters: int):
        super().__init__()
        self.to_k_ip, self.to_v_ip = nn.ModuleList(), nn.ModuleList()
        for _ in range(adapters):
            self.grow(attn)

    def grow(self, attn: Attention) -> None:
        """Add an adapter."""
        for own, source in ((self.to_k_ip, attn.to_k), (self.to_v_ip, attn.to_v)):
            own.append(nn.Linear(source.in_features, source.out_features, bias=False).to(source.weight))
            own[-1].weight.data.copy_(source.weight.data)

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Looks, attention_mask=None
    ) -> Tensor:
        looks, query = encoder_hidden_states, attn.to_q(hidden_states)
        see = lambda x, to_k, to_v: attend(query, to_k(x), to_v(x), attn.heads, self._attention_backend)
        seen = see(looks.portrait, attn.to_k, attn.to_v)
        for x, strength, to_k, to_v in zip(looks.adapters, looks.strengths, self.to_k_ip, self.to_v_ip):
            extra = strength * see(x, to_k, to_v)
            if looks.masks is not None:
                mask = looks.masks[query.shape[1]]
                extra = (extra.unflatten(0, (len(mask), -1)) * mask[:, None]).flatten(0, 1)
            seen = seen + extra
        return attn.to_out[0](seen.expand(query.shape))


class Transformer(TransformerSpatioTemporalModel):
    """diffusers' spatio-temporal transformer with the contexts of DICE-Talk; the parameters are the same.

    Stock Stable Video Diffusion shows the temporal blocks the first frame's context, repeated for every place; here
    they get the mean over the frames (see :meth:`Contexts.looks`), one row a video.
    """

    slices = 1  # pieces in which each block runs: one after the other they need less memory

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: tuple[Looks, Looks],
        image_only_indicator: Tensor,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        spatial, temporal = encoder_hidden_states
        b, f = image_only_indicator.shape
        height, width = hidden_states.shape[-2:]
        x = self.proj_in(self.norm(hidden_states).flatten(2).mT)  # (b f, h w, d)
        places = self.time_proj(torch.arange(f, device=x.device)).to(x.dtype)
        place = self.time_pos_embed(places).repeat(b, 1)[:, None]
        for block, later in zip(self.transformer_blocks, self.temporal_transformer_blocks):
            x = self._in_frames(block, x, spatial, f)
            moved = self._in_places(later, x + place, temporal, f)
            x = self.time_mixer(x_spatial=x, x_temporal=moved, image_only_indicator=image_only_indicator)
        return (self.proj_out(x).mT.unflatten(2, (height, width)).contiguous() + hidden_states,)

    def _in_frames(self, block: nn.Module, x: Tensor, looks: Looks, f: int) -> Tensor:
        """A spatial block: attention within each frame (b f, h w, d)."""
        if self.slices == 1:
            return self._run(block, x, None, looks)
        made, size = torch.empty_like(x), -(-f // self.slices)
        for video in range(len(x) // f):
            for first in self._needed(x, [*range(video * f, (video + 1) * f, size)]):
                part = slice(first, min(first + size, (video + 1) * f))
                pick = lambda y, video=video, part=part: y[part] if len(y) == len(x) else y[video : video + 1]
                masks = looks.masks and {n: mask[video : video + 1] for n, mask in looks.masks.items()}
                portrait, adapters = looks.portrait[video : video + 1], tuple(map(pick, looks.adapters))
                some = Looks(portrait, adapters, looks.strengths, masks)
                made[part] = self._run(block, x[part], None, some)
        return made

    def _in_places(self, block: nn.Module, x: Tensor, looks: Looks, f: int) -> Tensor:
        """A temporal block: attention over frames at each position of (b f, h w, d)."""
        if self.slices == 1:
            return self._run(block, x, f, looks)
        made = torch.empty_like(x)
        for part, out in self._needed(x, [*zip(x.chunk(self.slices, 1), made.chunk(self.slices, 1))]):
            out.copy_(self._run(block, part, f, looks))
        return made

    @staticmethod
    def _needed(x: Tensor, pieces: list) -> list:
        """All pieces, or one of them on ``meta``, where memory is planned."""
        return pieces[:1] if x.is_meta else pieces

    def _run(self, block: nn.Module, *inputs) -> Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)


def set_attention_backend(model: nn.Module, name: str) -> None:
    """Set the attention backend of ``model`` to one of diffusers' dispatcher, after a test call.

    Raises DeviceError when the backend is unknown or cannot attend on the model's device.
    """
    backend = probed(name, next(model.parameters()), 64)
    for module in model.modules():
        if isinstance(module, Attention):
            module.processor._attention_backend = backend
