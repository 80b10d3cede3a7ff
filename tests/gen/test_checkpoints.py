"""Checkpoints: search order, verification before use, atomic download and conversion."""

import functools
import hashlib
import http.server
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from safetensors.torch import save_file

from gen import checkpoints, registry
from gen.checkpoints import add, digest, folder, index, load, save, verify
from gen.convert import convert
from gen.errors import CheckpointError, InputError


class Line(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, width: int = 3):
        super().__init__()
        self.layer = torch.nn.Linear(width, width)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder of checkpoints with one model, ``line``."""
    monkeypatch.setenv("AFFEKT_CHECKPOINTS", str(tmp_path / "mine"))
    checkpoints.digest.cache_clear()
    save(Line(), tmp_path / "mine" / "line")
    add("line", licence="MIT", origin="a test")
    yield tmp_path / "mine"
    checkpoints.digest.cache_clear()


def test_save_and_load(root):
    first, second = (load("line", Line) for _ in range(2))
    assert torch.equal(first.layer.weight, second.layer.weight) and first.config.width == 3
    assert sorted(path.name for path in (root / "line").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]


def test_parts_of_one_checkpoint(root):
    save(Line(2), root / "pair" / "a")
    save(Line(4), root / "pair" / "b")
    add("pair", licence="MIT", origin="a test")
    assert load("pair", Line, "b").config.width == 4
    assert sorted(index()["pair"]["files"])[0] == "a/config.json"


def test_search_order(root, tmp_path, monkeypatch):
    assert folder("line") == root / "line"
    cached = tmp_path / "user" / "affekt" / "checkpoints" / "line"
    cached.mkdir(parents=True)
    assert folder("line") == root / "line"
    monkeypatch.delenv("AFFEKT_CHECKPOINTS")
    assert folder("line") == cached and folder(str(root / "line")) == root / "line"
    with pytest.raises(CheckpointError, match="no checkpoint 'none'"):
        folder("none")


@pytest.mark.parametrize("damage", ["altered", "truncated"])
def test_damage_is_reported_with_both_hashes_and_the_remedy(root, damage):
    path = root / "line" / "config.json"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"3", b"4") if damage == "altered" else good[:-3])
    wanted, found = (hashlib.sha256(data).hexdigest() for data in (good, path.read_bytes()))
    with pytest.raises(CheckpointError) as caught:
        load("line", Line)
    for part in (str(path), wanted, found, "git restore checkpoints/line", f"{path.stat().st_size} of {len(good)}"):
        assert part in str(caught.value)


def test_missing_and_unknown_files(root):
    (root / "line" / "more.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"more\.safetensors is not in the index"):
        verify("line")
    (root / "line" / "more.safetensors").unlink()
    (root / "line" / "README.md").write_text("a card may change")
    verify("line")
    (root / "line" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        verify("line")


def test_hash_depends_on_content_not_location(root, tmp_path):
    first = digest("line")
    shutil.copytree(folder("line"), tmp_path / "copy")
    assert digest(str(tmp_path / "copy")) == first
    save(Line(), tmp_path / "other")
    assert digest(str(tmp_path / "other")) != first


def test_non_commercial_licence_is_logged_once(root, caplog):
    add("line", licence="CC-BY-NC-4.0", origin='a "test"', non_commercial=True)
    checkpoints._log_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        load("line", Line)
        load("line", Line)
    assert [r.message for r in caplog.records] == ["line is under CC-BY-NC-4.0: not for commercial use"]
    assert index()["line"]["origin"] == 'a "test"'


def test_broken_index(root):
    (root / "index.toml").write_text("[line")
    with pytest.raises(CheckpointError, match="not valid TOML"):
        index()


def test_upstream_weights_without_a_hub_are_converted(root):
    facts = 'licence = "CC BY-NC-SA 4.0"\norigin = "its paper"\nnon_commercial = true\nconverter = "other"\n'
    with open(root / "index.toml", "a") as file:
        file.write(f"\n[other]\n{facts}")
    with pytest.raises(CheckpointError, match="checkpoints convert other --from FOLDER"):
        folder("other")


def test_status(root):
    (row,) = [row for row in checkpoints.status() if row["name"] == "line"]
    assert row["state"] == "verified" and row["licence"] == "MIT"
    (root / "line" / "config.json").unlink()
    (row,) = [row for row in checkpoints.status() if row["name"] == "line"]
    assert "is missing" in row["state"]


def test_conversion_is_atomic(tmp_path, monkeypatch):
    def fails(source: Path, out: Path) -> None:
        (out / "config.json").write_text("{}")
        raise CheckpointError("two keys are missing")

    def works(source: Path, out: Path) -> None:
        save_file(torch.load(source, weights_only=True), out / "model.safetensors")

    monkeypatch.setitem(registry._registered["converter"], "fails", fails)
    monkeypatch.setitem(registry._registered["converter"], "works", works)
    torch.save({"x": torch.ones(2)}, tmp_path / "old.pt")
    with pytest.raises(CheckpointError, match="two keys"):
        convert("fails", tmp_path / "old.pt", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.pt"]
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("not to be lost")
    with pytest.raises(InputError, match="letters exists and is not a converted checkpoint"):
        convert("works", tmp_path / "old.pt", tmp_path / "letters")
    assert (tmp_path / "letters" / "mine.txt").is_file()
    convert("works", tmp_path / "old.pt", tmp_path / "new")
    convert("works", tmp_path / "old.pt", tmp_path / "new")
    verify(str(tmp_path / "new"))
    assert checkpoints.entry_of(tmp_path / "new")["origin"] == "converted from old.pt"


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of a model hub's API that the real client uses."""

    files: dict[str, bytes]
    revision = "0123456789012345678901234567890123456789"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        name = self.path.rsplit("/", 1)[-1]
        if self.path.startswith(f"/api/models/some/model/tree/{self.revision}"):
            data = json.dumps(
                [
                    {"type": "file", "path": n, "size": len(d), "oid": hashlib.sha1(d).hexdigest()}
                    for n, d in self.files.items()
                ]
            ).encode()
        elif self.path.startswith(f"/api/models/some/model/revision/{self.revision}"):
            data = json.dumps(
                {
                    "id": "some/model",
                    "sha": self.revision,
                    "siblings": [{"rfilename": n} for n in self.files],
                }
            ).encode()
        elif self.path == f"/some/model/resolve/{self.revision}/{name}" and name in self.files:
            data = self.files[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.revision)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *given):
        pass


def pull(name: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gen.cli", "checkpoints", "pull", name]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


def publish(root: Path, files: dict[str, bytes]) -> None:
    """An index entry for a model on the hub, with the hashes of its files."""
    rows = [f'"{n}" = {{ sha256 = "{hashlib.sha256(d).hexdigest()}", bytes = {len(d)} }}' for n, d in files.items()]
    text = '["far"]\nlicence = "MIT"\norigin = "a hub"\nnon_commercial = false\nrepo = "some/model"\n'
    text += f'revision = "{Hub.revision}"\n["far".downloads]\n' + "\n".join(rows) + "\n"
    with (root / "index.toml").open("a") as file:
        file.write(text)


@pytest.mark.slow
def test_pull_from_a_hub(root, tmp_path):
    files = {"config.json": b'{"width": 3}', "model.safetensors": b"weights", "big.bin": b"not wanted"}
    publish(root, {name: data for name, data in files.items() if name != "big.bin"})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"files": files}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    online = functools.partial(
        pull, "far", HF_HUB_OFFLINE="0", HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}", HF_HUB_DISABLE_XET="1"
    )
    done = online()
    place = tmp_path / "user" / "affekt" / "checkpoints" / "far"
    assert done.returncode == 0 and done.stdout == f"{place}\n", done.stderr
    assert sorted(checkpoints.files(place)) == ["config.json", "model.safetensors"]
    verify("far")
    files["model.safetensors"] = b"swapped"
    (place / "model.safetensors").unlink()
    done = online()
    server.shutdown()
    assert done.returncode == 3 and "or altered" in done.stderr and "pull again" in done.stderr


@pytest.mark.slow
def test_pull_offline(root):
    publish(root, {"config.json": b"{}"})
    done = pull("far", HF_HUB_OFFLINE="1")
    assert done.returncode == 3 and "download failed" in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_installation_without_weights_names_the_variable(root, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "roots", lambda: [tmp_path / "site", tmp_path / "cache"])
    monkeypatch.delenv("AFFEKT_CHECKPOINTS")
    for call in (checkpoints.status, lambda: folder("muser-compact")):
        with pytest.raises(CheckpointError, match="AFFEKT_CHECKPOINTS") as caught:
            call()
        assert str(tmp_path / "site") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_command_line_without_weights(root, tmp_path):
    code = (
        "from gen import checkpoints; from pathlib import Path; import sys; from gen.cli import main\n"
        f"checkpoints.roots = lambda: [Path({str(tmp_path / 'none')!r})]\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "AFFEKT_CHECKPOINTS"}
    for command in (["checkpoints", "list"], ["checkpoints", "verify"], ["music", "--emotion", "sad", "--bars", "1"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *command], capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        assert done.returncode == 3 and "AFFEKT_CHECKPOINTS" in done.stderr, (command, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1
