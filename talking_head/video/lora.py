"""LoRA for a network's attention (Hu et al., ICLR 2022, sec. 4.1)."""

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gen.errors import CheckpointError

PLACES = re.compile(r"attn2\.(to_q|to_k|to_v|to_out\.0|processor\.to_[kv]_ip\.1)$")


class LowRank(nn.Module):
    """A weight (n, m) -> the weight plus ``up @ down``, which is 0 at first."""

    def __init__(self, weight: Tensor, rank: int):
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1], device=weight.device) * weight.shape[1] ** -0.5)
        self.up = nn.Parameter(torch.zeros(len(weight), rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).to(weight.dtype)


def add(model: nn.Module, rank: int) -> None:
    """Freeze a model and add low-rank changes to its cross-attentions, the trained parameters."""
    model.requires_grad_(False)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and PLACES.search(name):
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))


def save(model: nn.Module, path: Path) -> None:
    """Save the changes."""
    save_file({k: v.contiguous().cpu() for k, v in model.state_dict().items() if k.endswith((".up", ".down"))}, path)


def merge(model: nn.Module) -> None:
    """Merge the changes into the weights."""
    for layer in list(model.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def load(model: nn.Module, path: Path) -> None:
    """Load changes and merge them into a model of the same layout."""
    changes = load_file(path)
    add(model, rank=len(next(v for k, v in changes.items() if k.endswith(".down"))))
    mine = {key for key in model.state_dict() if key.endswith((".up", ".down"))}
    if mine != changes.keys():
        raise CheckpointError(f"{path} holds changes to another network: give those made for this one.")
    model.load_state_dict(changes, strict=False)
    merge(model)
