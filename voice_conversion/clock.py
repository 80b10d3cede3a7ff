"""A training that time is the budget of: it saves as it goes, and the same command goes on from there.

On a CPU the processor's time counts, so that a busy machine trains as long as an idle one, only later.
"""

import json
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

log = logging.getLogger(__name__)

SAVE_EVERY = 120  # seconds
WARM = 60  # steps in which the learning rate rises


class Clock:
    """One stage: optimisers over ``parts``, averaged weights of ``model``, a log of JSON lines, a state to resume."""

    def __init__(self, name: str, model: nn.Module, out: Path, minutes: float, rates: dict[nn.Module, float],
                 average: float = 0.999):  # fmt: skip
        self.name, self.model, self.out, self.seconds, self.average = name, model, out, minutes * 60, average
        self.parts = list(rates)
        make = lambda part, rate: torch.optim.AdamW(part.parameters(), rate, (0.9, 0.98), weight_decay=0.01, fused=True)
        self.optimisers = [make(part, rate) for part, rate in rates.items()]
        self.rates = list(rates.values())
        self.step, self.elapsed = 0, 0.0
        self.averaged = {k: v.detach().clone() for k, v in model.state_dict().items()}
        out.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._resume()

    @property
    def path(self) -> Path:
        return self.out / f"{self.name}.pt"

    @property
    def done(self) -> float:
        """Share of the time that is over, 0..1."""
        return min(self.elapsed / self.seconds, 1.0) if self.seconds else 1.0

    def now(self) -> float:
        """Seconds on the clock that the budget is of."""
        on_cpu = next(self.model.parameters()).device.type == "cpu"
        return time.process_time() if on_cpu else time.perf_counter()

    def _resume(self) -> None:
        state = torch.load(self.path, weights_only=True)
        for part, held in zip(self.parts, state["parts"]):
            part.load_state_dict(held)
        for optimiser, held in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(held)
        self.averaged = state["averaged"]
        self.step, self.elapsed = state["step"], state["elapsed"]

    def save(self) -> None:
        state = {"parts": [part.state_dict() for part in self.parts], "averaged": self.averaged,
                 "optimisers": [o.state_dict() for o in self.optimisers], "step": self.step,
                 "elapsed": self.elapsed}  # fmt: skip
        partial = self.path.with_suffix(".part")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def record(self, **values) -> None:
        line = {"stage": self.name, "step": self.step, "seconds": round(self.elapsed)} | values
        with open(self.out / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        log.info("%s", line)

    def update(self, which: int, loss: torch.Tensor) -> None:
        """One step of the optimiser ``which`` down ``loss``."""
        optimiser, part = self.optimisers[which], self.parts[which]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        rate = self.rates[which] * min(1, (self.step + 1) / WARM) * (0.505 + 0.495 * math.cos(math.pi * self.done))
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()

    def run(self, step: Callable[["Clock"], dict], validate: Callable[[nn.Module], dict] | None = None) -> None:
        """``step`` calls :meth:`update` and returns values to log, until the time is over."""
        saved, self.model = self.elapsed, self.model.train()
        while self.elapsed < self.seconds:
            began = self.now()
            values = step(self)
            self._follow()
            self.step += 1
            self.elapsed += self.now() - began
            if self.step % 50 == 0:
                self.record(**{name: round(float(value), 4) for name, value in values.items()})
            if self.elapsed - saved > SAVE_EVERY or self.elapsed >= self.seconds:
                self.save()
                saved = self.elapsed
        self.model.load_state_dict(self.averaged)
        self.model.eval()
        if validate:
            self.record(**validate(self.model))

    @torch.no_grad()
    def _follow(self) -> None:
        """The average moves, faster in the beginning."""
        keep = min(self.average, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            held = self.averaged[name]
            if held.dtype.is_floating_point:
                held.lerp_(value.detach(), 1 - keep)
            else:
                held.copy_(value)
