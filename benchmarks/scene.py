"""The time to render a scene: cold, from the command line with an empty cache, and warm, in a running process.

    python benchmarks/scene.py [--seconds 20] [--size 512] [--out benchmarks/results/scene.md]

The line in examples/ is repeated to the requested length.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from apps.scene.task import SceneTask
from gen import media
from gen.jobs.cache import Cache
from gen.jobs.plan import plan_tasks
from gen.jobs.run import run

EXAMPLES = Path(__file__).parent.parent / "examples"
MARGINS = 3.7  # seconds before and after the words
EMOTION = "0: sad, 8: happy @ 1.3"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of the film")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--out", type=Path, help="also write the table there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        samples, rate = media.read_audio(EXAMPLES / "line.opus")
        said = np.resize(samples, round((options.seconds - MARGINS) * rate))
        media.write_audio(folder / "said.wav", said, rate)
        rows = ["| a scene | seconds | seconds of a processor | of which the parts |", "|---|---|---|---|"]
        seconds, busy = cold(folder, options.size)
        rows.append(f"| cold: `affekt scene`, nothing loaded | {seconds:.1f} | {busy:.1f} | |")
        seconds, busy, parts = warm(folder, options.size)
        parts_text = ", ".join(f"{name} {spent:.1f}" for name, spent in parts.items())
        rows.append(f"| warm: the next one in the same process | {seconds:.1f} | {busy:.1f} | {parts_text} |")
    load = f"{psutil.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} in the last minute"
    text = "\n".join(
        [*rows, "", f"{options.seconds:g} s of film at {options.size} pixels, all three parts made; {load}."]
    )
    print(text)
    if options.out:
        options.out.write_text(f"{text}\n", encoding="utf-8")


def cold(folder: Path, size: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds of the whole command, including imports and weights."""
    words = ["scene", EXAMPLES / "grace_hopper.jpg", "--audio", folder / "said.wav", "--emotion", EMOTION]
    where = ["--size", size, "--out", folder / "cold.mp4", "--cache", folder / "cold"]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "gen.cli", *map(str, words + where)], check=True, capture_output=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, used.ru_utime + used.ru_stime


def warm(folder: Path, size: int) -> tuple[float, float, dict[str, float]]:
    """Wall-clock and CPU seconds of the second of two scenes in this process, and wall-clock seconds by part."""
    for seed in (1, 2):
        task = SceneTask(
            portrait=EXAMPLES / "grace_hopper.jpg", audio=folder / "said.wav", emotion=EMOTION, size=size, seed=seed
        )
        spent: dict[str, float] = {}
        last = start = time.perf_counter()
        before = time.process_time()

        def report(event, spent=spent) -> None:
            nonlocal last
            now = time.perf_counter()
            if event.state == "progress":
                spent[event.message] = spent.get(event.message, 0.0) + now - last
            last = now

        run(plan_tasks({f"warm-{seed}": task}), folder, Cache(folder / "warm"), report)
        seconds, busy = time.perf_counter() - start, time.process_time() - before
    return seconds, busy, spent


if __name__ == "__main__":
    main()
