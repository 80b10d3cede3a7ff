"""A digest of a whole file in its own manifest, so that a changed byte is found without a signature.

It is the sha256 of the file with zeros in the digest's own place. Whoever changes a file can change it too: it tells
accidents, not forgeries. PNG and Ogg have checksums of their own, which forbid it, and signed files need none.
"""

import hashlib
from pathlib import Path

NONE = "0" * 64


def _said(value: str) -> bytes:
    return f'"digest": "{value}"'.encode()


def stamp(path: Path) -> str:
    """Put the digest into a whole file whose manifest holds :data:`NONE`; it is returned, or NONE."""
    data = path.read_bytes()
    if path.suffix.lower() in (".png", ".opus") or _said(NONE) not in data:
        return NONE
    value = hashlib.sha256(data).hexdigest()
    path.write_bytes(data.replace(_said(NONE), _said(value)))
    return value


def fits(path: Path, value: str) -> bool:
    """Whether a file is as it was when it was stamped with ``value``."""
    data = path.read_bytes()
    return hashlib.sha256(data.replace(_said(value), _said(NONE))).hexdigest() == value
