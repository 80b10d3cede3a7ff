"""The time of a command from a cold start, and the share of imports.

    python benchmarks/startup.py [--rounds 3] [--out benchmarks/results/startup.md]

Every run is a new process with an empty cache; the best of the rounds counts. Import time is the sum by ``-X
importtime``, which has an overhead, so it is given as a share of the run in which it was measured.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from gen import media

EXAMPLES = Path(__file__).parent.parent / "examples"
SECONDS = 3.0  # seconds of sound
HEAVY = ("torch", "torch._dynamo", "diffusers", "scipy", "scipy.signal", "av", "pydantic", "PIL", "symusic")


class Took(NamedTuple):
    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write the tables there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        samples, rate = media.read_audio(EXAMPLES / "line.opus")
        media.write_audio(folder / "line.wav", samples[: round(SECONDS * rate)], rate)
        commands = {
            "`import torch`": (None, ["-c", "import torch"]),
            "`affekt --help`": (0.4, ["-m", "gen.cli", "--help"]),
            "talk, 3 s at 512 px": (
                6,
                ["-m", "gen.cli", "talk", str(EXAMPLES / "grace_hopper.jpg"), "line.wav", "--emotion", "happy"],
            ),
            "voice, 3 s": (5, ["-m", "gen.cli", "voice", "line.wav", "--emotion", "happy"]),
            "music, 16 bars without sound": (
                8,
                ["-m", "gen.cli", "music", "--emotion", "happy", "--bars", "16", "--no-audio"],
            ),
        }
        best, imports = {}, {}
        for what, (_, command) in commands.items():
            best[what] = min(run(command, folder) for _ in range(options.rounds))
            imports[what] = imported(command, folder)
    unit = best["`import torch`"].wall
    rows = ["| from nothing | seconds | bar | by `import torch` | CPU seconds | importing |", "|---" * 6 + "|"]
    for what, (bar, _) in commands.items():
        took, (share, _) = best[what], imports[what]
        most = "" if bar is None else f"<= {bar:g}"
        rows.append(f"| {what} | {took.wall:.2f} | {most} | {took.wall / unit:.1f} | {took.cpu:.2f} | {share:.0%} |")
    rows += [
        "",
        "Seconds of importing, with all that is below, in the run under `-X importtime`:",
        "",
        f"| | {' | '.join(HEAVY)} |",
        "|---" * (len(HEAVY) + 1) + "|",
    ]
    for what, (_, found) in imports.items():
        rows.append(f"| {what} | {' | '.join(f'{found[name]:.2f}' if name in found else '-' for name in HEAVY)} |")
    load = f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} in the last minute, best of {options.rounds}"
    text = "\n".join([*rows, "", f"{load}."])
    print(text)
    if options.out:
        options.out.write_text(f"{text}\n", encoding="utf-8")


def run(command: list[str], folder: Path, *flags: str) -> Took:
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        begin, before = time.perf_counter(), os.times()
        with (folder / "stderr").open("wb") as errors:
            subprocess.run(
                [sys.executable, *flags, *command],
                cwd=folder,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=os.environ | {"AFFEKT_CACHE": cache},
            )
        after = os.times()
        return Took(time.perf_counter() - begin, after[2] + after[3] - before[2] - before[3])


def imported(command: list[str], folder: Path) -> tuple[float, dict[str, float]]:
    """Share of imports in the whole run, and seconds of the heavy modules."""
    took, alone, found = run(command, folder, "-X", "importtime"), 0, {}
    for line in (folder / "stderr").read_text(encoding="utf-8", errors="replace").splitlines():
        if row := re.match(r"import time:\s+(\d+) \|\s+(\d+) \|\s+(\S+)", line):
            alone += int(row[1])
            found[row[3]] = int(row[2]) / 1e6
    return alone / 1e6 / took.wall, found


if __name__ == "__main__":
    main()
