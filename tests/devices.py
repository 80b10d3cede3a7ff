"""Finds tensors created without a device, which would stay on the CPU on a GPU machine.

Loops that read sampled values cannot run on ``meta``; they are traced on the CPU instead.
"""

import sys
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode

ROOT = Path(__file__).parents[1]
ROOMS = tuple(str(ROOT / name) for name in ("gen", "music", "talking_head", "voice_conversion"))
FACTORIES = {
    torch.zeros,
    torch.ones,
    torch.full,
    torch.empty,
    torch.arange,
    torch.linspace,
    torch.eye,
    torch.rand,
    torch.randn,
    torch.randint,
    torch.tensor,
}


def _watched(path: str) -> bool:
    """True for the project's files except gen/emotion, which prepares emotions on the CPU by design."""
    return path.startswith(ROOMS) and not path.startswith(str(ROOT / "gen" / "emotion"))


class Homeless(TorchFunctionMode):
    """Records in ``places`` every tensor factory call in the project's code without a device, except draws with a
    generator, which are made on the CPU so that seeds give equal results everywhere."""

    def __init__(self):
        super().__init__()
        self.places: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        frame = sys._getframe(1)
        if func in FACTORIES and not {"device", "generator"} & {*kwargs} and _watched(frame.f_code.co_filename):
            self.places.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        return func(*args, **kwargs)
