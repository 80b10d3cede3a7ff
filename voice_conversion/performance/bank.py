"""The bank: what real people changed when they said in an emotion what they had said in a neutral way.

A performance is a number of curves along the performer's neutral reading: pitch against the speaker's median, the
logarithm of the local stretch in time, and twenty cepstral changes. The last are kept as a linear map from what a frame
is like to what was changed there (:func:`seen`), which carries the performer's manner and not the sounds of his
sentence, and as what the map leaves over, by time. Curves have 43 frames a second; readings are stored once and shared
by the performances made from them.

p performances, r readings, n frames, f = 20 features of a frame.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen.emotion.spec import CANONICAL
from gen.errors import InputError
from voice_conversion.performance.phrase import CEPSTRA, CHANGED, Phrase

STEP = 2  # frames of 86.1 a second in one of the bank's
SEEN = CEPSTRA + 7
STRENGTH = 0.1  # of the ridge, on standardised features
FILE = "performances"
CLARITY = "clarity.safetensors"
NAMES = ("emotion", "speaker", "group", "sex", "text")


class Performance(NamedTuple):
    """One emotional rendition of a neutral reading, along which its curves (n,) run at 43 frames a second."""

    emotion: str  # canonical
    speaker: str
    group: str  # the corpus
    sex: str
    text: str
    reading: int
    level: float
    pitch: np.ndarray  # octaves above the speaker's neutral median
    stretch: np.ndarray  # natural logarithm of seconds for a neutral second
    map: np.ndarray  # (f + 1, 20) features, and 1, to cepstral changes
    rest: np.ndarray  # (n, 20) cepstral changes that the map does not foretell
    clarity: float = 0.0  # how clearly the emotion is heard when others perform it, against its other performances


class Bank(NamedTuple):
    """Neutral readings (m, 13), of ``86.1 / step`` frames a second, and the performances made from them."""

    readings: list[np.ndarray]
    performances: list[Performance]
    medians: dict[str, float]  # log2 Hz of each performer's neutral speech
    means: dict[str, list[float]]  # by emotion, what its performances change on average
    step: int = STEP
    shares: dict[str, list[float]] | None = None  # by emotion, of a performance's pitch: see lay.taken; None for all

    @property
    def performers(self) -> list[str]:
        """Everybody in the bank, in the order of ``--performer``, which counts from 1."""
        return sorted(self.medians)

    def performer(self, number: int) -> str:
        """The performer with a number. Raises InputError if there is none."""
        if not 1 <= number <= len(self.performers):
            raise InputError(f"there is no performer {number}: give 1 to {len(self.performers)}, or auto")
        return self.performers[number - 1]

    def mean(self, weights: np.ndarray) -> np.ndarray:
        """Mean change (22,) of a mix (8,) of the canonical emotions: octaves, log stretch, 20 cepstra."""
        return sum(w * np.array(self.means.get(name, [0.0] * (2 + CHANGED))) for name, w in zip(CANONICAL, weights))

    def save(self, folder: Path) -> None:
        """Write ``performances.safetensors`` and ``performances.json``, nearly all in 8 bits, and the clarities."""
        from safetensors.numpy import save_file

        lists = {name: sorted({getattr(p, name) for p in self.performances}) for name in NAMES}
        index = [[lists[name].index(getattr(p, name)) for name in NAMES] for p in self.performances]
        maps = np.stack([p.map for p in self.performances])
        size = np.sqrt(np.square(maps).mean((0, 2))) + 1e-9  # of the coefficients of each feature
        tensors = {
            **_small("cepstra", np.concatenate(self.readings), 0),
            **_small("maps", maps / size[:, None], (1, 2)),
            **_small("pitch", np.concatenate([p.pitch for p in self.performances]), None),
            **_small("stretch", np.concatenate([p.stretch for p in self.performances]), None),
            **_small("rest", np.concatenate([p.rest for p in self.performances]), 0),
            "size": size.astype(np.float32),
            "frames": np.array([len(reading) for reading in self.readings], np.int32),
            "names": np.array(index, np.int16),
            "lengths": np.array([[len(p.pitch), p.reading] for p in self.performances], np.int32),
            "level": np.array([p.level for p in self.performances], np.float32),
        }
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / f"{FILE}.safetensors")
        save_file({"clarity": np.array([p.clarity for p in self.performances], np.float32)}, folder / CLARITY)
        facts = {"step": self.step, "medians": self.medians, "means": self.means, "shares": self.shares or {}} | lists
        (folder / f"{FILE}.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Bank:
        """Read the files of :meth:`save`."""
        from safetensors.numpy import load_file

        found = load_file(folder / f"{FILE}.safetensors")
        facts = json.loads((folder / f"{FILE}.json").read_text(encoding="utf-8"))
        clear = load_file(folder / CLARITY)["clarity"]
        large = lambda name: found[name] * found[f"{name}_scale"]
        readings = np.split(large("cepstra"), np.cumsum(found["frames"])[:-1])
        ends = np.cumsum(found["lengths"][:, 0])[:-1]
        pitch, stretch, rest = (np.split(large(name), ends) for name in ("pitch", "stretch", "rest"))
        maps = large("maps") * found["size"][:, None]
        performances = [
            Performance(
                **{name: facts[name][one] for name, one in zip(NAMES, names)},
                reading=int(found["lengths"][i, 1]),
                level=float(found["level"][i]),
                pitch=pitch[i],
                stretch=stretch[i],
                map=maps[i],
                rest=rest[i],
                clarity=float(clear[i]),
            )
            for i, names in enumerate(found["names"])
        ]
        return cls(readings, performances, facts["medians"], facts["means"], facts["step"], facts["shares"])


def _small(name: str, x: np.ndarray, axes: int | tuple[int, ...] | None) -> dict[str, np.ndarray]:
    """An array in 8 bits and what to multiply it by, one number for all along ``axes``."""
    scale = np.abs(x).max(axes, keepdims=True) / 127 + 1e-9
    return {name: np.rint(x / scale).astype(np.int8), f"{name}_scale": scale.astype(np.float32)}


def seen(phrase: Phrase, pitch: np.ndarray, median: float, stretch: np.ndarray) -> np.ndarray:
    """(n, f) what the map is told of each frame: the sound, and how pitch and pace are changed there."""
    place = np.linspace(0, 1, len(pitch))
    own = phrase.octave - median
    columns = [phrase.level.clip(-6, 1), phrase.hz > 0, pitch, pitch - own, stretch, place, place**2]
    return np.concatenate([phrase.cepstra, np.stack(columns, 1)], 1).astype(np.float32)


def fitted(x: np.ndarray, y: np.ndarray, weight: np.ndarray, strength: float = STRENGTH) -> np.ndarray:
    """Features (n, f) and changes (n, 20), each frame of a weight -> (f + 1, 20), by ridge regression."""
    weight = weight / weight.sum()
    mean = weight @ x
    scale = np.sqrt(weight @ (x - mean) ** 2 + 1e-6)
    z = (x - mean) / scale
    level = weight @ y
    told = (z * weight[:, None]).T
    slope = np.linalg.solve(told @ z + strength * np.eye(x.shape[1]), told @ (y - level)) / scale[:, None]
    return np.concatenate([slope, (level - mean @ slope)[None]]).astype(np.float32)


def predicted(map: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(f + 1, 20) and (n, f) -> (n, 20)."""
    return x @ map[:-1] + map[-1]
