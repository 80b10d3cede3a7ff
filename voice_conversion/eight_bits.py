"""Weights in 8 bits: matrices as whole numbers with a scale for each row, vectors in half precision."""

import torch
from torch import Tensor


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict -> what a file holds."""
    parts = {}
    for name, value in state.items():
        if value.dim() < 2:
            parts[name] = value.half().contiguous()
            continue
        scale = value.flatten(1).abs().amax(1).clamp_min(1e-8) / 127
        parts[name] = (value / scale.view(-1, *[1] * (value.dim() - 1))).round().to(torch.int8).contiguous()
        parts[f"{name}_scale"] = scale
    return parts


def unpacked(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`packed`: a state dict in single precision."""
    state = {}
    for name, value in parts.items():
        if not name.endswith("_scale"):
            scale = parts.get(f"{name}_scale", torch.ones(1))
            state[name] = value.float() * scale.view(-1, *[1] * (value.dim() - 1))
    return state
