"""The emotion embedding's reader of faces (``affekt.reader``): the motion in a picture, a video or a file of
coefficients as rows of numbers, 25 per second."""

from pathlib import Path

import numpy as np

from gen.emotion.embedding.features import FACE, FACE_RATE, SHAPES, UNMEASURED
from gen.errors import InputError
from gen.generator import Readable
from gen.media import read_image, read_video
from talking_head.face.points import ARKIT
from talking_head.face.pose import vector

LEAST = 0.2  # seconds
STILL = (".jpg", ".jpeg", ".png", ".webp", ".gif")
MOTION = ".npz"


def read(path: Path) -> Readable:
    """The largest face in the frames where it is detected; a picture counts as one second. An npz file holds ``coefs``
    (n, 52), and may hold ``pose`` (n, 6), ``detected`` (n,) and ``fps``.
    """
    held = _stored(path) if path.suffix.lower() == MOTION else tracked(path)
    rate, seen = float(held.get("fps", FACE_RATE)), held.get("detected", np.ones(len(held["coefs"]), bool))
    found = rows(held["coefs"][seen], held["pose"][seen] if "pose" in held else None)
    found = found[np.arange(0, len(found) - 1e-6, rate / FACE_RATE).astype(int)]

    def part(start: float, end: float) -> np.ndarray | None:
        own = found[int(start * FACE_RATE) : int(end * FACE_RATE)]
        return own if len(own) >= LEAST * FACE_RATE else None

    return Readable(len(found) / FACE_RATE, part)


def tracked(path: Path) -> dict[str, np.ndarray]:
    """``coefs`` (n, 52), ``pose`` (n, 6): the head's rotation vector, no translation, and ``detected`` (n,)."""
    from talking_head.face.tracker import FaceTracker

    tracker = FaceTracker.load()
    if path.suffix.lower() in STILL:
        faces = [next(iter(tracker.faces(read_image(path))), None)] * int(FACE_RATE)
    else:
        faces = list(tracker.video(read_video(path, FACE_RATE)[0]))
    coefs, pose = np.zeros((len(faces), len(ARKIT)), np.float32), np.zeros((len(faces), 6), np.float32)
    for i, face in enumerate(faces):
        if face is not None:
            coefs[i], pose[i, :3] = face.coefs, vector(face.rotation)
    return {"coefs": coefs, "pose": pose, "detected": np.array([face is not None for face in faces])}


def _stored(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in ("coefs", "pose", "detected", "fps") if name in file.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no npz file of plain arrays ({error})") from None
    if "coefs" not in held or held["coefs"].ndim != 2 or held["coefs"].shape[1] != SHAPES:
        raise InputError(f"{path} must hold 'coefs' (frames, 52), ARKit's blendshapes in their order")
    return held


def rows(coefs: np.ndarray, pose: np.ndarray | None = None) -> np.ndarray:
    """ARKit coefficients (n, 52), and the head's rotation and translation (n, 6) -> (n, 58) float32.

    The pose counts from its own mean, translations in decimetres; coefficients that no tracker measures are 0.
    """
    found = np.zeros((len(coefs), FACE), np.float32)
    found[:, :SHAPES] = coefs
    found[:, UNMEASURED] = 0
    if pose is not None:
        found[:, SHAPES:] = (pose - pose.mean(0)) * np.array([2, 2, 2, 0.1, 0.1, 0.1])
    return found
