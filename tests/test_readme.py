"""What README.md shows is true: its commands, code and job files run, in order, section by section."""

import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from gen.cli import build_parser
from gen.emotion.spec import EmotionCurve
from gen.jobs.plan import plan_file

ROOT = Path(__file__).parent.parent
SERVER = (ROOT / "apps" / "server.py").read_text(encoding="utf-8")
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"(?:<!-- not run: (?P<excuse>.+?) -->\n)?^```(?P<kind>\w*)\n(?P<code>.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    kind: str
    code: str
    excuse: str | None


def sections() -> dict[str, list[Block]]:
    """Heading of the second level -> the blocks below it."""
    parts = re.split(r"^## (.+)$", TEXT, flags=re.M)
    pairs = [("", parts[0]), *zip(parts[1::2], parts[2::2])]
    return {name: [Block(m["kind"], m["code"], m["excuse"]) for m in FENCE.finditer(text)] for name, text in pairs}


BLOCKS = [block for blocks in sections().values() for block in blocks]
RUNNING = [name for name, blocks in sections().items() if any(block.excuse is None for block in blocks)]


def run(block: Block, folder: Path) -> str:
    """What the block prints; a job file goes into the folder under the name in its first line."""
    if block.kind == "yaml":
        path = folder / block.code.splitlines()[0].removeprefix("# ")
        path.write_text(block.code)
        assert plan_file(path).items
        return ""
    bash = f'set -euo pipefail; PATH="{Path(sys.executable).parent}:$PATH"\n{block.code}'
    command = ["bash", "-c", bash] if block.kind == "bash" else [sys.executable, "-c", block.code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{block.code}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("section", RUNNING)
def test_section_runs(section, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    printed = ""
    for block in sections()[section]:
        if block.kind == "text":
            assert block.code == printed
        elif block.excuse is None and not block.code.startswith('"""'):  # a file that is quoted is tested below
            printed = run(block, tmp_path)


def test_what_is_quoted_is_the_file():
    quoted = [block.code for block in BLOCKS if block.code.startswith('"""')]
    assert quoted == [(ROOT / "examples" / "my_conditioner.py").read_text(encoding="utf-8")]


def test_what_is_not_run_could_be():
    lines = [line for block in BLOCKS if block.excuse for line in block.code.splitlines()]
    for line in lines:
        command = re.match(r"(?:AFFEKT_TOKEN=\w+ )?(?:affekt|python examples/my_conditioner\.py) (.+)", line)
        if command:
            build_parser(given := shlex.split(command[1])).parse_args(given)
        elif line.startswith("curl "):
            assert f'.post("{re.search(r"127.0.0.1:8420(/[a-z0-9/]+)", line)[1]}"' in SERVER, line
        else:
            name, target = line.rsplit(" ", 1)
            known = (ROOT / "Makefile").read_text() if name == "make" else "source .venv/bin/activate"
            assert target in known, line


def test_every_form_of_emotion_is_one():
    table = TEXT[TEXT.index("| write | means |") :].split("\n\n")[0]
    forms = re.findall(r"^\| `(.+?)` \|", table, re.M)
    assert len(forms) == 9
    for one, other in pairwise(map(EmotionCurve.parse, forms)):
        assert one != other


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        if link.startswith("#"):
            heading = link[1:].replace("-", " ")
            assert re.search(rf"^#+ {heading}$", TEXT, re.M | re.I), link
        else:
            assert (ROOT / link).exists(), link
