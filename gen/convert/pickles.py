"""Reads upstream pickles without running their code.

Checkpoints of other projects hold objects of their own classes, which torch's weights-only reader refuses. Here only
tensors, arrays and plain containers are created; any other class becomes a :class:`Shell` that keeps its data.
"""

import pickle
import zipfile
from collections import OrderedDict, deque
from pathlib import Path
from types import SimpleNamespace

import torch

from gen.convert.states import UNREADABLE
from gen.errors import CheckpointError

STORAGES = ("Float", "Half", "Double", "Long", "Int", "Short", "Byte", "Bool", "BFloat16")
TORCH = {
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    **{("torch", f"{name}Storage"): getattr(torch, f"{name}Storage") for name in STORAGES},
}
PLAIN = {("collections", "OrderedDict"): OrderedDict, ("builtins", "set"): set, ("builtins", "frozenset"): frozenset}
NUMPY = {"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"}


class Shell:
    """Placeholder for an object of a class that is not loaded: keeps its data and does nothing."""

    def __new__(cls, *given, **named):
        shell = super().__new__(cls)
        shell.given, shell.state, shell.items = given, None, {}
        return shell

    def __init__(self, *given, **named):
        pass

    def __call__(self, *given, **named):
        return Shell(*given)

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        self.items[key] = value

    def append(self, value):
        pass

    def extend(self, values):
        pass


class Unpickler(pickle.Unpickler):
    """Creates tensors, arrays and plain containers, and shells for everything else."""

    def find_class(self, module: str, name: str):
        if found := TORCH.get((module, name)) or PLAIN.get((module, name)):
            return found
        if (module.split(".")[0] == "numpy" and name in NUMPY) or (module, name) == ("_codecs", "encode"):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        return type(name, (Shell,), {"__module__": module})


READER = SimpleNamespace(
    Unpickler=Unpickler, load=lambda file, **options: Unpickler(file, **options).load(), __name__="gen.convert.pickles"
)


def load(path: Path, skip: int = 0, **options):
    """Loads a pickle from byte ``skip`` on. Raises :class:`CheckpointError` if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(skip)
            return Unpickler(file, **options).load()
    except (OSError, *UNREADABLE) as error:
        raise CheckpointError(f"{path} is not a readable pickle ({error}): download it again.") from None


def training_checkpoint(path: Path) -> dict:
    """Loads a Lightning checkpoint (torch's zip format) with ``state_dict``; raises :class:`CheckpointError`
    otherwise."""
    found = None
    if zipfile.is_zipfile(path):
        found = torch.load(path, map_location="cpu", pickle_module=READER, weights_only=False)
    if not isinstance(found, dict) or not isinstance(found.get("state_dict"), dict):
        raise CheckpointError(f"{path} is not a training checkpoint with a state_dict: give the upstream .ckpt file.")
    found["state_dict"] = {key: value for key, value in found["state_dict"].items() if isinstance(value, torch.Tensor)}
    return found


def setting(tree, name: str):
    """The first value called ``name`` in nested containers and shells (dictionaries, munches, OmegaConf nodes), or None
    if there is none.
    """
    waiting, seen = deque([tree]), set()
    while waiting:
        node = waiting.popleft()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Shell):
            waiting.extend((node.items, node.state, node.given))
        elif isinstance(node, dict):
            if name in node:
                value = node[name]
                return value.state.get("_val") if isinstance(value, Shell) and isinstance(value.state, dict) else value
            waiting.extend(node.values())
        elif isinstance(node, list | tuple):
            waiting.extend(node)
    return None
