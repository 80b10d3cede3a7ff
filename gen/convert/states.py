"""Reads, inspects and loads state dicts of upstream networks; errors name the first wrong keys."""

import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gen.errors import CheckpointError

State = dict[str, Tensor]
UNREADABLE = (RuntimeError, EOFError, pickle.UnpicklingError, LookupError, ValueError, AttributeError, TypeError)
MAX_KEYS = 6  # keys listed in a message


def read(path: Path, wanted: str) -> State:
    """Loads a file of plain weights (safetensors or torch format); unwraps a ``state_dict``.

    ``wanted`` describes the expected file in error messages.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} not found: give {wanted}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (*UNREADABLE, SafetensorError):
        raise CheckpointError(f"{path} is damaged or has no plain weights: give {wanted}.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} has no state dict: give {wanted}.")
    return content.get("state_dict", content)


@contextmanager
def sizes(what: str) -> Iterator[None]:
    """Context for code that infers a network's sizes from its state; turns missing keys into clear errors."""
    try:
        yield
    except KeyError as error:
        raise CheckpointError(f"{what} has no {error.args[0]}: its architecture differs.") from None
    except (ValueError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise CheckpointError(f"{what} has tensors of another shape ({error}): its architecture differs.") from None


def fit(model: nn.Module, state: State, what: str, *, assign: bool = False) -> None:
    """Loads ``state`` into ``model``; raises for missing, unexpected or wrongly shaped tensors."""
    wanted = model.state_dict()
    both = wanted.keys() & state.keys()
    wrong = {
        "missing": wanted.keys() - state.keys(),
        "unexpected": state.keys() - wanted.keys(),
        "of another shape": {key for key in both if wanted[key].shape != state[key].shape},
    }
    if problems := "; ".join(f"{kind}: {_some(keys)}" for kind, keys in wrong.items() if keys):
        raise CheckpointError(f"{what} does not fit ({problems}).")
    model.load_state_dict(state, assign=assign)


def _some(keys: set[str]) -> str:
    first = ", ".join(sorted(keys)[:MAX_KEYS])
    return first if len(keys) <= MAX_KEYS else f"{first} and {len(keys) - MAX_KEYS} more"
