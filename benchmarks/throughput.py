"""Many small jobs with one and two workers, local and on a local Ray cluster, and with a worker killed halfway.

    python benchmarks/throughput.py [--jobs 500] [--seconds 2] [--out benchmarks/results/throughput.md]

A job writes a few seconds of a sine, its manifest and its watermark. Every scenario starts with an empty cache and must
give the same bytes as the first.
"""

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from tone_site import know_tone

from gen.jobs.cache import Cache
from gen.jobs.plan import plan_file
from gen.jobs.run import Event, run

SCENARIOS = (("local", 1, False), ("local", 2, False), ("ray", 1, False), ("ray", 2, False), ("ray", 2, True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=2.0, help="of sound a job")
    parser.add_argument("--out", type=Path, help="also write the table there")
    options = parser.parse_args()
    rows, first = ["| on | workers | seconds | jobs a second | same bytes |", "|---|---|---|---|---|"], None
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        folder = Path(place)
        know_tone(folder, patch)
        patch.setenv("AFFEKT_SIGNING", "off")
        seeds = [*range(options.jobs)]
        (folder / "show.yaml").write_text(
            f"jobs: [{{id: a, kind: tone, seconds: {options.seconds}, matrix: {{seed: {seeds}}}}}]"
        )
        for on, workers, kill in SCENARIOS:
            seconds, digest = timed(folder, on, workers, options.jobs // 2 if kill else None)
            first = first or digest
            how = f"{on}, one killed halfway" if kill else on
            same = "yes" if digest == first else "NO"
            rows.append(f"| {how} | {workers} | {seconds:.1f} | {options.jobs / seconds:.1f} | {same} |")
            print(rows[-1], flush=True)
    load = f"{psutil.cpu_count()} CPUs, load {os.getloadavg()[1]:.1f} in the 5 minutes before the end"
    text = "\n".join([*rows, "", f"{options.jobs} jobs of {options.seconds:g} s of sound; {load}."])
    if options.out:
        options.out.write_text(f"{text}\n", encoding="utf-8")


def timed(folder: Path, on: str, workers: int, kill_at: int | None) -> tuple[float, str]:
    """Seconds from the plan to the last file, and the hash of all files."""
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        done = []

        def report(event: Event) -> None:
            done.append(event.state)
            if len(done) == kill_at:
                os.kill(actors()[0].pid, signal.SIGKILL)

        start = time.perf_counter()
        out, cache = Path(fresh) / "out", Cache(Path(fresh) / "cache")
        run(plan_file(folder / "show.yaml"), out, cache, report, on=on, workers=workers, device="cpu")
        seconds = time.perf_counter() - start
        whole = hashlib.sha256()
        for path in sorted(out.iterdir()):
            whole.update(path.name.encode() + path.read_bytes())
        return seconds, whole.hexdigest()


def actors() -> list[psutil.Process]:
    """The rendering processes of the local cluster."""
    below = psutil.Process().children(recursive=True)
    return [one for one in below if any("_Actor" in word for word in one.cmdline())]


if __name__ == "__main__":
    main()
