"""Training under a clock, on one device or, through accelerate, on several; a run goes on where it stopped."""

import json
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)
SAVE_EVERY = 120  # seconds
Losses = dict[str, Tensor]


class Run:
    """``model(batch) -> (loss, {name: value})`` trained on what ``batches()`` gives; only what requires gradients."""

    def __init__(self, name: str, model: nn.Module, out: Path, minutes: float, rate: float, spread: bool = False,
                 device: str = "cpu"):  # fmt: skip
        self.name, self.out, self.seconds, self.rate = name, out, minutes * 60, rate
        self.step, self.elapsed = 0, 0.0
        out.mkdir(parents=True, exist_ok=True)
        self.trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
        self.model = model.to(device)
        self.optimiser = torch.optim.AdamW(self.trained.values(), rate, betas=(0.9, 0.98), weight_decay=0.02)
        if self.path.exists():
            state = torch.load(self.path, weights_only=True, map_location=device)
            self.model.load_state_dict(state["model"], strict=False)  # frozen parts are not in it
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.elapsed = state["step"], state["elapsed"]
        self.accelerator = None
        if spread:
            from accelerate import Accelerator

            self.accelerator = Accelerator()
            self.model, self.optimiser = self.accelerator.prepare(self.model, self.optimiser)

    @property
    def path(self) -> Path:
        return self.out / f"{self.name}.pt"

    def train(self, batches: Callable, check: Callable[[], dict] = dict, precision: torch.dtype | None = None) -> None:
        """Until the time is over; a warm-up, then a cosine; ``check()`` gives values to log at each save."""
        saved, kind = self.elapsed, next(iter(self.trained.values())).device.type
        while self.elapsed < self.seconds:
            began, done = time.perf_counter(), self.elapsed / self.seconds
            for group in self.optimiser.param_groups:
                warm = min(1, (self.step + 1) / 50)
                group["lr"] = self.rate * warm * (0.51 + 0.49 * math.cos(math.pi * done))
            with torch.autocast(kind, precision or torch.bfloat16, enabled=precision is not None):
                loss, values = self.model(batches())
            self._backward(loss)
            nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            self.step += 1
            self.elapsed += time.perf_counter() - began
            if self.step % 50 == 0:
                self.record(**{name: round(v.item(), 4) for name, v in values.items()})
            if self.elapsed - saved > SAVE_EVERY or self.elapsed >= self.seconds:
                self.record(**check())
                self.save()
                saved = self.elapsed

    def _backward(self, loss: Tensor) -> None:
        if self.accelerator is None:
            loss.backward()
        else:
            self.accelerator.backward(loss)

    def save(self) -> None:
        if self.accelerator is not None and not self.accelerator.is_main_process:
            return
        state = {"model": {key: p.detach() for key, p in self.trained.items()}, "step": self.step,
                 "optimiser": self.optimiser.state_dict(), "elapsed": self.elapsed}  # fmt: skip
        partial = self.path.with_suffix(".part")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def record(self, **values) -> None:
        line = {"model": self.name, "step": self.step, "seconds": round(self.elapsed)} | values
        with open(self.out / "log.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        log.info("%s", line)
