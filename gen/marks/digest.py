"""A file's own hash in its manifest, which detects changed bytes without a signature.

It is the sha256 of the file with zeros in place of the hash. It detects accidental changes, not forgeries, since anyone
can recompute it. PNG and Ogg have checksums of their own, which rule it out; signed files do not need it.
"""

import hashlib
from pathlib import Path

NONE = "0" * 64


def _field(value: str) -> bytes:
    return f'"digest": "{value}"'.encode()


def stamp(path: Path) -> str:
    """Stamps the hash into a complete file whose manifest holds :data:`NONE`; returns the hash, or NONE."""
    data = path.read_bytes()
    if path.suffix.lower() in (".png", ".opus") or _field(NONE) not in data:
        return NONE
    value = hashlib.sha256(data).hexdigest()
    path.write_bytes(data.replace(_field(NONE), _field(value)))
    return value


def fits(path: Path, value: str) -> bool:
    """True if a file is unchanged since it was stamped with ``value``."""
    data = path.read_bytes()
    return hashlib.sha256(data.replace(_field(value), _field(NONE))).hexdigest() == value
