"""The user's own emotions: made from clips, kept in the user's folder, known by name wherever an emotion is written.

``<folder>/<name>.json`` holds what the lexicon needs (point, spread, mix); ``<name>.safetensors`` the mean and the
variance of the clips in the embedding. Deleting the two forgets the emotion. Whoever reads what a user wrote calls
:func:`load` first; :func:`gen.emotion.resolve.resolve` does.
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

if TYPE_CHECKING:
    import numpy as np

NAME = r"[a-z]+(?:-[a-z]+)*"
_loaded: dict[str, str] = {}  # name -> digest of what was last read


def folder() -> Path:
    """Where own emotions are: ``$AFFEKT_EMOTIONS``, or ``affekt/emotions`` in the user's data folder."""
    return Path(os.environ.get("AFFEKT_EMOTIONS") or user_data_path("affekt", appauthor=False) / "emotions")


def load() -> None:
    """Let the lexicon know the emotions that are in the folder now."""
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
    """The names that :func:`load` last found."""
    return frozenset(_loaded)


def digests() -> dict[str, str]:
    """Name -> what its meaning hangs on, for cache keys."""
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in _read().items()}


def embedding(name: str) -> "tuple[np.ndarray, np.ndarray]":
    """Mean and variance (e,) of an own emotion's clips, which is where it lies at intensity 1."""
    from safetensors.numpy import load_file

    path = folder() / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(f"{path} is missing: make {name!r} again with `affekt emotion make {name} CLIPS...`")
    held = load_file(path)
    return held["mean"], held["var"]


def make(name: str, clips: Sequence[Path], ear: str = "compact") -> Path:
    """Add an emotion that is what the clips (voices, faces, MIDI) express; returns its file. ``ear``: what hears
    voices (:data:`gen.emotion.embedding.ear.EARS`).
    """
    import numpy as np
    from safetensors.numpy import save_file

    from gen.emotion import lexicon
    from gen.emotion.embedding.perceive import perceive

    load()
    if not re.fullmatch(NAME, name):
        raise InputError(f"an emotion's name is a word in small letters, perhaps with hyphens, unlike {name!r}")
    if lexicon.resolve(name) is not None and name not in known():
        raise InputError(f"{name!r} is a known emotion already: choose another name")
    found = [perceive(clip, ear=ear) for clip in clips]
    if any(one.kind == "text" for one in found):
        raise InputError("an emotion is made from voices, faces or music; what a text says has its words already")
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
    place.parent.mkdir(parents=True, exist_ok=True)
    save_file({"mean": means.mean(0), "var": means.var(0) + spreads.mean(0)}, place.with_suffix(".safetensors"))
    draft = place.with_suffix(".draft")
    draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    draft.replace(place)
    load()
    return place


def _read() -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder().glob("*.json"))}
