"""What a face does in a picture or a video, for the emotion embedding to read (``affekt.reader``)."""

from pathlib import Path

import numpy as np

from gen.media import read_image, read_video
from talking_head.face.points import ARKIT
from talking_head.face.pose import vector
from talking_head.face.tracker import FaceTracker

RATE = 25  # frames a second
STILL = (".jpg", ".jpeg", ".png", ".webp", ".gif")


def read(path: Path) -> dict[str, np.ndarray]:
    """``coefs`` (n, 52), ``pose`` (n, 6): the head's rotation vector, no translation, and ``detected`` (n,) of the
    largest face; a picture is a second long.
    """
    tracker = FaceTracker.load()
    if path.suffix.lower() in STILL:
        faces = [next(iter(tracker.faces(read_image(path))), None)] * RATE
    else:
        faces = list(tracker.video(read_video(path, RATE)[0]))
    coefs, pose = np.zeros((len(faces), len(ARKIT)), np.float32), np.zeros((len(faces), 6), np.float32)
    for i, face in enumerate(faces):
        if face is not None:
            coefs[i], pose[i, :3] = face.coefs, vector(face.rotation)
    return {"coefs": coefs, "pose": pose, "detected": np.array([face is not None for face in faces])}
