"""What all kinds of files have in common: endings, whole or not at all, nothing but the file that was named."""

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
MUSICXML = (".musicxml",)
PLAYED = (".mp4", ".webm", ".mov")  # films that a browser plays
# FFmpeg's containers that hold their own data; a playlist (hls, concat, sdp) would open other files and addresses
CONTAINERS = "aac,ac3,aiff,amr,asf,au,avi,caf,flac,flv,gif,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav,webm"


@contextmanager
def atomic(path: Path | str, manifest: dict | None, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yields a hidden name beside ``path`` to write to; moves it, after its manifest, into place if all is well."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path} cannot be written: its name must end in {' or '.join(suffixes)}")
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
    """A file that is there and not empty."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not there: check the name")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty: give a file with something in it")
    return path


def opened(path: Path):
    """A container of PyAV; a file of a user's may name no other file and no address."""
    import av

    return av.open(str(path), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"})


def as_text(manifest: dict) -> str:
    """A manifest as it stands in a file's metadata, its digest first: some formats cut long texts into blocks."""
    first = {name: value for name, value in manifest.items() if name == "digest"}
    rest = {name: value for name, value in manifest.items() if name not in first}
    return json.dumps(first | json.loads(json.dumps(rest, sort_keys=True)))
