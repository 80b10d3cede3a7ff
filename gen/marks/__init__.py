"""Marks that identify a file as AI-generated: audio watermark, content credentials, visible label.

:mod:`gen.media` applies them to every file written with a manifest; callers cannot skip them.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np


def sound(samples: np.ndarray, rate: int, manifest: dict | None) -> tuple[np.ndarray, dict | None]:
    """Watermarks samples, (n,) or (c, n), and records it in the manifest; too short samples are returned unchanged."""
    from gen.marks import watermark

    if manifest is None or samples.shape[-1] < watermark.LEAST * rate or not samples.any():
        return samples, manifest
    return watermark.embed(samples, rate), manifest | {"watermark": watermark.NAME}


def pictures(frames: Iterable[np.ndarray], manifest: dict | None) -> Iterable[np.ndarray]:
    """Frames (height, width, 3) with a visible label if the manifest asks for one."""
    if manifest is None or not manifest.get("label"):
        return frames
    from gen.marks.label import labelled

    return map(labelled, frames)


def seal(path: Path, manifest: dict) -> dict:
    """Signs a complete file if its format allows it and the extra is installed, else stamps its hash into it; returns
    the manifest as stored in the file."""
    from gen.marks import credentials, digest

    if credentials.sign(path, manifest) or "digest" not in manifest:
        return manifest
    return manifest | {"digest": digest.stamp(path)}
