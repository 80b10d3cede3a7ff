"""The HTTP server: OpenAPI, token, limits, uploads and downloads, stop, and a queue that survives a restart."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient
from tone_site import know_tone

from apps.server import Desk, Limits, build
from gen import media

TOKEN = "a secret"
PROGRAM = shutil.which("affekt", path=str(Path(sys.executable).parent))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    know_tone(tmp_path, monkeypatch)
    return Desk(tmp_path / "serve", "cpu", Limits(waiting=3, megabytes=1))


@pytest.fixture
def client(desk):
    return TestClient(build(desk, TOKEN), headers={"Authorization": f"Bearer {TOKEN}"})


def test_openapi_is_served(client):
    told = client.get("/openapi.json", headers={"Authorization": ""}).json()
    assert told["paths"].keys() == {"/v1/files", "/v1/jobs", "/v1/jobs/{id}", "/v1/jobs/{id}/files/{name}"}
    assert {"MusicTask", "VoiceTask", "TalkTask", "SceneTask", "Tone", "Job"} <= told["components"]["schemas"].keys()
    body = told["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["discriminator"]["propertyName"] == "kind"


@pytest.mark.parametrize("token", ["", "Bearer wrong", "Basic abc"])
def test_every_call_needs_the_token(client, token):
    for path in ("/v1/jobs", "/v1/jobs/1", "/v1/jobs/1/files/a"):
        assert client.get(path, headers={"Authorization": token}).status_code == 401
    assert client.post("/v1/files?name=a.wav", content=b"1", headers={"Authorization": token}).status_code == 401


def test_a_task_with_a_file(client, desk, tmp_path):
    media.write_audio(tmp_path / "a.wav", np.zeros(800, np.float32), 8000)
    stored = client.post("/v1/files?name=my voice.wav", content=(tmp_path / "a.wav").read_bytes()).json()
    task = {"kind": "tone", "emotion": "happy 0.7 + sad 0.3 @ 1.2", "continue": stored["name"], "seed": 4}
    job = client.post("/v1/jobs", json=task)
    assert job.status_code == 202 and job.json()["state"] == "queued"
    assert desk.work_once() and not desk.work_once()
    done = client.get(f"/v1/jobs/{job.json()['id']}").json()
    assert (done["state"], done["progress"]) == ("done", 1.0) and str(tmp_path) not in json.dumps(done)
    links = {one["name"]: one["link"] for one in done["files"]}
    assert links.keys() == {"tone.wav", "tone.wav.json"}
    (tmp_path / "b.wav").write_bytes(client.get(links["tone.wav"]).content)
    assert len(media.read_audio(tmp_path / "b.wav")[0]) == 1200
    assert client.get(links["tone.wav.json"]).json()["task"]["emotion"]["keyframes"][0]["emotion"]["intensity"] == 1.2
    assert [one["id"] for one in client.get("/v1/jobs").json()] == [done["id"]]


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"kind": "tone", "emotion": "hapy"}, "nearest"),
        ({"kind": "tone", "frequency": -1}, "greater than 0"),
        ({"kind": "tone", "pitch": 1}, "Extra inputs"),
        ({"kind": "flute"}, "does not match any of the expected tags"),
        ({"kind": "tone", "continue": "/etc/passwd"}, "upload the file first"),
        ({"kind": "tone", "continue": "file:../jobs/x.json"}, "upload the file first"),
        ({"kind": "tone", "emotion": {"from": "/etc/passwd"}}, "upload the file first"),
        ({"kind": "music", "emotion": "sad", "model": "../mine"}, "not a path"),
    ],
)
def test_mistakes_are_reported_immediately(client, task, said):
    answer = client.post("/v1/jobs", json=task)
    assert answer.status_code == 422 and said in answer.text


def test_a_failed_task_has_its_reason(client, desk, tmp_path):
    job = client.post("/v1/jobs", json={"kind": "tone", "fault": "mistake"}).json()
    desk.work_once()
    failed = client.get(f"/v1/jobs/{job['id']}").json()
    assert (failed["state"], failed["message"], failed["files"]) == ("failed", "turn the oscillator on", [])


def test_limits(client, desk):
    assert client.post("/v1/files?name=a.wav", content=bytes(1_000_001)).status_code == 413
    assert client.post("/v1/files?name=a.w$v", content=b"1").status_code == 422
    for seed in range(3):
        assert client.post("/v1/jobs", json={"kind": "tone", "seed": seed}).status_code == 202
    refused = client.post("/v1/jobs", json={"kind": "tone", "seed": 9})
    assert refused.status_code == 429 and "3 jobs are waiting" in refused.text
    desk.work_once()
    assert client.post("/v1/jobs", json={"kind": "tone", "seed": 9}).status_code == 202


def test_stop(client, desk):
    job = client.post("/v1/jobs", json={"kind": "tone"}).json()
    assert client.delete(f"/v1/jobs/{job['id']}").json()["state"] == "stopped"
    assert not desk.work_once() and client.delete("/v1/jobs/none").status_code == 404
    running = client.post("/v1/jobs", json={"kind": "tone", "count": 3, "seed": 5}).json()
    desk.stopped.add(running["id"])
    desk.work_once()
    assert client.get(f"/v1/jobs/{running['id']}").json()["state"] == "stopped"
    assert client.get(f"/v1/jobs/{running['id']}").json()["files"] == []


def test_old_files_are_deleted(desk):
    desk.limits = Limits(hours=0)
    kept = desk.store(b"1", ".wav")
    desk.add({"kind": "tone"})
    time.sleep(0.01)
    desk.work_once()
    assert [job.state for job, _ in desk.all()] == ["done"]
    desk.work_once()
    assert not [*desk.all()] and not (desk.folder / "files" / kept.name.removeprefix("file:")).exists()
    assert not [*(desk.folder / "results").iterdir()]


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="the program is not installed")
def test_the_queue_survives_a_killed_server(tmp_path, monkeypatch):
    know_tone(tmp_path, monkeypatch)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PROGRAM, "serve", "--port", str(port), "--folder", tmp_path / "serve", "--device", "cpu"]
    environment = os.environ | {"AFFEKT_TOKEN": TOKEN, "AFFEKT_CACHE": str(tmp_path / "cache")}

    def ask(path: str, body: dict | None = None):
        data = None if body is None else json.dumps(body).encode()
        head = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, head)) as answer:
            return json.load(answer)

    def until(wanted) -> list[dict]:
        end = time.monotonic() + 240
        while time.monotonic() < end:
            try:
                if wanted(jobs := ask("/v1/jobs")):
                    return jobs
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError("the server did not answer")

    first = subprocess.Popen(command, env=environment, cwd=tmp_path)
    until(lambda jobs: jobs == [])
    for seed in (1, 2):
        ask("/v1/jobs", {"kind": "tone", "count": 9, "pause": 0.5 if seed == 1 else 0, "seed": seed})
    until(lambda jobs: jobs[0]["state"] == "running")
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = subprocess.Popen(command, env=environment, cwd=tmp_path)
    try:
        jobs = until(lambda jobs: all(job["state"] == "done" for job in jobs))
        assert len(jobs) == 2 and all(len(job["files"]) == 18 for job in jobs)
    finally:
        second.terminate()
        second.wait()
