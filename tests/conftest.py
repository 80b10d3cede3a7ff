"""No test is timed; none reads or writes the user's caches, or goes online."""

import os
from pathlib import Path

import hypothesis
import pytest
from tone_site import know_tone

os.environ["HF_HUB_OFFLINE"] = "1"

# The same examples on every machine and no clock: a test that is red on a busy machine says nothing about the code.
hypothesis.settings.register_profile(
    "affekt", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("affekt")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What runs whole programs comes first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFEKT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("AFFEKT_SIGNING", "off")  # signatures differ each time, and tests compare bytes


@pytest.fixture
def tone_kind(tmp_path, monkeypatch):
    know_tone(tmp_path, monkeypatch)
