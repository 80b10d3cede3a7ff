"""The studio through its API: the same task, cache and files as everywhere, progress, stop, and what it serves."""

import json
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("gradio")

import node
from gradio_client import Client, handle_file
from node import needs
from tone_site import TONE

from gen import registry
from gen.media import read_audio
from gen.provenance import sidecar


def test_every_public_function_has_its_name(client):
    told = client.view_api(return_format="dict", print_info=False)
    names = set(told["named_endpoints"])
    of_kinds = {f"/{kind}{part}" for kind in registry.names("task") for part in ("", "_job", "_strip")}
    of_kinds -= {"/faders_strip"}  # it follows no emotion
    assert of_kinds | {"/explore", "/describe", "/stop"} == names
    parameters = [p["parameter_name"] for p in told["named_endpoints"]["/music"]["parameters"]]
    assert parameters[:3] == ["emotion", "bars", "seed"] and "continue_from" in parameters
    assert not told["unnamed_endpoints"]


def test_a_kind_that_is_installed_gets_its_tab(served):
    tabs = [block.label for block in served[0].blocks.values() if type(block).__name__ == "Tab"]
    assert {"Music", "Tone"} < set(tabs) and "Research" in tabs and len(tabs) == len(registry.names("task")) + 1


def test_render_gives_files_and_their_manifest(client, tmp_path):
    summary, film, sound, _, files, manifest = client.predict(**TONE | {"seed": 7}, api_name="/tone")
    assert "Seed 7" in summary and film is None
    assert Path(sound).is_file() and [type(one) for one in files] == [str]
    manifest = json.loads(Path(manifest).read_text()) if isinstance(manifest, str) else manifest
    assert manifest["ai_generated"] and manifest["task"]["seed"] == 7
    samples, rate = read_audio(files[0])
    assert rate == 8000 and len(samples) == 400
    again = client.predict(**TONE | {"seed": 7}, api_name="/tone")
    assert "from the cache" in again[0]


def test_an_uploaded_file_is_read(client, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "before.wav", [0.1] * 100, 8000)
    made = client.predict(**TONE | {"before": handle_file(tmp_path / "before.wav")}, api_name="/tone")
    assert len(read_audio(made[4][0])[0]) == 500
    assert str(tmp_path) not in json.dumps(made[5])


@needs("@gradio/client")
def test_gradios_javascript_client_gets_plain_files(served, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "before.wav", [0.1] * 100, 8000)
    promised, made = node.run("gradio.mjs", served[1], tmp_path / "before.wav", json.dumps(TONE | {"seed": 6}))
    assert len(promised) == 6 and all("filepath" in one for one in promised[1:5])
    summary, film, sound, picture, files, manifest = made
    assert "Seed 6" in summary and film is picture is None and manifest["ai_generated"]
    assert sound["url"].startswith(served[1]) and sound["path"].endswith(".wav") and "__type__" not in sound
    with urllib.request.urlopen(files[0]["url"]) as file:
        (tmp_path / "made.wav").write_bytes(file.read())
    assert len(read_audio(tmp_path / "made.wav")[0]) == 500


def test_several_files_of_one_task(client):
    made = client.predict(**TONE | {"count": 3}, api_name="/tone")
    assert "3 files" in made[0]


def test_stop(client):
    job = client.submit(**TONE | {"count": 9, "pause": 1.0, "seed": 99}, api_name="/tone")
    deadline = time.monotonic() + 300
    while not any(u.progress_data for u in [job.status()] if u) and time.monotonic() < deadline:
        time.sleep(0.1)
    client.predict(api_name="/stop")
    with pytest.raises(Exception, match="Stopped"):
        job.result(timeout=300)
    fresh = Client(client.src, verbose=False)
    assert "Done in" in fresh.predict(**TONE | {"seed": 98}, api_name="/tone")[0]


def test_job_file(client):
    text, file = client.predict(**TONE | {"emotion": "sad @ 0.5", "frequency": 220}, api_name="/tone_job")
    assert "emotion: sad @ 0.5" in text and "frequency: 220" in text and "seconds" not in text
    assert Path(file).read_text(encoding="utf-8") == text


def test_describe_and_explore(client):
    assert json.loads(client.predict("bittersweet longing", api_name="/describe"))["mix"]
    reading, plane, ways = client.predict("wistful @ 1.2", api_name="/explore")
    assert "music" in reading
    assert all((p if isinstance(p, str) else p["path"]).endswith((".png", ".webp")) for p in (plane, ways))


def test_strip_over_intensity(client):
    strip, files = client.predict(**TONE, api_name="/tone_strip")
    assert strip.count("<audio") == 5 and "intensity 1.5" in strip
    assert len(files) == 5 and all(Path(one).is_file() for one in files)


@pytest.mark.slow
def test_music_end_to_end(client):
    named = {
        "emotion": "happy @ 1.2",
        "bars": 1,
        "seed": 1,
        "count": 1,
        "audio": True,
        "continue_from": None,
        "guidance": 3,
        "temperature": 0.95,
        "candidates": 1,
        "model": "muser-compact",
    }
    summary, _, sound, picture, _, manifest = client.predict(**named, api_name="/music")
    assert "muser-compact" in summary and "Non-commercial use only." in summary
    assert sound and picture
    assert manifest["checkpoints"].keys() == {"muser-compact", "piano"} or isinstance(manifest, str)


def test_sidecars_are_no_results(client):
    made = client.predict(**TONE | {"seed": 5}, api_name="/tone")
    files = made[4]
    assert len(files) == 1 and not sidecar(Path(files[0])).name.endswith(".json.json")
