"""Runs the commands, code and job files of README.md and docs/, page by page and in order."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from gen.cli import build_parser
from gen.emotion.spec import EmotionCurve
from gen.jobs.plan import plan_file

ROOT = Path(__file__).parent.parent
SERVER = (ROOT / "apps" / "server.py").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?P<in> *)(?:<!-- not run: (?P<excuse>.+?) -->\n\1)?```(?P<kind>\w*)\n(?P<code>.*?)^\1```$", re.M | re.S
)
RUN = ("bash", "python", "yaml")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
FOREIGN = re.compile(
    r'<(?:script|img|audio|iframe)[^>]* src="https?:[^"]+"'
    r'|<link[^>]* rel="(?:stylesheet|preload|preconnect)"[^>]* href="https?:[^"]+"'
)
LONGEST = 200  # lines of README.md


class Block(NamedTuple):
    kind: str
    code: str
    excuse: str | None

    @property
    def runs(self) -> bool:
        """True if the block is a command, code or a job file to run; quoted examples have their own test."""
        return self.kind in RUN and self.excuse is None and not self.code.startswith("--8<--")


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    plain = lambda match: re.sub(f"^{match['in']}", "", match["code"], flags=re.M)
    return [Block(match["kind"], plain(match), match["excuse"]) for match in FENCE.finditer(text)]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def run(block: Block, folder: Path) -> str:
    """Runs a block and returns its output; a job file is written to the folder under the name in its first line."""
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
@pytest.mark.parametrize("page", [page for page in PAGES if any(block.runs for block in blocks(page))], ids=named)
def test_a_page_runs(page, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    printed = ""
    for block in blocks(page):
        if block.kind == "text" and printed:
            assert block.code == printed
        elif block.runs:
            printed = run(block, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["curves.py", "edit_film.py"])
def test_an_example_runs(script, tmp_path):
    if script == "edit_film.py":
        pytest.importorskip("moviepy")
    run(Block("bash", f"python {ROOT / 'examples' / script}", None), tmp_path)
    made = sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".json")
    assert made == {"curves.py": [".mid"] * 3 + [".png"] * 3, "edit_film.py": [".mp4"]}[script]


def test_every_example_is_shown():
    shown = {match for page in PAGES for match in re.findall(r'--8<-- "examples/(\w+\.py)"', page.read_text())}
    assert shown == {path.name for path in (ROOT / "examples").glob("*.py")}


def commands() -> list[str]:
    """The lines of all blocks that are not run."""
    return [line for page in PAGES for block in blocks(page) if block.excuse for line in block.code.splitlines()]


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_blocks_that_are_not_run_are_valid(line):
    command = re.match(r"(?:AFFEKT_TOKEN=\w+ )?(?:affekt|python examples/my_conditioner\.py) (.+)", line)
    if command:
        build_parser(given := shlex.split(command[1])).parse_args(given)
    elif line.startswith("curl "):
        assert f'.post("{re.search(r"127.0.0.1:8420(/[a-z0-9/]+)", line)[1]}"' in SERVER, line
    elif line.startswith("pip install -e"):
        assert set(re.search(r"\[(.+)\]", line)[1].split(",")) <= set(EXTRAS), line
    else:
        name, target = line.rsplit(" ", 1)
        known = (ROOT / "Makefile").read_text() if name == "make" else "source .venv/bin/activate"
        assert target in known, line


def test_every_documented_emotion_is_valid():
    text = (ROOT / "docs" / "reference" / "emotion.md").read_text(encoding="utf-8")
    table = text[text.index("| write | means |") :].split("\n\n")[0]
    forms = re.findall(r"^\| `(.+?)` \|", table, re.M)
    assert len(forms) == 9
    for one, other in pairwise(map(EmotionCurve.parse, forms)):
        assert one != other


def test_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    for link in re.findall(r'(?:\]\(|src=")([^)"]+)', text):
        assert (ROOT / link).exists(), link


@pytest.mark.slow
def test_the_site_is_built(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr
    html = {str(path.relative_to(tmp_path)): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    assert {"models/muser-compact.html", "source/pyproject.toml.html", "reference/cli.html"} <= {*html}
    for name, text in html.items():
        assert not FOREIGN.search(text), f"{name} needs the network: {FOREIGN.search(text)[0]}"
