"""Import rules: apps -> talking_head, voice_conversion, music -> gen; only training and evaluation import training and
evaluation; no import cycles; light imports do not load PyTorch."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ARTS = {"talking_head", "voice_conversion", "music"}
MAY_IMPORT = {"gen": set(), "apps": ARTS | {"gen"}} | {art: {"gen"} for art in ARTS}
FILES = [path for package in sorted(MAY_IMPORT) for path in sorted((ROOT / package).rglob("*.py"))]

ROOMS = ("training", "evaluation")  # in each domain package
RESEARCH = (
    "gen.training",
    "gen.evaluate",
    "gen.ablate",
    "apps.embedding",
    "apps.scene.evaluate",
    "apps.scene.measures",
)
MAY_RESEARCH = {("gen.cli", "gen.ablate"), ("gen.cli", "gen.evaluate.run")}  # the commands train, evaluate and ablate
CHECKS = {("gen.generator", "gen.evaluate.run"), ("gen.generator", "gen.evaluate.report")}  # check_evaluator, types

# Known exceptions. These lists may only get shorter.
NOT_YET_IN_A_ROOM: set[str] = set()
STILL_IMPORTED: set[tuple[str, str]] = set()


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes executed on import: no function bodies, no blocks for type checking."""
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def imports(nodes: Iterator[ast.AST]) -> set[str]:
    """The full names of the modules that nodes import."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & MODULES.keys()) or {node.module}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return found


def in_research(module: str) -> bool:
    """True if a module trains or evaluates."""
    parts = module.split(".")
    of_art = parts[0] in ARTS and parts[1:2] and parts[1] in ROOMS
    return of_art or any(f"{module}.".startswith(f"{name}.") for name in (*RESEARCH, *NOT_YET_IN_A_ROOM))


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module):
    """Imports inside functions count too."""
    package = module.split(".")[0]
    known = {name.split(".")[0] for name in imports(ast.walk(MODULES[module]))}
    forbidden = (known & MAY_IMPORT.keys()) - MAY_IMPORT[package] - {package}
    assert not forbidden, f"{package} may not import {forbidden}"


def test_only_training_and_evaluation_import_training_and_evaluation():
    """Imports inside functions count too; the registry reaches parts by name."""
    found = {
        (module, name)
        for module in MODULES
        if not in_research(module)
        for name in imports(ast.walk(MODULES[module]))
        if name in MODULES and in_research(name)
    }
    wrong = found - MAY_RESEARCH - CHECKS - STILL_IMPORTED
    assert not wrong, f"inference may not import what trains or evaluates: {sorted(wrong)}"


def test_the_lists_of_exceptions_get_shorter():
    assert not NOT_YET_IN_A_ROOM - MODULES.keys(), "moved: take it off NOT_YET_IN_A_ROOM"
    assert all(name in imports(ast.walk(MODULES[module])) for module, name in STILL_IMPORTED), "take it off the list"


def test_there_are_no_import_circles():
    graph = {module: imports(at_import(tree)) & MODULES.keys() - {module} for module, tree in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("module", ["gen.cli", "gen.jobs.progress", "gen.media", "gen.convert"])
def test_import_does_not_load_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_registered_tasks_and_generators_do_not_load_torch():
    code = (
        "import sys; from gen import registry\n"
        "for kind in ('task', 'generator'): [registry.get(kind, name) for name in registry.names(kind)]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    "module",
    ["gen.nn", "gen.diffusion", "music.muser.generate", "talking_head.motion.dice.model", "voice_conversion.speaker"],
)
def test_networks_do_not_load_the_compiler(module):
    """``torch._dynamo`` takes a second to import and is only needed by ``torch.compile``; it can still be imported
    later."""
    code = (
        f"import sys, {module}; from gen import checkpoints; from talking_head.face.graph import Graph\n"
        "model = checkpoints.load('face-tracker', Graph, 'coefficients').to('cpu'); assert model.device.type == 'cpu'\n"
        "assert 'torch._dynamo' not in sys.modules; import torch._dynamo"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_base_classes_of_networks_come_from_one_place(path):
    text = path.read_text(encoding="utf-8")
    assert path == ROOT / "gen/network.py" or not re.search(
        r"from diffusers( import|\.configuration_utils|\.models\.modeling_utils)", text
    ), "import ConfigMixin, ModelMixin, register_to_config from gen.network: a second less at each start"
