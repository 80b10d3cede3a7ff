"""User-defined emotions: made from clips, stored in the user's folder, and usable by name like built-in terms.

``<folder>/<name>.json`` holds the lexicon's values (point, spread, mix); ``<name>.safetensors`` the mean and variance
of the clips in the embedding. Deleting both files removes the emotion. Call :func:`load` before parsing user input;
:func:`gen.emotion.resolve.resolve` does so.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path

from gen.errors import InputError
from gen.notes import note

if TYPE_CHECKING:
    import numpy as np

NAME = r"[a-z]+(?:-[a-z]+)*"
_loaded: dict[str, str] = {}  # name -> hash of the files last read


def folder() -> Path:
    """The folder of user-defined emotions: ``$AFFEKT_EMOTIONS``, or ``affekt/emotions`` in the user's data folder."""
    return Path(os.environ.get("AFFEKT_EMOTIONS") or user_data_path("affekt", appauthor=False) / "emotions")


def load() -> None:
    """Adds the emotions in the folder to the lexicon, replacing those loaded before."""
    here = _read()
    found = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in here.items()}
    if found == _loaded:
        return
    import numpy as np

    from gen.emotion import lexicon

    fields = ("vad", "sd", "weights", "quadrants")
    facts = {name: json.loads(text) for name, text in here.items()}
    lexicon.add({n: lexicon.Term(*(np.array(f[field]) for field in fields)) for n, f in facts.items()})
    _loaded.clear()
    _loaded.update(found)


def known() -> frozenset[str]:
    """The names found by the last :func:`load`."""
    return frozenset(_loaded)


def digests() -> dict[str, str]:
    """Name -> hash of the emotion's files, for cache keys."""
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in _read().items()}


def embedding(name: str) -> "tuple[np.ndarray, np.ndarray]":
    """Mean and variance (e,) of a user-defined emotion's clips, its embedding at intensity 1."""
    from safetensors.numpy import load

    path = folder() / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(f"{path} is missing: create {name!r} again with `affekt emotion make {name} CLIPS...`")
    held = load(path.read_bytes())
    return held["mean"], held["var"]


def make(name: str, clips: Sequence[Path], ear: str = "compact") -> Path:
    """Adds an emotion made from clips (voices, faces, MIDI); returns its file. ``ear`` is the voice encoder
    (:data:`gen.emotion.embedding.ear.EARS`).
    """
    import numpy as np
    from safetensors.numpy import save

    from gen.emotion import lexicon
    from gen.emotion.embedding.perceive import perceive

    load()
    if not re.fullmatch(NAME, name):
        raise InputError(f"name an emotion with lower-case letters and hyphens, not {name!r}")
    if lexicon.resolve(name) is not None and name not in known():
        raise InputError(f"{name!r} is already an emotion: choose another name")
    found = [perceive(clip, ear=ear) for clip in clips]
    if any(one.kind == "text" for one in found):
        raise InputError("give clips of voices, faces or music: a text has words for its emotions")
    means, spreads = (np.array(part, np.float32) for part in zip(*(one.place for one in found)))
    points = np.array([one.vad for one in found])
    facts = {
        "vad": points.mean(0).round(3).tolist(),
        "sd": np.clip(points.std(0), 0.1, None).round(3).tolist(),
        "weights": np.mean([one.emotion.weights() for one in found], 0).round(4).tolist(),
        "quadrants": np.mean([one.emotion.quadrants() for one in found], 0).round(4).tolist(),
        "clips": [hashlib.sha256(Path(clip).read_bytes()).hexdigest() for clip in clips],
    }
    place = folder() / f"{name}.json"
    if place.is_file():
        note(f"{name!r} was there: its clips are replaced")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_suffix(".safetensors").write_bytes(save({"mean": means.mean(0), "var": means.var(0) + spreads.mean(0)}))
    draft = place.with_suffix(".draft")
    draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    draft.replace(place)
    load()
    return place


def _read() -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder().glob("*.json"))}
