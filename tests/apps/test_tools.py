"""The tools for assistants, called by the TypeScript SDK of the Model Context Protocol: results, files, stop."""

import base64
import json
import urllib.request

import numpy as np
import pytest

pytest.importorskip("gradio")
pytest.importorskip("mcp")

import node
from node import needs
from tone_site import know_tone

import gen
from gen import media

RATE = 8000


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """The URL of a studio with tools, and a folder that assistants may read."""
    from apps.studio.main import launch

    folder = tmp_path_factory.mktemp("studio")
    (folder / "mine").mkdir()
    samples = (0.3 * np.sin(np.arange(RATE) / 5)).astype(np.float32)
    media.write_audio(folder / "mine" / "a.wav", samples, RATE)
    media.write_audio(folder / "secret.wav", samples, RATE)
    with pytest.MonkeyPatch.context() as patch:
        know_tone(folder, patch)
        patch.setenv("AFFEKT_SIGNING", "off")
        patch.setenv("AFFEKT_CACHE", str(folder / "cache"))
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "files"))  # restored for other studios
        page, url = launch(folder / "files", wait=False, device="cpu", mcp=True, files=[folder / "mine"])
        yield url, folder
        page.close()


def called(url: str, *calls) -> dict:
    return node.run("assistant.mjs", f"{url}gradio_api/mcp/", given=json.dumps(calls))


def fetched(link: str, path) -> np.ndarray:
    with urllib.request.urlopen(link) as file:
        path.write_bytes(file.read())
    return media.read_audio(path)[0]


@needs("@modelcontextprotocol/sdk")
def test_an_assistant_can_use_the_tools(studio, tmp_path):
    url, folder = studio
    sound = (folder / "mine" / "a.wav").read_bytes()
    data = f"data:audio/wav;base64,{base64.b64encode(sound).decode()}"
    tone = {"emotion": "happy", "seconds": 0.5, "seed": 3}
    found = called(
        url,
        ["describe", {"emotion": "wistful"}],
        ["tone", tone],
        ["tone", tone | {"continue": data}],
        ["tone", tone | {"continue": {"$link": 1}}],
        ["tone", tone | {"continue": f"{folder}/mine/a.wav"}],
        ["tone", tone | {"continue": f"{folder}/secret.wav"}],
        ["tone", tone | {"emotion": "hapy"}],
        ["tone", tone | {"frequency": -1}],
    )
    assert found["server"]["name"] == "affekt" and found["server"]["version"] == gen.__version__
    tools = {one["name"]: one for one in found["tools"]}
    assert {"describe", "stop", "tone", "music", "voice", "talk", "scene"} <= tools.keys()
    assert tools["voice"]["inputSchema"]["required"] == ["source"]
    described, plain, given, linked, named, secret, misspelt, negative = found["answers"]
    assert described["structuredContent"]["mix"] and json.loads(described["content"][0]["text"])["mix"]
    facts = plain["structuredContent"]
    assert facts == json.loads(plain["content"][0]["text"]) and facts["manifest"]["seed"] == 3
    [link] = [one for one in plain["content"] if one["type"] == "resource_link"]
    assert link["uri"] == facts["files"][0]["link"] and "wav" in link["mimeType"]
    assert len(fetched(link["uri"], tmp_path / "a.wav")) == 0.5 * RATE
    [heard] = [one for one in plain["content"] if one["type"] == "audio"]
    (tmp_path / "heard.mp3").write_bytes(base64.b64decode(heard["data"]))
    assert heard["mimeType"] == "audio/mpeg" and len(media.read_audio(tmp_path / "heard.mp3")[0]) == 0.5 * RATE
    lengths = [
        len(fetched(one["structuredContent"]["files"][0]["link"], tmp_path / "b.wav")) for one in (given, linked, named)
    ]
    assert lengths == [1.5 * RATE, RATE, 1.5 * RATE]
    for refused, why in ((secret, "--files FOLDER"), (misspelt, "nearest"), (negative, "minimum of 0")):
        assert refused["isError"] and why in refused["content"][0]["text"] and str(folder) not in str(refused)
    assert found["progress"] > 0


@needs("@modelcontextprotocol/sdk")
def test_stop(studio):
    slow = {"emotion": "sad", "count": 9, "pause": 1.0, "seed": 77}
    stopped, ended, after = called(studio[0], ["tone", {"$stop": slow}], ["tone", slow | {"pause": 0}])["answers"]
    assert stopped["structuredContent"] == {"stopped": True}
    assert ended["isError"] and "Stopped" in ended["content"][0]["text"]
    assert len(after["structuredContent"]["files"]) == 9


@pytest.mark.slow
@needs("@modelcontextprotocol/sdk")
def test_each_art(studio, tmp_path):
    """Voice, talk, music and scene; results are inputs of others."""
    from pathlib import Path

    examples = Path(__file__).parents[2] / "examples"
    portrait, line = (
        f"data:{kind};base64,{base64.b64encode((examples / name).read_bytes()).decode()}"
        for kind, name in (("image/jpeg", "grace_hopper.jpg"), ("audio/ogg", "line.opus"))
    )
    voice, talk, music, scene = called(
        studio[0],
        ["voice", {"source": line, "emotion": "sad"}],
        ["talk", {"portrait": portrait, "audio": {"$link": 0}, "emotion": "sad", "size": 256}],
        ["music", {"emotion": "happy", "bars": 2, "candidates": 1}],
        ["scene", {"portrait": portrait, "voice": {"$link": 0}, "music": {"$link": 2}, "size": 256}],
    )["answers"]
    kinds = lambda made: [one["type"] for one in made["content"]]
    assert kinds(voice) == ["text", "resource_link", "audio"]
    assert kinds(talk) == kinds(scene) == ["text", "resource_link", "image", "audio"]
    assert kinds(music)[:3] == ["text", "resource_link", "resource_link"] and kinds(music)[-2:] == ["image", "audio"]
    for made in (voice, talk, music, scene):
        assert made["structuredContent"]["manifest"]["ai_generated"] and not made.get("isError")
    assert scene["structuredContent"]["files"][0]["type"] == "video/mp4"
