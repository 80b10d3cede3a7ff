"""The emotion that a talk job asks for: its curve, or what a recording or a video of a face says."""

from tempfile import TemporaryDirectory

import numpy as np

from gen import media
from gen.emotion.perceive import PICTURES, perceive
from gen.emotion.spec import EmotionCurve
from gen.errors import InputError
from talking_head.face.pose import vector
from talking_head.face.tracker import FaceTracker
from talking_head.task import TalkTask

FPS = 25


def feeling(task: TalkTask, tracker: FaceTracker) -> EmotionCurve:
    """An emotion over seconds; a video is read from the face that moves in it, anything else as ``from:`` reads it."""
    if task.emotion_from is None:
        return task.emotion
    if task.emotion_from.suffix.lower() not in PICTURES:
        return EmotionCurve.parse({"from": task.emotion_from}).heard()
    frames, _ = media.read_video(task.emotion_from, FPS)
    found = [face for face in tracker.video(frames) if face is not None]
    if not found:
        raise InputError(f"no face was found in {task.emotion_from}: give a clip of one face seen from the front")
    with TemporaryDirectory() as folder:
        path = f"{folder}/face.npz"
        turns = vector(np.stack([face.rotation for face in found]))
        pose = np.concatenate((turns, np.zeros_like(turns)), 1)
        np.savez(path, coefs=np.stack([face.coefs for face in found]), pose=pose)
        return EmotionCurve.constant(perceive(path).emotion)
