"""The class of a checkpoint, read from the ``config.json`` of its folder."""

import json
from importlib import import_module
from pathlib import Path

from gen import checkpoints
from gen.errors import CheckpointError

CLASSES = {
    "EmoteSpeaker": "talking_head.motion.emote.speaker",
    "UpstreamSpeaker": "talking_head.motion.emote.upstream",
    "DiceSpeaker": "talking_head.motion.dice.speaker",
    "DiceVideo": "talking_head.video.pipeline",
}
PRIOR = "Flint"  # a motion prior alone, which speaks nothing
CONFIG = "config.json"


def class_name(name: str | Path) -> str:
    """Name of the class of a checkpoint; CheckpointError where its config.json names none of :data:`CLASSES`."""
    path = checkpoints.folder(name) / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("_class_name")
    except (OSError, ValueError):
        found = None
    if found == PRIOR:
        raise CheckpointError(
            f"{name} is a FLINT motion prior, which does not hear speech: start a training from it with "
            f"`affekt train talk --set prior={name}`."
        )
    if found not in CLASSES:
        raise CheckpointError(
            f'{path} must say which model this is: write {{"_class_name": "..."}} there, one of {", ".join(CLASSES)}.'
        )
    return found


def class_of(name: str | Path) -> type:
    """The class itself, imported."""
    found = class_name(name)
    return getattr(import_module(CLASSES[found]), found)


def write_class(folder: Path, name: str) -> None:
    """Write the ``config.json`` of a checkpoint's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps({"_class_name": name}) + "\n", encoding="utf-8")
