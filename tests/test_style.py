"""The whole tree passes the linter."""

import subprocess
import sys
from pathlib import Path


def test_ruff_passes():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--quiet", "."], cwd=Path(__file__).parent.parent,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
