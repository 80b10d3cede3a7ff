"""Landmarks, coefficients and head pose of the faces in pictures and videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from gen import checkpoints
from gen.errors import InputError
from talking_head.face import s3fd
from talking_head.face.crop import cut
from talking_head.face.detect import Box, detect
from talking_head.face.graph import Graph
from talking_head.face.points import ARKIT, BUNDLE, SEEN
from talking_head.face.pose import head_pose

SIZE = 256
MARGIN = 1.5  # input square of the landmark network, in sides of the face's box
PRESENT = 0.5
SMALLEST = 40.0  # pixels between the eye corners
TURNED = 40.0  # degrees


class Face(NamedTuple):
    """One face. Landmarks are pixels, x right, y down, z away from the viewer, as large as x."""

    landmarks: np.ndarray  # (478, 3)
    coefs: np.ndarray  # (52,)
    rotation: np.ndarray  # (3, 3): the canonical head (x right, y up, z to the viewer) -> the camera
    score: float

    @property
    def eye_distance(self) -> float:
        """Pixels between the outer eye corners."""
        return float(np.linalg.norm(self.landmarks[33] - self.landmarks[263]))

    @property
    def yaw(self) -> float:
        """Yaw in degrees, positive to the head's left (the picture's right)."""
        return float(np.degrees(np.arctan2(self.rotation[0, 2], self.rotation[2, 2])))


class FaceTracker:
    """MediaPipe's face landmarker in torch: detector, 478 landmarks, 52 coefficients."""

    def __init__(self, detector: Graph, landmarks: Graph, coefficients: Graph, canonical: np.ndarray):
        self.detector, self.landmarks, self.coefficients = detector, landmarks, coefficients
        self.canonical = canonical  # (468, 3) cm

    @classmethod
    def load(cls, name: str = "face-tracker") -> FaceTracker:
        from talking_head.face.basis import FaceBasis

        parts = (checkpoints.load(name, Graph, part) for part in ("detector", "landmarks", "coefficients"))
        return cls(*parts, FaceBasis.load().canonical)

    def faces(self, pixels: np.ndarray) -> list[Face]:
        """All faces in pixels (h, w, 3) uint8, largest first."""
        boxes = detect(self.detector, pixels) or s3fd.detect(pixels)
        found = (self._from_box(pixels, box) for box in boxes)
        return [face for face in found if face is not None]

    def face(self, pixels: np.ndarray, which: int | None = None) -> Face:
        """The face of a portrait; InputError if no face is found or it cannot be animated.

        The largest face is used unless ``which`` (from 1, by size) is given; two faces of equal size need ``which``.
        """
        faces = self.faces(pixels)
        if not faces:
            raise InputError("no face was found: give a photograph with a face seen from the front")
        if which is not None and not 1 <= which <= len(faces):
            raise InputError(f"there is no face {which}: {len(faces)} found, counted by size")
        if which is None and len(faces) > 1 and faces[1].eye_distance > 0.8 * faces[0].eye_distance:
            raise InputError(f"{len(faces)} faces of like size were found: say which with `face`, 1 for the largest")
        face = faces[(which or 1) - 1]
        if face.eye_distance < SMALLEST:
            raise InputError(
                f"the face is too small: {face.eye_distance:.0f} pixels between the eye corners, "
                f"and at least {SMALLEST:.0f} are needed"
            )
        if abs(face.yaw) > TURNED:
            raise InputError(f"the face is turned away by {abs(face.yaw):.0f} degrees: give one seen from the front")
        return face

    def video(self, frames: Iterable[np.ndarray]) -> Iterator[Face | None]:
        """The largest face of each frame, tracked from frame to frame; None if lost."""
        face = None
        for pixels in frames:
            followed = None if face is None else self._from_square(pixels, *square_of(face.landmarks))
            if followed is None:
                face = next(iter(self.faces(pixels)), None)
            else:
                face = followed
            yield face

    def _from_box(self, pixels: np.ndarray, box: Box) -> Face | None:
        dx, dy = box.eyes[1] - box.eyes[0]
        face = self._from_square(pixels, box.centre, box.size.max() * MARGIN, float(np.arctan2(dy, dx)))
        return None if face is None else self._from_square(pixels, *square_of(face.landmarks))

    def _from_square(self, pixels: np.ndarray, centre: np.ndarray, side: float, angle: float) -> Face | None:
        points, presence, _ = self.landmarks(cut(pixels, centre, side, angle, SIZE)[None])
        score = float(torch.sigmoid(presence).flatten()[0])
        if score < PRESENT:
            return None
        points = (points.view(478, 3).numpy() / SIZE) * side
        points[:, :2] -= side / 2
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        points[:, :2] = points[:, :2] @ turn + centre
        return Face(points, self.coefs_of(points), head_pose(points, self.canonical), score)

    def coefs_of(self, landmarks: np.ndarray) -> np.ndarray:
        """Coefficients (52,) of landmarks (478, 2 or 3) in pixels; tongueOut is always 0."""
        values = self.coefficients(torch.from_numpy(landmarks[SEEN, :2].astype(np.float32))[None])[0].numpy().ravel()
        row = np.zeros(len(ARKIT), np.float32)
        row[BUNDLE] = values[1:]
        return row


def square_of(landmarks: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Centre, side and angle of the square around a face with known landmarks, aligned with its eye line."""
    dx, dy = landmarks[263, :2] - landmarks[33, :2]
    angle = float(np.arctan2(dy, dx))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright = landmarks[:, :2] @ turn
    low, high = upright.min(0), upright.max(0)
    return (low + high) / 2 @ turn.T, float((high - low).max() * MARGIN), angle
