"""Training checkpoints of other projects, read without running any of their code.

They hold configuration objects beside the tensors, which the weights-only reader refuses. Here only tensors,
storages and plain containers are built; every other class becomes a :class:`Shell` that keeps what it was given.
"""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import torch

from gen.errors import InputError

ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    **{("torch", name): getattr(torch, name) for name in (
        "FloatStorage", "HalfStorage", "DoubleStorage", "LongStorage", "IntStorage", "ShortStorage", "ByteStorage",
        "BoolStorage", "BFloat16Storage",
    )},
}  # fmt: skip


class Shell:
    """What stands for an object of a class that is not built; it does nothing."""

    def __new__(cls, *given, **named):
        return super().__new__(cls)

    def __init__(self, *given, **named):
        self.given = given

    def __call__(self, *given, **named):
        return Shell(*given)

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        pass

    def extend(self, values):
        pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        return ALLOWED.get((module, name)) or type(name, (Shell,), {"__module__": module})


READER = SimpleNamespace(Unpickler=_Unpickler, load=lambda file, **options: _Unpickler(file, **options).load(),
                         __name__="talking_head.face.pickles")  # fmt: skip


def read(path: Path) -> dict:
    """A checkpoint (torch's zip format) as plain containers and tensors; InputError if it is none."""
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a checkpoint that torch wrote: give the .ckpt of the release")
    return torch.load(path, map_location="cpu", pickle_module=READER, weights_only=False)


def state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a Lightning checkpoint by name."""
    found = read(path)
    if not isinstance(found, dict) or not isinstance(found.get("state_dict"), dict):
        raise InputError(f"{path} holds no state_dict: give the .ckpt of the release")
    return {key: value for key, value in found["state_dict"].items() if isinstance(value, torch.Tensor)}
