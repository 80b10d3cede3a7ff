"""Runs external programs in Node.js: ``npm install --prefix tests/foreign`` installs them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

FOREIGN = Path(__file__).parent / "foreign"


def needs(package: str):
    """Skips a test if Node.js or one of its packages is missing."""
    there = shutil.which("node") and (FOREIGN / "node_modules" / package / "package.json").is_file()
    return pytest.mark.skipif(not there, reason=f"{package} is not installed: npm install --prefix tests/foreign")


def run(script: str, *arguments: str, given: str = "", seconds: float = 300):
    """The JSON on the last output line of a script beside the packages; ``given`` is its standard input."""
    done = subprocess.run(
        ["node", FOREIGN / script, *map(str, arguments)], capture_output=True, text=True, timeout=seconds, input=given
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
