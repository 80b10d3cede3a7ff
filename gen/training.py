"""Training loop by time or by steps: warm-up and cosine schedule, a JSON-lines log, and a state to resume from."""

import json
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gen.errors import InputError

log = logging.getLogger(__name__)
SAVE_EVERY = 120  # seconds
WARM = 100  # warm-up steps
LOW = 0.02  # final learning rate relative to ``rate``


class Run:
    """One model's training for ``minutes`` or ``steps``, whichever ends first. State: ``OUT/NAME.pt``; log:
    ``OUT/log.jsonl``.

    ``model`` must be on its device; parameters without gradient are neither trained nor saved. Matrices have weight
    decay ``decay``, vectors have none. With ``spread`` it runs on several devices through accelerate: the loss must
    then call ``run.model``. With ``average`` (decay per step, 0..1) the model ends with the moving average of its
    weights. ``settings`` and the state of ``random``, which draws the batches, are saved too. Raises InputError if the
    state is of another model or of other settings.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        out: Path,
        minutes: float | None,
        rate: float,
        *,
        steps: int | None = None,
        clip: float = 1.0,
        decay: float = 0.02,
        precision: torch.dtype | None = torch.bfloat16,
        average: float = 0.0,
        spread: bool = False,
        settings: dict | None = None,
        random: np.random.Generator | None = None,
    ):
        self.name, self.out, self.rate = name, out, rate
        self.seconds, self.steps = math.inf if minutes is None else minutes * 60, math.inf if steps is None else steps
        self.model = self.bare = model
        self.clip, self.precision, self.average = clip, precision, average
        self.settings, self.random = settings, random
        self.averaged = {k: v.detach().clone() for k, v in model.state_dict().items()} if average else {}
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        self.kind = self.trained[0].device.type
        groups = [
            {"params": [p for p in self.trained if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in self.trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, rate, betas=(0.9, 0.98), fused=True)
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
        """Fraction of the time or of the steps completed, 0..1."""
        if not (self.seconds and self.steps):
            return 1.0
        return min(max(self.elapsed / self.seconds, self.step / self.steps), 1.0)

    def train(self, loss: Callable[[], tuple[Tensor, dict]], check: Callable[[], dict] = dict) -> None:
        """Calls ``loss() -> (scalar, values to log)`` until done; ``check()`` returns values at each save."""
        saved = self.elapsed
        while self.done < 1:
            began = time.perf_counter()
            values = self._advance(loss)
            self.elapsed += time.perf_counter() - began
            if self.step % 50 == 0:
                numbers = {n: v.item() if isinstance(v, Tensor) else v for n, v in values.items()}
                self.record(**{name: round(value, 4) for name, value in numbers.items()})
            if self.elapsed - saved > SAVE_EVERY or self.done == 1:
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
        """Updates the moving average, faster at the start."""
        keep = min(self.average, (1 + self.step) / (10 + self.step))
        for name, value in self.bare.state_dict().items() if self.averaged else ():
            held = self.averaged[name]
            held.lerp_(value, 1 - keep) if held.is_floating_point() else held.copy_(value)

    def _resume(self, state: dict) -> None:
        missing, surplus = self.bare.load_state_dict(state["model"], strict=False)
        if surplus or set(missing) - self.frozen:
            raise InputError(f"{self.path} belongs to another model: give another --out")
        if state.get("settings") != self.settings:
            raise InputError(f"{self.path} has other settings: give another --out, or the same settings")
        self.optimiser.load_state_dict(state["optimiser"])
        self.averaged = state.get("averaged", self.averaged)
        self.step, self.elapsed = state["step"], state["elapsed"]
        torch.set_rng_state(state["chance"].cpu())
        if self.random is not None:
            self.random.bit_generator.state = json.loads(state["random"])

    def save(self) -> None:
        if self.accelerator is not None and not self.accelerator.is_main_process:
            return
        kept = {name: value for name, value in self.bare.state_dict().items() if name not in self.frozen}
        state = {
            "model": kept,
            "averaged": self.averaged,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "settings": self.settings,
            "chance": torch.get_rng_state(),
        }
        if self.random is not None:
            state["random"] = json.dumps(self.random.bit_generator.state)
        partial = self.path.with_suffix(".part")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def record(self, **values) -> None:
        line = {"model": self.name, "step": self.step, "seconds": round(self.elapsed)} | values
        with open(self.out / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        log.info("%s", line)
