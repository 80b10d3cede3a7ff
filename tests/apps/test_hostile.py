"""Malicious input: refused with a sentence that contains no server path; the server keeps running."""

import io
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gradio")

import gradio as gr
from gradio.utils import get_upload_folder
from gradio_client import Client, handle_file
from tone_site import TONE

from apps.studio import emotion, form, intake
from apps.studio.security import Guard
from apps.studio.words import without_folders
from apps.studio.work import said

SAMPLES = struct.pack("<400h", *range(400))


def wav(data: bytes = SAMPLES, kind: int = 1, bits: int = 16, size: int | None = None) -> bytes:
    head = struct.pack("<HHIIHH", kind, 1, 8000, 8000 * bits // 8, bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", size or len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("../../evil.txt", "out")
    return buffer.getvalue()


UPLOADS = {
    "empty.wav": b"",
    "text.wav": b"this is no sound",
    "header only.wav": wav(b"", size=800),
    "nothing.wav": wav(b""),
    "not numbers.wav": wav(struct.pack("<100f", *[float("nan")] * 100), 3, 32),
    "infinite.wav": wav(struct.pack("<100f", *[float("inf")] * 100), 3, 32),
    "zeros.wav": b"\0" * 5000,
    "random.mp3": np.random.default_rng(0).bytes(5000),
    "page.wav": b"<html><script>alert(1)</script></html>",
    "picture.wav": b"\x89PNG\r\n\x1a\n" + b"\0" * 200,
    "archive.wav": zipped(),
    "pickle.wav": pickle.dumps({"a": 1}),
    "program.wav": b"\x7fELF" + b"\0" * 300,
    "playlist.m3u8": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "concat.wav": b"ffconcat version 1.0\nfile /etc/passwd\n",
}


@pytest.mark.parametrize("name", UPLOADS)
def test_bad_sound(client, tmp_path, name):
    (tmp_path / name).write_bytes(UPLOADS[name])
    refused(client, "/tone", **TONE | {"before": handle_file(tmp_path / name)})


MUSIC = {
    "emotion": "sad",
    "bars": 1,
    "seed": 1,
    "count": 1,
    "audio": False,
    "continue_from": None,
    "guidance": 3,
    "temperature": 0.95,
    "candidates": 1,
    "model": "muser-compact",
}
SCORES = {
    "text.mid": b"no score",
    "cut.mid": b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\1\0",
    "empty.mid": b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0",
    "song.wav": wav(),
}


@pytest.mark.parametrize("name", SCORES)
def test_bad_score(client, tmp_path, name):
    (tmp_path / name).write_bytes(SCORES[name])
    refused(client, "/music", **MUSIC | {"continue_from": handle_file(tmp_path / name)})


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../etc/passwd", "~/.ssh/id_rsa", "/proc/self/environ"])
def test_a_path_that_was_not_uploaded(client, path):
    data = {"path": path, "meta": {"_type": "gradio.FileData"}}
    refused(client, "/tone", **TONE | {"before": data})


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/x.wav", "file:///etc/passwd"])
def test_an_address_to_fetch(client, address):
    data = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
    refused(client, "/tone", **TONE | {"before": data})


WRONG = {
    "path as emotion": {"emotion": "from: /etc/passwd"},
    "path to follow": {"emotion": "follow: ../../secret.wav"},
    "no emotion": {"emotion": "qwertz"},
    "code": {"emotion": "__import__('os').system('id')"},
    "long": {"emotion": "happy " * 5000},
    "negative": {"frequency": -3},
    "word for a number": {"frequency": "loud"},
    "too long": {"seconds": 1e9},
    "many": {"count": 10**9},
    "no choice": {"fault": "rm -rf"},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values(client, name):
    refused(client, "/tone", **TONE | WRONG[name])


@pytest.mark.parametrize("model", ["../../etc", "/tmp", "piano"])
def test_a_model_that_is_not_offered(client, model):
    refused(client, "/music", **MUSIC | {"model": model})


JOBS = {
    "tag": "jobs: !!python/object/apply:os.system [id]",
    "bomb": "a: &a [x,x]\nb: &b [*a,*a]\njobs: [*b]",
    "deep": "jobs: " + "[" * 500,
    "binary": "\x00\x01\x02",
    "list": "- 1",
    "path": "jobs: [{id: a, kind: tone, emotion: {from: /etc/passwd}}]",
    "kind": "jobs: [{id: a, kind: os}]",
    "field": "jobs: [{id: a, kind: tone, shell: id}]",
}


@pytest.mark.parametrize("name", JOBS)
def test_bad_job_file(tmp_path, tone_kind, name):
    file = tmp_path / "job.yaml"
    file.write_text(JOBS[name])
    with pytest.raises(gr.Error) as caught, said():
        form.from_yaml(file, "tone")
    assert_sentence(caught.value.message)


@pytest.mark.parametrize("name", ["a.jpg", "a.npz", "a.wav", "a.mid", "a.txt", "a"])
def test_no_emotion_in_a_bad_file(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(b"\xff\xfe broken" * 20)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    assert_sentence(emotion.read({"text": f"from: {name}", "files": {name: str(tmp_path / name)}})["wrong"])


@pytest.mark.parametrize("name", ["a.jpg", "a.heic", "a.mp4", "a.mov", "a.wav", "a.mid", "a"])
@pytest.mark.parametrize("field", ["portrait", "audio", "music"])
def test_a_bad_file_is_refused_when_it_arrives(tmp_path, monkeypatch, name, field):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / name).write_bytes(b"\xff\xfe broken" * 20)
    assert_sentence(intake.taken({"path": str(tmp_path / name), "name": name, "field": field})["wrong"])
    assert "upload" in intake.taken({"path": "/etc/passwd", "name": name, "field": field})["wrong"]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/etc//passwd",
        "../../../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "/proc/self/environ",
        "pyproject.toml",
        "gen/cli.py",
        "//etc/passwd",
        "C:/Windows/win.ini",
        "/dev/zero",
    ],
)
def test_serves_nothing_outside_its_own_folder(served, path):
    for route in ("gradio_api/file=", "file=", "gradio_api/file/", "static/", "assets/"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{served[1]}{route}{path}", timeout=120)
        assert caught.value.code in (400, 403, 404, 405)


def test_too_large(served):
    answer = post(served[1], "large.wav", b"x" * 9_500_000)
    assert answer == 413


@pytest.mark.parametrize(
    "name", ["../../evil.wav", "/etc/evil.wav", "..\\..\\evil.wav", "a" * 400 + ".wav", "a\0b.wav"]
)
def test_a_file_name_with_a_path(served, name):
    post(served[1], name, b"x")
    folder = Path(get_upload_folder())
    assert not list(folder.parent.glob("evil*")) and not Path("/etc/evil.wav").exists()


def test_bound_to_this_machine(served):
    assert served[1].startswith("http://127.0.0.1:")
    assert served[0].server_name == "127.0.0.1"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("/tmp/a/b/x.wav is empty", "x.wav is empty"),
        ("no file /a/b.mid: give one", "no file b.mid: give one"),
        ("give 4/4 bars", "give 4/4 bars"),
        ("(/a/b/d.wav) is bad", "(d.wav) is bad"),
    ],
)
def test_folders_are_removed_from_messages(message, shown):
    assert without_folders(message) == shown


def test_other_names_and_other_sites_are_refused(served):
    port = served[1].rstrip("/").rsplit(":", 1)[1]
    for host, status in (
        (f"127.0.0.1:{port}", 200),
        (f"localhost:{port}", 200),
        (f"evil.example:{port}", 421),
        ("", 421),
        (f"192.168.0.1:{port}", 421),
    ):
        request = urllib.request.Request(served[1], headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=120) as got:
                assert got.status == status
                policy = got.headers["Content-Security-Policy"]
                assert "frame-ancestors 'none'" in policy and "default-src 'self'" in policy
        except urllib.error.HTTPError as error:
            assert error.code == status
    assert post(served[1], "a.wav", b"x", Origin="http://evil.example") == 403
    assert post(served[1], "a.wav", b"x", Origin="null") == 403
    assert post(served[1], "a.wav", b"x", Origin=served[1].rstrip("/")) == 200


def test_in_a_network_addresses_are_known_and_names_are_not():
    guard = Guard(None, lan=True)
    assert guard.known("192.168.0.7:7860") and guard.known("[::1]:7860") and guard.known("localhost")
    assert not guard.known("evil.example:7860") and not Guard(None).known("192.168.0.7:7860")


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_uploads_end_with_the_studio(tmp_path, end):
    """Also those of one that was killed: the next studio removes them."""
    here = os.environ | {"TMPDIR": str(tmp_path), "AFFEKT_SIGNING": "off"}
    command = [sys.executable, "-m", "gen.cli", "studio", "--out", str(tmp_path / "out"), "--device", "cpu"]
    listen = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
    studio = subprocess.Popen(command, env=here, stderr=subprocess.PIPE, text=True, preexec_fn=listen)
    url = next(found[0] for line in studio.stderr if (found := re.search(r"http://[\d.:]+/", line)))
    assert post(url, "voice.wav", wav()) == 200
    assert [*tmp_path.glob("affekt-studio-*/**/voice.wav")]
    studio.send_signal(end)
    studio.wait(timeout=120)
    if end == signal.SIGKILL:
        later = "from apps.studio.files import temporary; temporary()"
        subprocess.run([sys.executable, "-c", later], env=here, check=True)
    assert not [*tmp_path.glob("affekt-studio-*")]


def post(url: str, name: str, content: bytes, **headers: str) -> int:
    """Upload as a form, with any name at all; the status."""
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={edge}", **headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}gradio_api/upload", body, kind), timeout=120) as got:
            return got.status
    except urllib.error.HTTPError as error:
        return error.code


def refused(client: Client, api_name: str, **values) -> None:
    """Asserts that the call ends with a sentence, and that the next valid call works."""
    with pytest.raises(Exception) as caught:
        client.predict(**values, api_name=api_name)
    assert_sentence(str(caught.value))
    assert client.predict("happy", api_name="/describe")


def assert_sentence(message: str) -> None:
    assert 10 < len(message) < 500 and " " in message, message
    assert "Traceback" not in message and "/work" not in message and "/tmp/pytest" not in message, message
