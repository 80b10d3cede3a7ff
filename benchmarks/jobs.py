"""The overhead of the job runner: planning 10,000 jobs, and skipping cached items.

    python benchmarks/jobs.py [--items 10000] [--cached 200]

Wall-clock seconds and CPU seconds of this process; the bars are 3 s for the plan and 20 ms for a cached item.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from gen import provenance, registry
from gen.emotion.spec import EmotionCurve
from gen.jobs.cache import Cache
from gen.jobs.plan import plan_file
from gen.jobs.run import run
from gen.jobs.schema import Task
from gen.media import write_audio

RATE = 8000


@registry.register("task", "beep")
class Beep(Task):
    kind: Literal["beep"] = "beep"
    emotion: EmotionCurve
    bars: int = 16
    before: Path | None = None


@registry.register("generator", "beep")
class BeepGenerator:
    """Writes the equivalent of a 16-bar piece: a score's worth of JSON and half a minute of sound."""

    @staticmethod
    def checkpoints(task: Beep) -> tuple[str, ...]:
        return ()

    @classmethod
    def from_pretrained(cls, *names, device="cpu"):
        return cls()

    def render(self, task: Beep, folder: Path, manifest: dict, progress) -> list[Path]:
        path = folder / "beep.wav"
        write_audio(path, np.sin(np.arange(32 * RATE) * 0.1 + task.seed).astype(np.float32), RATE, manifest)
        return [path]


def literal(count: int) -> str:
    rows = (f"- {{id: j{n}, kind: beep, emotion: happy @ 1.2, bars: 8, seed: {n}}}" for n in range(count))
    return "jobs:\n" + "\n".join(rows)


def matrix(count: int) -> str:
    emotions = "[happy, sad @ 0.5, v=0.5 a=0.3, happy 0.7 + surprise 0.3]"
    return f"jobs: [{{id: a, kind: beep, matrix: {{emotion: {emotions}, seed: {[*range(count // 4)]}}}}}]"


def chained(count: int) -> str:
    jobs = f"jobs:\n- {{id: a, kind: beep, matrix: {{emotion: [sad], seed: {[*range(count // 2)]}}}}}\n"
    return jobs + jobs.removeprefix("jobs:\n").replace("id: a", "id: b").replace("matrix", "before: {job: a}, matrix")


def table(count: int) -> str:
    """A CSV file with a recording in each row."""
    rows = (f"{n % 100}.wav,happy @ 1.{n % 10},{n},line {n}" for n in range(count))
    return "\n".join(["before,emotion,seed,take", *rows])


def timed(call: Callable) -> tuple[float, float, object]:
    """Wall and CPU seconds, and the result, of the faster of two calls."""
    measured = []
    for _ in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        result = call()
        measured.append((time.perf_counter() - wall, time.process_time() - cpu))
    return *min(measured), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--cached", type=int, default=200)
    options = parser.parse_args()
    print(f"{'scenario':<34} {'items':>6} {'wall s':>8} {'cpu s':>8} {'ms per item':>12}")
    with tempfile.TemporaryDirectory() as folder:
        file, cache = Path(folder) / "show.yaml", Cache(Path(folder) / "cache")
        for name, text in (("literal", literal), ("matrix", matrix), ("matrix with references", chained)):
            file.write_text(text(options.items))
            wall, cpu, plan = timed(lambda: plan_file(file))
            row(f"plan, {name}", len(plan.items), wall, cpu)
        for n in range(100):
            write_audio(Path(folder) / f"{n}.wav", np.full(RATE, n / 200, np.float32), RATE)
        (Path(folder) / "lines.csv").write_text(table(options.items))
        file.write_text("jobs: [{id: a, kind: beep, source: {csv: lines.csv}, out: '{emotion}/{index}-{take}'}]")
        wall, cpu, plan = timed(lambda: plan_file(file))
        row("plan, lines of a CSV", len(plan.items), wall, cpu)
        wall, cpu, _ = timed(lambda: provenance.code.cache_clear() or provenance.code("beep"))
        row("digest of the code", 1, wall, cpu)
        file.write_text(literal(options.cached))
        plan, out = plan_file(file), Path(folder) / "out"

        def render(to: Path = out):
            return run(plan, to, cache, lambda event: None, device="cpu")

        wall, cpu = time.perf_counter(), time.process_time()
        render()
        row("render, half a minute of sound", options.cached, time.perf_counter() - wall, time.process_time() - cpu)
        wall, cpu, states = timed(render)
        assert set(states.values()) == {"cached"}
        row("cached, in the output folder", options.cached, wall, cpu)
        wall, cpu = time.perf_counter(), time.process_time()
        render(Path(folder) / "other")
        row("cached, to be copied there", options.cached, time.perf_counter() - wall, time.process_time() - cpu)


def row(name: str, items: int, wall: float, cpu: float) -> None:
    print(f"{name:<34} {items:>6} {wall:>8.2f} {cpu:>8.2f} {1000 * wall / items:>12.2f}")


if __name__ == "__main__":
    main()
