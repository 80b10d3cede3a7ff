"""Read back every mark of a file: its manifest, the one beside it, its credentials, its watermark."""

import html
import json
import re
from importlib.util import find_spec
from pathlib import Path

from gen import media
from gen.errors import InputError
from gen.jobs.inputs import SOUNDS as HEARD
from gen.marks import digest
from gen.provenance import sidecar

SOUNDS = (*HEARD, ".ogg")  # what may have a watermark
OWN_EVENT, TEXT_EVENT = b"\x00\xff\x7f", b"\x00\xff\x01"  # of MIDI, at time 0; files before version 0.3 have text


def verify(path: Path) -> dict:
    """What each mark says, JSON-able; None where there is no such mark, as in files of kinds that carry none.

    ``altered`` tells what shows that the file is not as it was made. Raises ``InputError`` for what cannot be read.
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
    broken = ["its signature does not fit it"] if signed.get("state") == "Invalid" else []
    broken += ["its digest does not fit it"] if found["digest"] == "differs" else []
    return broken + (["the manifest beside it is another"] if found["sidecar"] == "differs" else [])


def _digest(path: Path, manifest: dict | None) -> str | None:
    value = (manifest or {}).get("digest", digest.NONE)
    return None if value == digest.NONE else "fits" if digest.fits(path, value) else "differs"


def manifest_of(path: Path) -> dict | None:
    """The manifest in a file, or else the one beside it. Raises ``InputError`` for what cannot be read."""
    return embedded(path) or _beside(path)


def marked(found: dict) -> bool:
    """Whether anything tells that a machine made the file."""
    mark, signed = found["watermark"], found["credentials"]
    return bool(found["manifest"] or (mark and mark["found"]) or (signed and signed.get("state")))


def embedded(path: Path) -> dict | None:
    """The manifest in the file's own metadata; in motion as JSON and GLB, among the data."""
    end = path.suffix.lower()
    media.check(path)
    if end in (".json", ".glb"):
        return _in_json(path.read_bytes())
    if end in media.MUSICXML:
        text = path.read_text(encoding="utf-8")
        found = re.search(rf'name="{media.MISCELLANEOUS}">(.*?)</miscellaneous-field>', text, re.DOTALL)
        return _manifest(html.unescape(found[1])) if found else None
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
    """One of ours; other programs write comments too."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "ai_generated" in found else None


def _in_json(content: bytes) -> dict | None:
    """The manifest of motion as JSON, or as glTF in one binary file, whose first chunk is JSON."""
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
    """What the event says with which the first track begins, if it is one of ours."""
    if data[22:25] not in (OWN_EVENT, TEXT_EVENT):
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
        return {"state": None, "note": "not read: run `pip install c2pa-python`"}
    found = credentials.read(path)
    return None if found is None else {"state": found.state, "signer": found.signer, "problems": [*found.problems]}


def _watermark(path: Path) -> dict | None:
    from gen.marks import watermark

    if path.suffix.lower() not in SOUNDS:
        return None
    try:
        samples, rate = media.read_audio(path, mono=False)
    except InputError:
        return None  # a video without sound
    return watermark.detect(samples, rate)._asdict()


def report(found: dict) -> str:
    """Text for a terminal."""
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
    beside = {None: "none", "same": "the same", "differs": "DIFFERS from the one in the file", "alone": "alone"}
    rows.append(("beside it", beside[found["sidecar"]]))
    signed = found["credentials"]
    if signed is None:
        rows.append(("credentials", "none"))
    elif signed["state"] is None:
        rows.append(("credentials", signed["note"]))
    else:
        unknown = "" if signed["state"] == "Trusted" else ", whom nobody vouches for"
        why = "".join(f"; {problem}" for problem in signed["problems"])
        rows.append(("credentials", f"{signed['state'].lower()}, signed by {signed['signer']}{unknown}{why}"))
    if found["digest"]:
        rows.append(("digest", {"fits": "of this file", "differs": "OF ANOTHER FILE"}[found["digest"]]))
    if mark := found["watermark"]:
        rows.append(("watermark", f"{'found' if mark['found'] else 'not found'} (score {mark['score']:.1f})"))
    rows = [(name, text) for name, text in rows if text]
    return "\n".join(f"{name:<12} {text}" for name, text in rows)
