"""The cost of DICE-Talk's video network with random weights: default mode against parity mode, and each optimisation.

python -m benchmarks.dice [--seconds S] [--steps N] [--side PIXELS] [--compile]: full size in fp16 on a GPU, else tiny
size on the CPU in float64. Scenarios: the upstream implementation (contexts repeated for every position before their
projection, discarded frames), parity and default mode, branches one by one, reused deep features, each ``--vram``
setting. Error: against the scenario that must give an equal, or nearly equal, result. Writes
benchmarks/results/dice.md, with the device's name.
"""

import argparse
import math
import platform
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from gen.emotion.spec import EmotionCurve
from talking_head.video import attention
from talking_head.video.memory import fitting
from talking_head.video.pipeline import DiceVideo
from talking_head.video.portrait import prepare
from talking_head.video.sampler import Inputs, Plan, Sampler
from talking_head.video.schedule import calls, frame_count

FOUR = {"reference": 3.0, "audio": 6.0, "emotion": 7.0}


def models(device: str) -> DiceVideo:
    """Random networks of the size for the device; adapters and pose features are non-zero."""
    full = device == "cuda"
    with torch.device(device):
        model = DiceVideo.build("full" if full else "tiny")
    for part in model.parts.values():
        torch.nn.Module.to(part, device, torch.float16 if full else torch.float64)
    model.device = torch.device(device)
    model.priors.cpu()
    for name, parameter in model.parts["unet"].named_parameters():
        if "_ip." in name:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    torch.nn.init.normal_(model.parts["pose"].conv_out.weight, std=0.01)
    return model


@contextmanager
def repeated():
    """The upstream implementation: keys for every row of queries, projected from repeated contexts."""
    looks = attention.AdapterAttention.__call__

    def naive(self, attn, hidden_states, encoder_hidden_states, attention_mask=None):
        contexts, rows = encoder_hidden_states, len(hidden_states)
        copies = lambda x: x.repeat_interleave(rows // len(x), 0)
        wide = contexts._replace(portrait=copies(contexts.portrait), adapters=tuple(map(copies, contexts.adapters)))
        return looks(self, attn, hidden_states, wide)

    with patch.object(attention.AdapterAttention, "__call__", naive):
        yield


def measure(work, device: str) -> tuple[Tensor, float, float]:
    """The result, the seconds, and the peak memory (GB) of one run."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    made = work()
    if device == "cuda":
        torch.cuda.synchronize()
        return made, time.perf_counter() - began, torch.cuda.max_memory_allocated() / 1e9
    return made, time.perf_counter() - began, math.nan


def noise_ratio(found: Tensor, wanted: Tensor) -> str:
    """Peak signal-to-noise ratio in dB; the peak is the range of the reference."""
    error = (found.float() - wanted.float()).square().mean().sqrt()
    span = wanted.float().max() - wanted.float().min()
    return "same" if error == 0 else f"{20 * math.log10(span / error):.1f}"


def table(model: DiceVideo, seconds: float, steps: int, side: int) -> list[tuple]:
    """Rows: scenario, windows, seconds, GB, PSNR in dB and its reference."""
    device, random = model.device.type, np.random.default_rng(0)
    samples = (0.1 * random.normal(size=int(seconds * 16000))).astype(np.float32)
    picture = random.integers(0, 255, (side, side, 3), dtype=np.uint8)
    box = (side / 4, side / 4, side / 2, side / 2)
    portrait = prepare(picture, box, side, model.parts["clip"].config.size)
    frames, curve = frame_count(len(samples)), EmotionCurve.parse("happy")

    def latents(plan: Plan) -> Tensor:
        inputs: Inputs = model.condition(portrait, samples, curve, plan)
        noise = torch.cat((model.noise(portrait, frames, 0, Plan()), model.noise(portrait, 25, 1, Plan())), 1)
        noise = noise[:, : frames + plan.tail]
        return Sampler(model.parts["unet"], plan).run(inputs, noise)[0, :frames]

    latents(Plan(steps=1))  # warm up
    plan, found, rows = Plan(steps=steps), {}, []
    scenarios = {
        "upstream": (replace(plan, parity=True), "parity"),
        "parity": (replace(plan, parity=True), ""),
        "default, contexts repeated": (plan, "default"),
        "default": (plan, ""),
        "default, branches one by one": (replace(plan, batched=False), "default"),
        "default, four branches": (replace(plan, scales=FOUR), ""),
        "default, deep features of every 2nd step": (replace(plan, reuse=2), "default"),
        "default, deep features of every 3rd step": (replace(plan, reuse=3), "default"),
    }
    for name, (chosen, _) in scenarios.items():
        naive = name == "upstream" or name.endswith("repeated")
        with repeated() if naive else nullcontext():
            found[name], spent, memory = measure(lambda plan=chosen: latents(plan), device)
        rows.append([name, calls(frames + chosen.tail, steps), spent, memory])
    for row in rows:
        other = scenarios[row[0]][1]
        row.append(f"{noise_ratio(found[row[0]], found[other])} ({other})" if other else "")
    for gigabytes in (4, 6, 8, 12, 16, 24):
        memory = fitting(model, gigabytes, frames, (side, side), plan)
        small = DiceVideo(model.parts, model.priors, device, memory)
        work = lambda small=small: list(small.generate(portrait, samples, curve, plan=replace(plan, steps=2)))
        what = f"--vram {gigabytes} (offload {memory.offload}), 2 steps with decoding"
        rows.append([what, calls(frames, 2), *measure(work, device)[1:], ""])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    gpu = torch.cuda.is_available()
    parser.add_argument("--seconds", type=float, default=10.0 if gpu else 2.4)
    parser.add_argument("--steps", type=int, default=25 if gpu else 4)
    parser.add_argument("--side", type=int, default=512 if gpu else 64)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    model = models("cuda" if gpu else "cpu")
    if options.compile:
        model.parts["unet"].compile_repeated_blocks()
    rows = table(model, options.seconds, options.steps, options.side)
    name = torch.cuda.get_device_name() if gpu else f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)"
    size = "full size, fp16" if gpu else "tiny size, float64"
    facts = f"{options.seconds:g} s of sound, {options.steps} steps, {options.side} px"
    lines = [f"{name}; {size}; {facts}{', compiled' * options.compile}; random weights", ""]
    lines += ["| scenario | windows | seconds | GB | PSNR, dB |", "|---|---|---|---|---|"]
    for scenario, count, spent, memory, error in rows:
        lines.append(
            f"| {scenario} | {count} | {spent:.2f} | {'-' if math.isnan(memory) else f'{memory:.1f}'} | {error} |"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    with open(Path(__file__).parent / "results" / "dice.md", "a") as file:
        file.write(text + "\n")


if __name__ == "__main__":
    main()
