"""Layers used by several generators. Shapes: b batch, n queries, m keys, h heads, d width."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.errors import DeviceError
from gen.network import AttentionBackendName, dispatch_attention_fn

CHUNK = 128  # steps per chunk of causal linear attention


def by_column(model: nn.Module) -> None:
    """Stores the weights of all linear layers column-major, in place: products with one or two rows then read memory in
    order, up to twice as fast on a CPU. Values and shapes are unchanged."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.data = layer.weight.data.T.contiguous().T


def lengths_to_mask(lengths: Tensor, size: int) -> Tensor:
    """(b,) lengths -> (b, size) bool, True for existing items."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # tables cached in sampling may be needed in training
def _waves(length: int, dim: int, device: torch.device) -> Tensor:
    rates = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10_000.0) / dim))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def positions(start: int, count: int, like: Tensor) -> Tensor:
    """(count, d) interleaved sine and cosine of the positions from ``start`` on (Vaswani et al. 2017, sec. 3.5)."""
    return _waves(_reach(start + count), like.shape[-1], like.device)[start : start + count].to(like.dtype)


def _reach(end: int) -> int:
    """A table length of at least ``end``: a power of two, so that few tables are computed."""
    return 1 << max(end - 1, 255).bit_length()


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _angles(length: int, half: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    rates = torch.exp(torch.arange(half, device=device) * (-math.log(10_000.0) / half))
    angles = (torch.arange(length, device=device)[:, None] * rates)[:, None]  # (n, 1, half)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, start: int = 0) -> Tensor:
    """Rotary positions (Su et al. 2021) on (b, n, h, d) whose first item has position ``start``."""
    n, half = x.shape[1], x.shape[3] // 2
    cos, sin = (table[start : start + n] for table in _angles(_reach(start + n), half, x.device, x.dtype))
    left, right = x[..., :half], x[..., half:]
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


class FourierFeatures(nn.Module):
    """(..., in_dim) values of about unit size -> (..., dim): the values with sine and cosine octaves, projected."""

    def __init__(self, in_dim: int, dim: int, octaves: int = 3):
        super().__init__()
        self.register_buffer("rates", math.pi / 2 * 2.0 ** torch.arange(octaves), persistent=False)
        self.project = nn.Linear(in_dim * (1 + 2 * octaves), dim)

    def forward(self, x: Tensor) -> Tensor:
        angles = (x[..., None] * self.rates).flatten(-2)
        return self.project(torch.cat((x, angles.sin(), angles.cos()), dim=-1))


class AdaLN(nn.Module):
    """LayerNorm whose scale and shift come from a condition (b, c) or (b, n, c); starts as plain LayerNorm."""

    def __init__(self, dim: int, cond_dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.modulate = nn.Linear(cond_dim, 2 * dim)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        scale, shift = self.modulate(cond if cond.dim() == x.dim() else cond[:, None]).chunk(2, dim=-1)
        return self.norm(x) * (1 + scale) + shift


class Attention(nn.Module):
    """Multi-head attention of one of two kinds, causal with a state or over a fixed memory.

    ``softmax``: scaled dot product through diffusers' dispatcher, with rotary positions. ``linear``: feature map
    elu + 1 (Katharopoulos et al. 2020), whose causal state is one matrix per head, independent of length.
    """

    def __init__(self, dim: int, heads: int, kind: str = "softmax"):
        super().__init__()
        self.heads, self.kind = heads, kind
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self._attention_backend = None

    def _project(self, x: Tensor, first: int, last: int) -> tuple[Tensor, ...]:
        """x (b, n, d) -> some of query, key and value (0, 1, 2), each (b, n, h, d)."""
        part = slice(first * self.out.in_features, last * self.out.in_features)
        y = F.linear(x, self.qkv.weight[part], self.qkv.bias[part]) if last - first < 3 else self.qkv(x)
        return y.view(*x.shape[:2], last - first, self.heads, -1).unbind(2)

    def remember(self, context: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Keys and values of a context (b, m, d), mask (b, m) bool: the memory of :meth:`forward`."""
        key, value = self._project(context, 1, 3)
        if self.kind == "softmax":
            return rotate(key), value, mask[:, None, None] if mask is not None else None
        key = F.elu(key.float()) + 1
        if mask is not None:
            key = key * mask[..., None, None]
        return (key.permute(0, 2, 3, 1) @ with_ones(value).transpose(1, 2),)  # (b, h, d, d + 1)

    def forward(self, x: Tensor, memory: tuple[Tensor, ...], start: int = 0) -> Tensor:
        """x (b, n, d), starting at position ``start``, attends to all of ``memory``."""
        (query,) = self._project(x, 0, 1)
        if self.kind == "softmax":
            key, value, mask = memory
            seen = dispatch_attention_fn(
                rotate(query, start), key, value, attn_mask=mask, backend=self._attention_backend
            )
        else:
            query = F.elu(query.float()) + 1
            seen = weighed((query.transpose(1, 2) @ memory[0]).transpose(1, 2))
        return self.out(seen.flatten(2).to(x.dtype))

    def state(self, batch: int, capacity: int) -> dict:
        """An empty causal state for up to ``capacity`` steps."""
        d, like = self.out.in_features // self.heads, self.out.weight
        if self.kind == "softmax":
            return {
                "at": 0,
                "key": like.new_empty(batch, capacity, self.heads, d),
                "value": like.new_empty(batch, capacity, self.heads, d),
            }
        total = torch.zeros(batch, self.heads, d, d + 1, device=like.device)
        return {"at": 0, "total": total, "value": torch.ones_like(total[:, :, :1])}

    def causal(self, x: Tensor, state: dict | None = None) -> Tensor:
        """Causal self-attention of x (b, n, d) with the past in ``state``, which is updated."""
        attend = self._causal_softmax if self.kind == "softmax" else self._causal_linear
        if self.kind == "linear" and state is not None and x.shape[1] == 1:
            attend = self._step_linear
        return self.out(attend(x, state).flatten(2).to(x.dtype))

    def _causal_softmax(self, x: Tensor, state: dict | None) -> Tensor:
        at, n = (state["at"] if state else 0), x.shape[1]
        query, key, value = self._project(x, 0, 3)
        query, key, mask = rotate(query, at), rotate(key, at), None
        if state is not None:
            state["key"][:, at : at + n], state["value"][:, at : at + n] = key, value
            state["at"] = at + n
            key, value = state["key"][:, : at + n], state["value"][:, : at + n]
            if at and n > 1:
                mask = torch.ones(n, at + n, dtype=torch.bool, device=x.device).tril(at)[None, None]
        return dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=n > 1 and mask is None,
            backend=self._attention_backend,
        )

    def _causal_linear(self, x: Tensor, state: dict | None) -> Tensor:
        state = self.state(len(x), 0) if state is None else state
        query, key, value = self._project(x, 0, 3)
        parts = F.elu(query.float()) + 1, F.elu(key.float()) + 1, with_ones(value)
        seen = []
        for q, k, v in zip(*(part.transpose(1, 2).split(CHUNK, 2) for part in parts), strict=True):  # (b, h, n, d)
            seen.append((q @ k.mT).tril() @ v + q @ state["total"])
            state["total"] = state["total"] + k.mT @ v
        state["at"] += x.shape[1]
        return weighed(torch.cat(seen, 2).transpose(1, 2))

    def _step_linear(self, x: Tensor, state: dict) -> Tensor:
        """One step (b, 1, d), in place: the hot loop of sampling."""
        y = self.qkv(x).float().view(len(x), 3, self.heads, -1)
        query, key = F.elu(y[:, :2]).add_(1).unbind(1)
        state["value"][..., 0, :-1] = y[:, 2]  # the last one stays 1, see with_ones
        state["total"].addcmul_(key[..., None], state["value"])
        state["at"] += 1
        return weighed((query[..., None, :] @ state["total"]).transpose(1, 2))


def with_ones(value: Tensor) -> Tensor:
    """Appends a one to values (..., d), whose weighted sum is then the sum of the weights."""
    return torch.cat((value.float(), value.new_ones(*value.shape[:-1], 1, dtype=torch.float)), -1)


def weighed(total: Tensor) -> Tensor:
    """Weighted sums of :func:`with_ones` (..., d + 1) -> weighted means (..., d)."""
    return total[..., :-1] / total[..., -1:].clamp_min(1e-6)


class Block(nn.Module):
    """A transformer layer: attention, optional cross-attention, and a GELU feed-forward net.

    ``norm_first`` normalises the input of each branch; otherwise each sum (post-norm), as in MusER.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        ffn: int,
        kind: str = "softmax",
        cross: bool = False,
        dropout: float = 0.0,
        norm_first: bool = True,
    ):
        super().__init__()
        self.norm_first = norm_first
        self.attention = Attention(dim, heads, kind)
        self.cross = Attention(dim, heads, kind) if cross else None
        self.linear1, self.linear2 = nn.Linear(dim, ffn), nn.Linear(ffn, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3 if cross else 2))
        self.dropout = nn.Dropout(dropout)

    def _add(self, x: Tensor, norm: nn.LayerNorm, branch) -> Tensor:
        if self.norm_first:
            return x + self._drop(branch(norm(x)))
        return norm(x + self._drop(branch(x)))

    def _feed(self, x: Tensor) -> Tensor:
        return self.linear2(self._drop(F.gelu(self.linear1(x))))

    def _drop(self, x: Tensor) -> Tensor:
        return self.dropout(x) if self.training else x

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (b, n, d), mask (b, n) bool: attention among all existing items."""
        x = self._add(x, self.norms[0], lambda y: self.attention(y, self.attention.remember(y, mask)))
        return self._add(x, self.norms[-1], self._feed)

    def causal(self, x: Tensor, state: dict | None = None, memory: tuple[Tensor, ...] | None = None) -> Tensor:
        """Causal attention of x (b, n, d), then attention to ``memory`` (from ``self.cross.remember``)."""
        start, norms = state["at"] if state else 0, [*self.norms]
        x = self._add(x, norms[0], lambda y: self.attention.causal(y, state))
        if memory is not None:
            x = self._add(x, norms[1], lambda y: self.cross(y, memory, start))
        return self._add(x, norms[-1], self._feed)


def set_attention_backend(model: nn.Module, name: str) -> None:
    """Runs the softmax attention of ``model`` on a backend of diffusers' dispatcher, after a test on its device.

    Raises DeviceError if the backend is unknown or does not run there.
    """
    layers = [m for m in model.modules() if isinstance(m, Attention)]
    backend = probed(name, layers[0].out.weight, 16)
    for layer in layers:
        layer._attention_backend = backend


def probed(name: str, weight: Tensor, width: int) -> AttentionBackendName:
    """The backend, after a test with heads of ``width`` on the device and in the dtype of ``weight``.

    Raises DeviceError if the backend is unknown or does not run there.
    """
    probe = torch.zeros(1, 16, 1, width, device=weight.device, dtype=weight.dtype)
    try:
        backend = AttentionBackendName(name)
        dispatch_attention_fn(probe, probe, probe, backend=backend)
    except (ValueError, TypeError, AttributeError, ImportError, RuntimeError, KeyError) as error:
        raise DeviceError(f"attention backend '{name}' does not run on {weight.device}: use 'native'") from error
    return backend
