"""The emotion package only infers, reads user files in one place, and has no import cycles."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "gen/emotion").rglob("*.py")}


def imports(path: Path) -> set[str]:
    """Modules of gen.emotion that a file imports, at any level except for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typed = {
        id(n)
        for i in ast.walk(tree)
        if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.dump(i.test)
        for n in ast.walk(i)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typed:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found & FILES.keys()


def test_there_are_no_import_cycles():
    try:
        list(TopologicalSorter({name: imports(path) for name, path in FILES.items()}).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_nothing_trains_or_evaluates():
    words = ("optimizer", "optimiser", ".backward(", "gen.training", "gen.evaluate", "tensorboard")
    found = {name: word for name, path in FILES.items() for word in words if word in path.read_text(encoding="utf-8")}
    found.pop("gen.emotion.contract", None)  # it checks gradients
    assert not found


def test_emotion_values_open_no_user_files_and_need_no_torch(tmp_path):
    """Parsing, printing, hashing and sampling read only the package's own tables."""
    code = f"""
import sys
from pathlib import Path
opened = []
files = ("open", "os.listdir", "os.scandir")
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event in files else None)
from gen.emotion.spec import Emotion, EmotionCurve
for text in ("happy 0.7 + sad 0.3 @ 1.2", "v=0.3 a=-0.2", "I have never been so happy", "from: {tmp_path}/a.wav"):
    curve = EmotionCurve.parse(text)
    hash(curve), str(curve)
    if curve.keyframes:
        curve.sample([0.0, 1.0])
own = [name for name in opened if "{tmp_path}" in name or "affekt/emotions" in name]
sys.exit(bool(own) or any(m in sys.modules for m in ("torch", "scipy", "matplotlib", "gen.emotion.own")))
"""
    environment = {"AFFEKT_EMOTIONS": str(tmp_path / "emotions"), "PATH": ""}
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment).returncode == 0
