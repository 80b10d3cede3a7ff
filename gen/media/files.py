"""Helpers for all file formats: extensions, atomic writes, and input files that reference no other files."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gen import marks
from gen.errors import InputError
from gen.provenance import sidecar

SOUND, PICTURE = (".wav", ".flac", ".mp3", ".opus"), (".png", ".jpg", ".jpeg")
VIDEO, MIDI = (".mp4", ".mov", ".webm", ".gif"), (".mid", ".midi")
MUSICXML, PDF = (".musicxml",), (".pdf",)
PLAYED = (".mp4", ".webm", ".mov")  # films that a browser plays
# FFmpeg's self-contained formats; a playlist (hls, concat, sdp) would open other files and URLs
CONTAINERS = "aac,ac3,aiff,amr,asf,au,avi,caf,flac,flv,gif,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav,webm"


@contextmanager
def atomic(path: Path | str, manifest: dict | None, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yields a hidden path beside ``path`` to write to; on success moves the manifest, then the file, into place."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path} cannot be written: use the extension {' or '.join(suffixes)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden, beside = (path.with_name(f".{os.getpid()}-{path.stem}{end}") for end in (path.suffix, ".json"))
    try:
        yield hidden
        if manifest is not None:
            manifest = marks.seal(hidden, manifest)
            beside.write_text(json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
            os.replace(beside, sidecar(path))
        os.replace(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)
        beside.unlink(missing_ok=True)


def given(path: Path | str) -> Path:
    """Returns the path of an existing file that is not empty; raises ``InputError`` otherwise."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} not found: check the name")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty: give a file with content")
    return path


def opened(path: Path):
    """Opens a PyAV container; formats that reference other files or URLs are not allowed."""
    import av

    return av.open(str(path), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"})


def as_text(manifest: dict) -> str:
    """A manifest as JSON text for a file's metadata, its hash first, since some formats split long texts into
    blocks."""
    first = {name: value for name, value in manifest.items() if name == "digest"}
    rest = {name: value for name, value in manifest.items() if name not in first}
    return json.dumps(first | json.loads(json.dumps(rest, sort_keys=True)))
