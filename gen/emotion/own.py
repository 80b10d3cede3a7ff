"""The user's own emotions: made from clips, kept in the user's folder, known by name wherever an emotion is written.

``<folder>/<name>.json`` holds what the lexicon needs (point, spread, mix); ``<name>.safetensors`` the mean and the
variance of the clips in the embedding. Deleting the two forgets the emotion.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from gen.errors import InputError

NAME = r"[a-z]+(?:-[a-z]+)*"


def folder() -> Path:
    """Where own emotions are: ``$AFFEKT_EMOTIONS``, or ``affekt/emotions`` in the user's data folder."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(os.environ.get("AFFEKT_EMOTIONS") or data / "affekt" / "emotions")


def read() -> dict[str, dict]:
    """Every own emotion: name -> vad, sd, weights and quadrants."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder().glob("*.json"))}


def digests() -> dict[str, str]:
    """Name -> what its meaning hangs on, for cache keys."""
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder().glob("*.json"))}


def make(name: str, clips: Sequence[Path]) -> Path:
    """Add an emotion that is what the clips (voices, faces, MIDI) express; returns its file."""
    import numpy as np
    import torch
    from safetensors.torch import save_file

    from gen.emotion import lexicon
    from gen.emotion.embedding.perceive import embed, perceive

    if not re.fullmatch(NAME, name):
        raise InputError(f"an emotion's name is a word in small letters, perhaps with hyphens, unlike {name!r}")
    if lexicon.resolve(name) is not None and name not in read():
        raise InputError(f"{name!r} is a known emotion already: choose another name")
    found = [perceive(clip) for clip in clips]
    if any(one.kind == "text" for one in found):
        raise InputError("an emotion is made from voices, faces or music; what a text says has its words already")
    mu = torch.stack([embed(clip) for clip in clips])
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
    save_file({"mean": mu.mean(0), "var": mu.var(0, unbiased=False)}, place.with_suffix(".safetensors"))
    draft = place.with_suffix(".draft")
    draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    draft.replace(place)
    lexicon.terms.cache_clear()
    return place
