"""A small network, run in torch as the list of operations of its upstream file.

Values are (b, h, w, c), as in the upstream file. Weights are stored as int8 with one scale per output channel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gen.network import ConfigMixin, ModelMixin, register_to_config

QUANTIZE_FROM = 64  # values; smaller constants stay fp16


class Graph(ModelMixin, ConfigMixin):
    """``steps``: [operation, names of its inputs, name of its output, settings]; ``constants``: name -> shape."""

    @register_to_config
    def __init__(self, steps: list, inputs: list[str], outputs: list[str], constants: dict[str, list[int]]):
        super().__init__()
        for name, shape in constants.items():
            rows = _rows(shape)
            kind = torch.int8 if rows else torch.float16
            self.register_buffer(f"v{name}", torch.zeros(shape, dtype=kind))
            if rows:
                self.register_buffer(f"s{name}", torch.zeros(rows, dtype=torch.float16))
        self._ready: dict[str, Tensor] = {}

    def fill(self, values: dict[str, Tensor]) -> None:
        """Load float constants ``name -> tensor``; large ones are quantized to int8."""
        for name, value in values.items():
            place = getattr(self, f"v{name}")
            if place.dtype == torch.int8:
                peak = value.abs().flatten(1).amax(1) if value.dim() > 1 else value.abs().amax()[None]
                scale = (peak / 127).clamp_min(1e-7).half()
                getattr(self, f"s{name}").copy_(scale)
                value = (value / _spread(scale.float(), value)).round().clamp(-127, 127)
            place.copy_(value)

    def _constants(self) -> dict[str, Tensor]:
        if not self._ready:
            for name in self.config.constants:
                value = getattr(self, f"v{name}")
                scaled = value.dtype == torch.int8
                value = value.float()
                self._ready[name] = value * _spread(getattr(self, f"s{name}").float(), value) if scaled else value
        return self._ready

    @torch.inference_mode()
    def forward(self, x: Tensor) -> list[Tensor]:
        """Outputs (float32) for the network's input."""
        values = dict(self._constants())
        values[self.config.inputs[0]] = x
        for operation, sources, target, settings in self.config.steps:
            values[target] = OPERATIONS[operation](*(values[s] for s in sources), **settings)
        return [values[name] for name in self.config.outputs]


def _rows(shape: list[int]) -> int:
    """Number of scales of a constant of this shape: one per first index, none for fp16."""
    size = torch.Size(shape).numel()
    return shape[0] if len(shape) > 1 and shape[0] > 1 and size // shape[0] >= 8 and size >= QUANTIZE_FROM else 0


def _spread(scale: Tensor, like: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (like.dim() - 1))


def _same(x: Tensor, kernel: tuple[int, int], stride: int, value: float = 0.0) -> Tensor:
    """Padding "same" of (b, c, h, w) as in TensorFlow: the odd row and column are added at the end."""
    amount = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(x.shape[:1:-1], kernel[::-1])]
    return F.pad(x, [p for n in amount for p in (n // 2, n - n // 2)], value=value)


def _conv(x, weight, bias=None, stride=1, same=True, depthwise=False, relu=False):
    x, weight = x.permute(0, 3, 1, 2), weight.permute(0, 3, 1, 2)
    if depthwise:
        weight = weight.permute(1, 0, 2, 3)
    if same:
        x = _same(x, tuple(weight.shape[2:]), stride)
    y = F.conv2d(x, weight, bias, stride, groups=x.shape[1] if depthwise else 1).permute(0, 2, 3, 1)
    return y.relu() if relu else y


def _max_pool(x, kernel, stride, same):
    x = x.permute(0, 3, 1, 2)
    x = _same(x, (kernel, kernel), stride, float("-inf")) if same else x
    return F.max_pool2d(x, kernel, stride).permute(0, 2, 3, 1)


def _slice(x, begin, end, shrink):
    picked = x[tuple(slice(b, e if e else None) for b, e in zip(begin, end))]
    for axis in sorted(shrink, reverse=True):
        picked = picked.select(axis, 0)
    return picked


def _resize(x, size):
    return F.interpolate(x.permute(0, 3, 1, 2), size, mode="bilinear").permute(0, 2, 3, 1)


def _unpooled(x, weight, bias):
    """Transposed convolution of stride 2 with a kernel (out, 2, 2, in)."""
    return F.conv_transpose2d(x.permute(0, 3, 1, 2), weight.permute(3, 0, 1, 2), bias, 2).permute(0, 2, 3, 1)


OPERATIONS = {
    "conv": _conv,
    "max_pool": _max_pool,
    "slice": _slice,
    "relu": torch.relu,
    "hard_swish": F.hardswish,
    "resize": _resize,
    "unpooled": _unpooled,
    "prelu": lambda x, slope: torch.where(x >= 0, x, x * slope),
    "sigmoid": torch.sigmoid,
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "squared_difference": lambda x, y: (x - y) ** 2,
    "mean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "sum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "pad": lambda x, amounts: F.pad(x, amounts),
    "reshape": lambda x, shape: x.reshape(x.shape[0], *shape[1:]) if len(shape) > 1 else x.reshape(shape),
    "transpose": lambda x, order: x.permute(order),
    "concat": lambda *parts, axis: torch.cat(parts, axis),
}
