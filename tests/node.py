"""Programs of others that run in Node.js: ``npm install --prefix tests/foreign`` fetches them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

FOREIGN = Path(__file__).parent / "foreign"


def needs(package: str):
    """Skips a test where Node.js or one of its packages is not there."""
    there = shutil.which("node") and (FOREIGN / "node_modules" / package / "package.json").is_file()
    return pytest.mark.skipif(not there, reason=f"{package} is not installed: npm install --prefix tests/foreign")


def run(script: str, *arguments: str, given: str = "", seconds: float = 300):
    """What a script beside the packages prints as JSON on its last line; ``given`` is its standard input."""
    done = subprocess.run(["node", FOREIGN / script, *map(str, arguments)], capture_output=True, text=True,
                          timeout=seconds, input=given)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
