"""Lookup of parts: registered here, shipped with gen, or installed by other packages."""

import subprocess
import sys

import pytest

from gen import registry
from gen.errors import InputError


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {kind: {} for kind in registry.KINDS})


@pytest.fixture
def installed(tmp_path, monkeypatch, fresh):
    """A package with a trainer, a second one that fails when imported, and one that claims a shipped name."""

    def install(points: str) -> None:
        info = tmp_path / "outside-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        (tmp_path / "outside_good.py").write_text("def train():\n    return 'trained'\n")
        (tmp_path / "outside_bad.py").write_text("raise RuntimeError('imported')\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install


def test_register_and_build(fresh):
    @registry.register("evaluator", "mine")
    class Mine:
        def __init__(self, size: int):
            self.size = size

    assert registry.get("evaluator", "mine") is Mine
    assert registry.build("evaluator", "mine", size=3).size == 3
    assert "mine" in registry.names("evaluator")
    assert registry.register("evaluator", "mine")(Mine) is Mine  # registering the same object twice is allowed


def test_another_object_under_a_name_in_use(fresh):
    registry.register("evaluator", "mine")(object())
    with pytest.raises(ValueError, match="'mine' is already"):
        registry.register("evaluator", "mine")(object())


def test_unknown_names_get_the_three_nearest():
    with pytest.raises(registry.UnknownName, match="nearest are label, ") as caught:
        registry.get("conditioner", "lable")
    assert isinstance(caught.value, InputError)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).count(",") == 2
    with pytest.raises(registry.UnknownName, match="kinds are conditioner"):
        registry.names("conditoner")


def test_entry_points_import_only_the_requested_part(installed):
    installed("[affekt.trainer]\noutside = outside_good:train\nbroken = outside_bad:train\n")
    assert {"outside", "broken"} <= set(registry.names("trainer"))
    assert registry.build("trainer", "outside") == "trained"
    assert "outside_bad" not in sys.modules


def test_an_entry_point_that_leads_nowhere_is_named(installed):
    installed("[affekt.trainer]\nlost = outside_none:train\nempty = outside_good:none\n")
    for name in ("lost", "empty"):
        with pytest.raises(InputError, match=f"trainer '{name}' of outside cannot be imported from outside_"):
            registry.get("trainer", name)


def test_entry_points_cannot_take_a_shipped_name(installed):
    installed("[affekt.conditioner]\nvad = outside_good:train\n")
    with pytest.raises(ValueError, match="rename outside_good:train"):
        registry.names("conditioner")


@pytest.mark.parametrize("kind", registry.SHIPPED)
def test_shipped_parts_exist(kind):
    _, shipped = registry.SHIPPED[kind]
    for name in shipped:
        assert callable(registry.get(kind, name))


@pytest.mark.slow
def test_a_fresh_process_knows_every_conditioner():
    code = (
        "from gen import registry\n"
        "names = registry.names('conditioner')\n"
        "for name in names: registry.get('conditioner', name)\n"
        "print(*names)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert {"none", "label", "vad", "gaussian", "bank", "direction", "quadrant", "emote"} <= set(done.stdout.split())


def test_names_import_nothing_heavy():
    code = "import sys; from gen import registry; registry.names('conditioner'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
