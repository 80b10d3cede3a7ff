"""The class of a voice checkpoint: the ``config.json`` of its folder says so; without one it is a bank."""

import json
from importlib import import_module
from pathlib import Path

from gen import checkpoints
from gen.errors import CheckpointError

CLASSES = {"DiffVC": "voice_conversion.emoreg.speak", "VoiceGenerator": "voice_conversion.pipeline"}
CONFIG, BANK = "config.json", "performances.json"


def class_of(name: str | Path) -> type:
    """The class, imported; CheckpointError where a config.json names none of :data:`CLASSES`."""
    path, found = checkpoints.folder(name) / CONFIG, "VoiceGenerator"
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get("_class_name")
        except ValueError:
            found = None
    elif not (path.parent / BANK).is_file():
        found = None
    if found not in CLASSES:
        raise CheckpointError(f"{path.parent} is no model of voices ({' or '.join(CLASSES)}): give another --model.")
    return getattr(import_module(CLASSES[found]), found)


def write_class(folder: Path, name: str) -> None:
    """Write the ``config.json`` of a checkpoint's folder."""
    (folder / CONFIG).write_text(json.dumps({"_class_name": name}) + "\n", encoding="utf-8")
