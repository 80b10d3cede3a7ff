"""Every checkpoint, card and package states its licence in machine-readable form."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from packaging.licenses import canonicalize_license_expression

from gen import checkpoints

ROOT = Path(__file__).parent.parent
CARDS = sorted((ROOT / "checkpoints").glob("*/README.md"))
INDEX = tomllib.loads((ROOT / "checkpoints" / "index.toml").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_a_card_is_valid(path):
    facts = ModelCard.load(path).data
    wanted = INDEX[path.parent.name]["licence"].split(" AND ")[0]
    assert facts.library_name == "affekt" and facts.tags
    if facts.license == "other":
        assert wanted == f"LicenseRef-{facts.license_name}"
        assert (path.parent / facts.license_link).is_file()
    else:
        assert facts.license == wanted.lower()


def test_every_shipped_checkpoint_has_a_card():
    assert {path.parent.name for path in CARDS} == {name for name, entry in INDEX.items() if "files" in entry}


@pytest.mark.parametrize("name", INDEX)
def test_licences_are_spdx(name):
    entry = INDEX[name]
    assert canonicalize_license_expression(entry["licence"]) == entry["licence"]
    closed = re.search("NC|research-only", entry["licence"]) is not None
    assert entry["non_commercial"] == closed
    assert "LicenseRef" not in entry["licence"] or entry["terms"]
    assert f"`{name}`" in PAGE, "docs/licences.md does not name it"


@pytest.mark.parametrize("path", sorted((ROOT / "checkpoints").rglob("*.json")), ids=lambda path: path.parent.name)
def test_no_weights_contain_a_local_path(path):
    text = path.read_text(encoding="utf-8")
    assert "_name_or_path" not in text and not re.search(r"\"(/|~|runs/)", text)


def test_a_model_is_saved_without_its_path(tmp_path):
    from gen.network import ConfigMixin, ModelMixin, register_to_config

    class One(ModelMixin, ConfigMixin):
        @register_to_config
        def __init__(self, width: int = 3):
            super().__init__()
            self.layer = torch.nn.Linear(width, 1)

    checkpoints.save(One(), tmp_path / "first")
    again = One.from_pretrained(tmp_path / "first", low_cpu_mem_usage=False, use_safetensors=True)
    checkpoints.save(again, tmp_path / "second")
    assert json.loads((tmp_path / "second" / "config.json").read_text())["width"] == 3
    assert "_name_or_path" not in (tmp_path / "second" / "config.json").read_text()


def test_the_page_names_every_package():
    extras = [one for group in PROJECT["optional-dependencies"].values() for one in group]
    for package in (re.match(r"[\w.-]+", one)[0] for one in [*PROJECT["dependencies"], *extras]):
        assert re.search(rf"(?<![\w-]){re.escape(package)}(?![\w-])", PAGE), f"docs/licences.md: {package}"
    for extra in PROJECT["optional-dependencies"]:
        assert f"`{extra}`" in PAGE


def test_the_program_prints_its_licence():
    assert PROJECT["license"] == "Apache-2.0" and (ROOT / PROJECT["license-files"][0]).is_file()
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert "license: Apache-2.0" in citation
