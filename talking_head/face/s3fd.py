"""A second detector for faces that BlazeFace misses: S3FD of the package ``face-alignment``, if it is installed and its
weights are in torch's cache. Nothing is downloaded."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import torch

from talking_head.face.detect import Box

WEIGHTS = "s3fd-619a316812.pth"
EYES = (-0.18, -0.10)  # half their distance and their height, in sides of the box from its middle


def weights() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS


@cache
def _detector(path: Path):
    from face_alignment.detection.sfd.sfd_detector import SFDDetector

    return SFDDetector("cpu", path_to_detector=path)


def detect(pixels: np.ndarray) -> list[Box]:
    """Faces in pixels (h, w, 3) uint8, largest first; empty without the package or its weights."""
    if importlib.util.find_spec("face_alignment") is None or not weights().is_file():
        return []
    found = [box(row) for row in _detector(weights()).detect_from_image(pixels)]
    return sorted(found, key=lambda one: -one.size.prod())


def box(row: np.ndarray) -> Box:
    """Box of (left, top, right, bottom, score), with level eyes at their mean position."""
    low, high = np.asarray(row[:2], float), np.asarray(row[2:4], float)
    centre, side = (low + high) / 2, (high - low).max()
    eyes = centre + side * np.array([[EYES[0], EYES[1]], [-EYES[0], EYES[1]]])
    return Box(centre, np.full(2, side), eyes, float(row[4]))
