"""Every test that is not marked slow is fast; no test reads or writes the user's caches, none goes online."""

import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than two seconds")
    config.addinivalue_line("markers", "fast: everything that is not slow (added by itself)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if not item.get_closest_marker("slow"):
            item.add_marker("fast")


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFEKT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("AFFEKT_SIGNING", "off")  # signatures differ each time, and tests compare bytes


@pytest.fixture
def tone_kind(tmp_path, monkeypatch):
    """Makes the kind ``tone`` known here, in worker processes and in subprocesses, as an installed package would."""
    site = tmp_path / "site"
    info = site / "tone-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tone\nVersion: 1.0\n")
    points = "[affekt.task]\ntone = tone:Tone\n[affekt.generator]\ntone = tone:ToneGenerator\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.path.dirname(__file__)]))
