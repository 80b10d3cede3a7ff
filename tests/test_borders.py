"""Who may know whom: apps -> talking_head, voice_conversion, music -> gen; and what may load PyTorch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ARTS = {"talking_head", "voice_conversion", "music"}
MAY_IMPORT = {"gen": set(), "apps": ARTS | {"gen"}} | {art: {"gen"} for art in ARTS}
FILES = [path for package in sorted(MAY_IMPORT) for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            found |= {arg.value.split(".")[0] for arg in node.args if isinstance(arg, ast.Constant)}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    strangers = (imported(path) & MAY_IMPORT.keys()) - MAY_IMPORT[package] - {package}
    assert not strangers, f"{package} may not import {strangers}"


@pytest.mark.parametrize("module", ["gen.cli", "gen.jobs.progress", "gen.media", "gen.convert"])
def test_import_leaves_torch_alone(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_registered_tasks_and_generators_leave_torch_alone():
    code = (
        "import sys; from gen import registry\n"
        "for kind in ('task', 'generator'): [registry.get(kind, name) for name in registry.names(kind)]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("module", ["gen.nn", "gen.diffusion", "music.muser.generate", "talking_head.motion.dice.model",
                                    "voice_conversion.emoreg.score"])  # fmt: skip
def test_networks_leave_the_compiler_alone(module):
    """``torch._dynamo`` takes a second to import, and only ``torch.compile`` needs it; afterwards it can be had."""
    code = f"import sys, {module}; assert 'torch._dynamo' not in sys.modules; import torch._dynamo"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
