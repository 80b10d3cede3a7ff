"""Disables time limits, isolates the user's caches, and blocks network access."""

import os
from pathlib import Path

import hypothesis
import pytest
from tone_site import know_tone

os.environ["HF_HUB_OFFLINE"] = "1"

# Fixed examples and no deadline: results must not depend on the load of the machine.
hypothesis.settings.register_profile(
    "affekt", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("affekt")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Runs tests of whole programs first, so that no worker is left with one at the end."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFEKT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("AFFEKT_SIGNING", "off")  # signatures differ each time, and tests compare bytes


@pytest.fixture
def tone_kind(tmp_path, monkeypatch):
    know_tone(tmp_path, monkeypatch)
