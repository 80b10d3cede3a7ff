"""Fields of a task that only some models support."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gen.errors import InputError
from talking_head.models import class_name

if TYPE_CHECKING:
    from talking_head.task import TalkTask

MOTION, DICE, VIDEO = {"EmoteSpeaker", "UpstreamSpeaker", "DiceSpeaker"}, {"DiceSpeaker", "DiceVideo"}, {"DiceVideo"}
# fields supported by some models only: default, supporting classes
FOREIGN = {
    "emotion_scale": (1.0, DICE),
    "steps": (0, DICE),
    "vram": (24, VIDEO),
    "head_motion": (0.6, MOTION),
    "blinks": (True, MOTION),
    "mouth": (1.0, MOTION),
    "export": ((), MOTION),
    "background": ("keep", MOTION),
    "aspect": ("1:1", MOTION),
    "crop": ("head", MOTION),
    "fps": (25, MOTION),
}
HINTS = {"vram": "omit it: it applies to dice-video only"}
HINTS |= dict.fromkeys(("emotion_scale", "steps"), "use `emotion @ intensity`, or --model dice")
HINTS |= dict.fromkeys(("head_motion", "blinks", "mouth", "export"), "omit it: the model renders the whole face")
HINTS |= dict.fromkeys(("aspect", "background", "crop", "fps"), "its frames are square, 25 per second")


def refuse_foreign(task: TalkTask, model: str) -> None:
    """Raises InputError for fields that the model's class does not support."""
    asked = {name for name, (usual, _) in FOREIGN.items() if getattr(task, name) != usual}
    if not asked:
        return
    found = class_name(model)
    for name in sorted(asked):
        if found not in FOREIGN[name][1]:
            raise InputError(f"{task.model} has no {name}: {HINTS[name]}")
