"""Reads every mark of a file: embedded manifest, sidecar manifest, credentials, watermark."""

import html
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gen import media
from gen.errors import InputError
from gen.jobs.inputs import SOUNDS as INPUT_SOUNDS
from gen.marks import digest
from gen.provenance import sidecar

SOUNDS = (*INPUT_SOUNDS, ".ogg")  # formats that can have a watermark
MANIFEST_EVENT, TEXT_EVENT = b"\x00\xff\x7f", b"\x00\xff\x01"  # MIDI meta events at time 0 (text before 0.3)


def verify(path: Path) -> dict:
    """Reads each mark of a file as JSON-able values; None for marks that the file or its format lacks.

    ``altered`` lists the signs that the file was changed. Raises ``InputError`` if the file cannot be read.
    """
    path = Path(path)
    inside, beside = embedded(path), _beside(path)
    found = {
        "file": path.name,
        "manifest": inside or beside,
        "where": "in the file" if inside else "beside the file" if beside else None,
        "sidecar": None if beside is None else "same" if beside == inside else "differs" if inside else "alone",
        "credentials": _credentials(path),
        "watermark": _watermark(path),
        "digest": _digest(path, inside or beside),
    }
    return found | {"altered": _altered(found)}


def _altered(found: dict) -> list[str]:
    signed = found["credentials"] or {}
    broken = ["its signature is invalid"] if signed.get("state") == "Invalid" else []
    broken += ["its hash differs"] if found["digest"] == "differs" else []
    return broken + (["the manifest beside it differs"] if found["sidecar"] == "differs" else [])


def _digest(path: Path, manifest: dict | None) -> str | None:
    value = (manifest or {}).get("digest", digest.NONE)
    return None if value == digest.NONE else "fits" if digest.fits(path, value) else "differs"


def manifest_of(path: Path) -> dict[str, Any] | None:
    """The embedded manifest of a file, else the one beside it. Raises ``InputError`` if the file cannot be read."""
    return embedded(path) or _beside(path)


def marked(found: dict) -> bool:
    """True if any mark identifies the file as AI-generated."""
    mark, signed = found["watermark"], found["credentials"]
    return bool(found["manifest"] or (mark and mark["found"]) or (signed and signed.get("state")))


def embedded(path: Path) -> dict | None:
    """The manifest in the file's metadata; for motion as JSON or GLB, in the data."""
    end = path.suffix.lower()
    media.check(path)
    if end in (".json", ".glb"):
        return _in_json(path.read_bytes())
    if end in media.MUSICXML:
        text = path.read_text(encoding="utf-8")
        found = re.search(rf'name="{media.MISCELLANEOUS}">(.*?)</miscellaneous-field>', text, re.DOTALL)
        return _manifest(html.unescape(found[1])) if found else None
    if end in media.PDF:
        return _manifest(media.pdf_subject(path))
    if end not in (*media.SOUND, *media.PICTURE, *media.MIDI, *media.VIDEO, *SOUNDS):
        return None
    if end in (".wav", ".flac"):
        import soundfile

        with soundfile.SoundFile(path) as file:
            text = file.comment
    elif end in (*media.PICTURE, ".gif"):
        from PIL import Image

        with Image.open(path) as image:
            text = image.info.get("Comment") or image.info.get("comment", b"").decode("utf-8", "replace")
    elif end in media.MIDI:
        text = _first_text(path.read_bytes())
    else:
        with media.opened(path) as container:
            tags = {**container.metadata, **(container.streams[0].metadata if container.streams else {})}
            text = next((text for name, text in tags.items() if name.lower() == "comment"), "")
    return _manifest(text)


def _manifest(text: str) -> dict | None:
    """Parses an Affekt manifest; None for comments of other programs."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "ai_generated" in found else None


def _in_json(content: bytes) -> dict | None:
    """The manifest in motion as JSON, or in the first (JSON) chunk of a binary glTF file."""
    text = content[20 : 20 + int.from_bytes(content[12:16], "little")] if content[:4] == b"glTF" else content
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    inner = found.get("manifest") or (found.get("asset") or {}).get("extras")
    return inner if isinstance(inner, dict) and "ai_generated" in inner else None


def _first_text(data: bytes) -> str:
    """The content of the first track's first event if it holds a manifest."""
    if data[22:25] not in (MANIFEST_EVENT, TEXT_EVENT):
        return ""
    size, at = 0, 25
    while True:
        size, at = size << 7 | data[at] & 0x7F, at + 1
        if data[at - 1] < 0x80:
            return data[at : at + size].removeprefix(b"\x7d").decode("utf-8", "replace")


def _beside(path: Path) -> dict | None:
    note = sidecar(path)
    return _manifest(note.read_text(encoding="utf-8", errors="replace")) if note.is_file() else None


def _credentials(path: Path) -> dict | None:
    from gen.marks import credentials

    if path.suffix.lower() not in credentials.MIME:
        return None
    if find_spec("c2pa") is None:
        return {"state": None, "note": "not checked: run `pip install c2pa-python`"}
    found = credentials.read(path)
    return None if found is None else {"state": found.state, "signer": found.signer, "problems": [*found.problems]}


def _watermark(path: Path) -> dict | None:
    from gen.marks import watermark

    if path.suffix.lower() not in SOUNDS:
        return None
    try:
        samples, rate = media.read_audio(path, mono=False)
    except InputError:
        return None  # a video without an audio track
    return watermark.detect(samples, rate)._asdict()


def report(found: dict) -> str:
    """The marks as text for a terminal."""
    facts = found["manifest"] or {}
    task = facts.get("task", {})
    rows = [("file", found["file"]), ("ALTERED", "; ".join(found["altered"]))]
    made = f"made by Affekt {facts.get('affekt')}, {task.get('kind')}, seed {facts.get('seed')}, {found['where']}"
    if parts := facts.get("edited_from"):
        made = f"edited with Affekt {facts.get('affekt')} from {len(parts)} results, {found['where']}"
    rows.append(("manifest", made if facts else "none"))
    if facts:
        rows.append(("weights", ", ".join(f"{n} {digest[:12]}" for n, digest in facts.get("checkpoints", {}).items())))
        rows.append(("consent", task.get("consent") or "none recorded"))
        rows.append(("label", "in the picture" if facts.get("label") else "none"))
    beside = {None: "none", "same": "identical", "differs": "DIFFERS from the embedded one", "alone": "the only one"}
    rows.append(("beside it", beside[found["sidecar"]]))
    signed = found["credentials"]
    if signed is None:
        rows.append(("credentials", "none"))
    elif signed["state"] is None:
        rows.append(("credentials", signed["note"]))
    else:
        unknown = "" if signed["state"] == "Trusted" else " (unknown signer)"
        why = "".join(f"; {problem}" for problem in signed["problems"])
        rows.append(("credentials", f"{signed['state'].lower()}, signed by {signed['signer']}{unknown}{why}"))
    if found["digest"]:
        rows.append(("digest", {"fits": "matches", "differs": "DIFFERS"}[found["digest"]]))
    if mark := found["watermark"]:
        rows.append(("watermark", f"{'found' if mark['found'] else 'not found'} (score {mark['score']:.1f})"))
    rows = [(name, text) for name, text in rows if text]
    return "\n".join(f"{name:<12} {text}" for name, text in rows)
