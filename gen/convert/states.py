"""State dicts of published networks: read, measured and fitted, each refusal one sentence with the first wrong keys."""

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
MOST = 6  # keys that a message names


def read(path: Path, wanted: str) -> State:
    """The content of a file of plain weights, safetensors or torch's own; a ``state_dict`` in it is unwrapped.

    ``wanted`` says in the message what the file should be.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is not there: give {wanted}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError):
        raise CheckpointError(f"{path} is damaged, or not a file of plain weights: give {wanted}.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no state dict: give {wanted}.")
    return content.get("state_dict", content)


@contextmanager
def sizes(what: str) -> Iterator[None]:
    """Around code that reads a network's sizes off its state: what is missing there is said by name."""
    try:
        yield
    except KeyError as error:
        raise CheckpointError(f"{what} lacks {error.args[0]}: it is of another layout.") from None
    except (ValueError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise CheckpointError(f"{what} has tensors of another shape ({error}): it is of another layout.") from None


def fit(model: nn.Module, state: State, what: str, *, assign: bool = False) -> None:
    """Load every tensor of ``state`` into ``model``, none missing, none left over, none of another shape."""
    wanted = model.state_dict()
    both = wanted.keys() & state.keys()
    wrong = {
        "missing": wanted.keys() - state.keys(),
        "unexpected": state.keys() - wanted.keys(),
        "of another shape": {key for key in both if wanted[key].shape != state[key].shape},
    }
    if told := "; ".join(f"{kind}: {_some(keys)}" for kind, keys in wrong.items() if keys):
        raise CheckpointError(f"{what} does not fit ({told}).")
    model.load_state_dict(state, assign=assign)


def _some(keys: set[str]) -> str:
    first = ", ".join(sorted(keys)[:MOST])
    return first if len(keys) <= MOST else f"{first} and {len(keys) - MOST} more"
