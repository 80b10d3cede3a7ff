"""A job file on a local Ray cluster: equal files, and no losses when a worker is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gen.jobs.cache import Cache
from gen.jobs.plan import plan_file
from gen.jobs.run import run

pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tone_kind")]

SHOW = """
defaults: {kind: tone, pause: 0.2}
jobs:
  - {id: a, matrix: {seed: [1, 2, 3, 4, 5, 6]}}
  - {id: b, matrix: {seed: [1, 2, 3, 4, 5, 6]}, continue: {job: a}, frequency: 220}
"""


def content(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """The rendering processes of the cluster."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        return [one for one in below if any("_Actor" in word for word in one.cmdline())]
    except psutil.Error:
        return []


def test_a_killed_worker_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    show = Path("show.yaml")
    show.write_text(SHOW)
    states = run(plan_file(show), Path("plain"), Cache(Path("cache-plain")), lambda event: None, device="cpu")
    assert set(states.values()) == {"rendered"}

    command = [sys.executable, "-m", "gen.cli", "render", "show.yaml", "--out", "out", "--cache", "cache", "--json"]
    process = subprocess.Popen(
        [*command, "--on", "ray", "--workers", "2", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )
    lines = [process.stdout.readline() for _ in range(3)]
    victims = workers(process)
    assert victims, lines
    os.kill(victims[0].pid, signal.SIGKILL)
    rest, output = process.communicate(timeout=600)
    assert process.returncode == 0, output
    events = [json.loads(line) for line in [*lines, *rest.splitlines()]]  # stdout has only JSON lines
    assert sum(event["event"] == "rendered" for event in events) == 12  # each once
    assert content(Path("out")) == content(Path("plain"))


def test_an_item_that_kills_its_worker_affects_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    show = Path("show.yaml")
    show.write_text("jobs: [{id: a, kind: tone}, {id: b, kind: tone, fault: die}, {id: c, kind: tone, seed: 3}]")
    started = time.monotonic()
    states = run(
        plan_file(show), Path("out"), Cache(Path("cache")), lambda event: None, on="ray", workers=2, device="cpu"
    )
    assert states == {"a": "rendered", "b": "failed", "c": "rendered"}, time.monotonic() - started
    assert "worker" in Path("out/b.error.json").read_text()
