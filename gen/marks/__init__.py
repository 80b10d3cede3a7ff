"""Marks that tell a machine made a file: a watermark in the sound, content credentials, a label in the picture.

:mod:`gen.media` puts them into every file that comes with a manifest, so that there is no way around them.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np


def sound(samples: np.ndarray, rate: int, manifest: dict | None) -> tuple[np.ndarray, dict | None]:
    """Samples, (n,) or (c, n), with the watermark, and the manifest that says so; too short ones stay as they are."""
    from gen.marks import watermark

    if manifest is None or samples.shape[-1] < watermark.LEAST * rate or not samples.any():
        return samples, manifest
    return watermark.embed(samples, rate), manifest | {"watermark": watermark.NAME}


def pictures(frames: Iterable[np.ndarray], manifest: dict | None) -> Iterable[np.ndarray]:
    """Frames (height, width, 3) with a label that people can read, where the manifest asks for one."""
    if manifest is None or not manifest.get("label"):
        return frames
    from gen.marks.label import labelled

    return map(labelled, frames)


def seal(path: Path, manifest: dict) -> dict:
    """Sign a whole file, where it can be signed and the extra is installed, or else put its digest into it; gives the
    manifest as it is in the file then."""
    from gen.marks import credentials, digest

    if credentials.sign(path, manifest) or "digest" not in manifest:
        return manifest
    return manifest | {"digest": digest.stamp(path)}
