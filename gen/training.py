"""What trainings under a clock share: an optimiser, a log of JSON lines, and a state that the next run goes on from."""

import json
import logging
import os
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import nn

from gen.errors import InputError

log = logging.getLogger(__name__)
S = TypeVar("S", bound=NamedTuple)


def settings_of(cls: type[S], kind: str, given: dict[str, str]) -> S:
    """Settings from ``--set name=value``. Raises InputError for a name that does not exist."""
    if unknown := given.keys() - cls._fields:
        raise InputError(f"{kind} has no setting {', '.join(sorted(unknown))}: use {', '.join(cls._fields)}")
    return cls(**{name: cls.__annotations__[name](value) for name, value in given.items()})


class Run:
    """One model's training for ``minutes``: its state is ``OUT/NAME.pt``, its log ``OUT/log.jsonl``.

    ``model`` stands on its device already; what requires no gradient is not trained.
    """

    def __init__(self, name: str, model: nn.Module, out: Path, minutes: float, rate: float):
        self.name, self.model, self.out, self.seconds = name, model, out, minutes * 60
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, rate, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
        self.step, self.elapsed = 0, 0.0
        if self.state_path.exists():
            state = torch.load(self.state_path, weights_only=True)
            model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.elapsed = state["step"], state["elapsed"]

    @property
    def state_path(self) -> Path:
        return self.out / f"{self.name}.pt"

    def save(self) -> None:
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        partial = self.state_path.with_suffix(".part")
        torch.save(state | {"step": self.step, "elapsed": self.elapsed}, partial)
        os.replace(partial, self.state_path)

    def record(self, **values) -> None:
        line = {"model": self.name, "step": self.step, "seconds": round(self.elapsed)} | values
        with open(self.out / "log.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        log.info("%s", line)
