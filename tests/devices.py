"""Which tensors code makes without saying where: on a GPU they would be left on the CPU.

Loops that read what they draw cannot run on ``meta``; this watches them on the CPU instead.
"""

import sys
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode

ROOT = Path(__file__).parents[1]
ROOMS = tuple(str(ROOT / name) for name in ("gen", "music", "talking_head", "voice_conversion"))
FACTORIES = {torch.zeros, torch.ones, torch.full, torch.empty, torch.arange, torch.linspace, torch.eye, torch.rand,
             torch.randn, torch.randint, torch.tensor}  # fmt: skip


def _watched(path: str) -> bool:
    """Emotions are prepared on the CPU, wherever a network is: their tests look at that."""
    return path.startswith(ROOMS) and not path.startswith(str(ROOT / "gen" / "emotion"))


class Homeless(TorchFunctionMode):
    """Within it, every call of a factory in the project's code that names no device is kept in ``places``. A
    draw with a generator is left out: it is made on the CPU, so that seeds mean the same everywhere."""

    def __init__(self):
        super().__init__()
        self.places: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        frame = sys._getframe(1)
        if func in FACTORIES and not {"device", "generator"} & {*kwargs} and _watched(frame.f_code.co_filename):
            self.places.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        return func(*args, **kwargs)
