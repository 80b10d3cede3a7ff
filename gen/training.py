"""Training under a clock: warm-up and cosine, a log of JSON lines, and a state that the next run goes on from."""

import json
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from gen.errors import InputError

log = logging.getLogger(__name__)
SAVE_EVERY = 120  # seconds
WARM = 100  # steps in which the rate rises
LOW = 0.02  # share of the rate that is left at the end


class Run:
    """One model's training for ``minutes``: its state is ``OUT/NAME.pt``, its log ``OUT/log.jsonl``.

    ``model`` stands on its device already; what requires no gradient is neither trained nor kept in the state. With
    ``spread`` it goes over several devices, through accelerate: ``run.model`` is what the loss then has to call.
    With ``average`` (of 0..1, how much is kept at a step) the model ends with the moving average of its weights.
    Raises InputError where the state is of another model.
    """

    def __init__(self, name: str, model: nn.Module, out: Path, minutes: float, rate: float, *, clip: float = 1.0,
                 precision: torch.dtype | None = torch.bfloat16, average: float = 0.0,
                 spread: bool = False):  # fmt: skip
        self.name, self.out, self.seconds, self.rate = name, out, minutes * 60, rate
        self.model = self.bare = model
        self.clip, self.precision, self.average = clip, precision, average
        self.averaged = {k: v.detach().clone() for k, v in model.state_dict().items()} if average else {}
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        self.kind = self.trained[0].device.type
        self.optimiser = torch.optim.AdamW(self.trained, rate, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
        self.step, self.elapsed = 0, 0.0
        out.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._resume(torch.load(self.path, weights_only=True, map_location=self.trained[0].device))
        self.accelerator = None
        if spread:
            from accelerate import Accelerator

            self.accelerator = Accelerator()
            self.model, self.optimiser = self.accelerator.prepare(self.model, self.optimiser)

    @property
    def path(self) -> Path:
        return self.out / f"{self.name}.pt"

    @property
    def done(self) -> float:
        """Share of the time that is over, 0..1."""
        return min(self.elapsed / self.seconds, 1.0) if self.seconds else 1.0

    def train(self, loss: Callable[[], tuple[Tensor, dict]], check: Callable[[], dict] = dict) -> None:
        """``loss() -> (scalar, values to log)`` until the time is over; ``check()`` gives values at each save."""
        saved = self.elapsed
        while self.elapsed < self.seconds:
            began = time.perf_counter()
            values = self._advance(loss)
            self.elapsed += time.perf_counter() - began
            if self.step % 50 == 0:
                numbers = {n: v.item() if isinstance(v, Tensor) else v for n, v in values.items()}
                self.record(**{name: round(value, 4) for name, value in numbers.items()})
            if self.elapsed - saved > SAVE_EVERY or self.elapsed >= self.seconds:
                self.bare.eval()
                self.record(**check())
                self.bare.train()
                self.save()
                saved = self.elapsed
        if self.averaged:
            self.bare.load_state_dict(self.averaged)

    def _advance(self, loss: Callable[[], tuple[Tensor, dict]]) -> dict:
        """One step; returns the values of its loss."""
        rate = self.rate * min(1, (self.step + 1) / WARM)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * (LOW + (1 - LOW) * (0.5 + 0.5 * math.cos(math.pi * self.done)))
        with torch.autocast(self.kind, self.precision or torch.bfloat16, enabled=self.precision is not None):
            value, values = loss()
        value.backward() if self.accelerator is None else self.accelerator.backward(value)
        nn.utils.clip_grad_norm_(self.trained, self.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self._follow()
        return values

    @torch.no_grad()
    def _follow(self) -> None:
        """The average moves, faster in the beginning."""
        keep = min(self.average, (1 + self.step) / (10 + self.step))
        for name, value in self.bare.state_dict().items() if self.averaged else ():
            held = self.averaged[name]
            held.lerp_(value, 1 - keep) if held.is_floating_point() else held.copy_(value)

    def _resume(self, state: dict) -> None:
        missing, surplus = self.bare.load_state_dict(state["model"], strict=False)
        if surplus or set(missing) - self.frozen:
            raise InputError(f"{self.path} is of a training of another model: give another --out")
        self.optimiser.load_state_dict(state["optimiser"])
        self.averaged = state.get("averaged", self.averaged)
        self.step, self.elapsed = state["step"], state["elapsed"]

    def save(self) -> None:
        if self.accelerator is not None and not self.accelerator.is_main_process:
            return
        kept = {name: value for name, value in self.bare.state_dict().items() if name not in self.frozen}
        state = {"model": kept, "averaged": self.averaged, "optimiser": self.optimiser.state_dict(),
                 "step": self.step, "elapsed": self.elapsed}  # fmt: skip
        partial = self.path.with_suffix(".part")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def record(self, **values) -> None:
        line = {"model": self.name, "step": self.step, "seconds": round(self.elapsed)} | values
        with open(self.out / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        log.info("%s", line)
