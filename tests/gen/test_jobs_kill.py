"""``affekt render`` killed at random moments: no partial files, and the final results have equal bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gen.jobs.cache import RECORD

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tone_kind")]

SHOW = """
defaults: {kind: tone, pause: 0.1, seconds: 2}
jobs:
  - {id: a, matrix: {seed: [1, 2, 3, 4, 5, 6]}}
  - {id: b, matrix: {seed: [1, 2, 3, 4]}, count: 2, continue: {job: a}}
"""


def start(folder: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "gen.cli", "render", "show.yaml", "--device", "cpu", "--json", *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"AFFEKT_CACHE": "cache"},
    )


def visible(folder: Path) -> dict[str, bytes]:
    """Visible files by name."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def finished(cache: Path) -> dict[str, bytes]:
    """Files of the finished items, each checked against its record."""
    found = {}
    for entry in cache.glob("??/*"):
        names = json.loads((entry / RECORD).read_text())["files"]
        assert sorted([*names, RECORD]) == sorted(path.name for path in entry.iterdir())
        found |= {f"{entry.name}/{name}": (entry / name).read_bytes() for name in (*names, RECORD)}
    return found


def end(process: subprocess.Popen) -> None:
    _, output = process.communicate(timeout=600)
    assert process.returncode == 0, output.decode()


def wait(process: subprocess.Popen, until: Callable[[], bool]) -> None:
    while process.poll() is None and not until():
        time.sleep(0.002)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return tmp_path_factory.mktemp("reference")


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments(tmp_path, reference, workers):
    if not (reference / "show.yaml").exists():
        (reference / "show.yaml").write_text(SHOW)
        end(start(reference))
    whole, kept = visible(reference / "out"), finished(reference / "cache")
    assert len(kept) == 6 * 3 + 4 * 5

    (tmp_path / "show.yaml").write_text(SHOW)
    cache, dice, killed = tmp_path / "cache", random.Random(workers), 0
    for _ in range(4):
        process, more = start(tmp_path, "--workers", str(workers)), dice.randrange(3)
        goal = len(list(cache.glob("??/*"))) + more
        wait(process, lambda goal=goal: (cache / "drafts").exists() and len(list(cache.glob("??/*"))) >= goal)
        time.sleep(dice.uniform(0, 0.05))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
        assert visible(tmp_path / "out").items() <= whole.items()
        assert finished(tmp_path / "cache").items() <= kept.items()
    assert killed >= 2
    end(start(tmp_path, "--workers", str(workers)))
    assert visible(tmp_path / "out") == whole and finished(tmp_path / "cache") == kept


def test_workers_exit_with_a_killed_parent(tmp_path):
    (tmp_path / "show.yaml").write_text(SHOW.replace("0.1", "1"))
    process = start(tmp_path, "--workers", "2")
    wait(process, (tmp_path / "cache" / "drafts").exists)
    assert process.poll() is None
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 300
    while group_is_alive(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
