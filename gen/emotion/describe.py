"""Explains an emotion: its mix, its point, its quadrant, and its use by each conditioner and generator."""

import inspect
from pathlib import Path

import numpy as np

from gen import registry
from gen.emotion import own
from gen.emotion.resolve import resolve
from gen.emotion.spec import CANONICAL, QUADRANTS, Emotion, EmotionCurve

AXES = ("valence", "arousal", "dominance")


def describe(text: str | dict | Emotion | EmotionCurve) -> dict:
    """A JSON-able description of an emotion; for a curve, also of each keyframe. Raises ``InputError``."""
    own.load()
    curve = resolve(EmotionCurve.parse(text))
    if len(curve.keyframes) == 1:
        return _emotion(curve.keyframes[0].emotion)
    frames = [{"at": key.at, "ease": key.ease, **_emotion(key.emotion)} for key in curve.keyframes]
    return {"emotion": str(curve), "unit": curve.unit, "keyframes": frames}


def report(description: dict) -> str:
    """The result of :func:`describe` as text for a terminal."""
    if "keyframes" in description:
        unit = description["unit"][:-1]
        return "\n\n".join(f"{unit} {key['at']:g} ({key['ease']})\n{report(key)}" for key in description["keyframes"])
    rows = [
        ("emotion", description["emotion"]),
        ("canonical mix", _listed(description["canonical"])),
        ("point", _listed(description["vad"], keep_all=True)),
        ("with intensity", _listed(description["scaled"], keep_all=True)),
        ("quadrants", _listed(description["quadrants"])),
    ]
    rows += [(name, reading) for name, reading in description["readings"].items()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def plot(emotion: str | dict | Emotion | EmotionCurve, path: str | Path) -> None:
    """Plots an emotion or a curve among the other emotions, as a picture (PNG, SVG or PDF by its extension)."""
    from gen.emotion.picture import draw

    own.load()
    draw(resolve(EmotionCurve.parse(emotion)), path)


def _emotion(emotion: Emotion) -> dict:
    quadrants = emotion.quadrants()
    return {
        "emotion": str(emotion),
        "mix": dict(emotion.mix or ()),
        "intensity": emotion.intensity,
        "canonical": _rounded(CANONICAL, emotion.weights()),
        "vad": _rounded(AXES, emotion.point()),
        "scaled": _rounded(AXES, emotion.scaled()),
        "spread": _rounded(AXES, emotion.spread()),
        "quadrant": QUADRANTS[int(quadrants.argmax())],
        "quadrants": _rounded(QUADRANTS, quadrants),
        "readings": _readings(emotion),
    }


def _readings(emotion: Emotion) -> dict[str, str]:
    """A sentence for each conditioner and generator; third-party parts may define ``reading(emotion)``."""
    moved = emotion.intensity * emotion.weights()
    moved[0] += 1 - emotion.intensity
    mix, point = _listed(_rounded(CANONICAL, moved)), _listed(_rounded("vad", emotion.scaled()), keep_all=True)
    far = f"{emotion.intensity:g} x the way from neutral to {_listed(_rounded(CANONICAL, emotion.weights()))}"
    shipped = {
        "none": "ignores the emotion",
        "label": mix,
        "vad": point,
        "gaussian": f"{far}, as a distribution",
        "bank": f"{far}, as a query to the bank of prototypes",
        "direction": f"{far}, along filtered directions with calibrated steps",
    }
    readings = {f"conditioner {name}": text for name, text in shipped.items()}
    for kind in ("conditioner", "generator"):
        for name in registry.names(kind):
            if name not in shipped:
                readings[f"{kind} {name}"] = _reading(registry.get(kind, name), emotion)
    return readings


def _reading(part, emotion: Emotion) -> str:
    if hasattr(part, "reading"):
        return part.reading(emotion)
    return (inspect.getdoc(part) or "no description").partition("\n")[0]


def _rounded(names, values: np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 3) + 0.0 for name, value in zip(names, values, strict=True)}


def _listed(values: dict[str, float], keep_all: bool = False) -> str:
    """Shares by size, or coordinates in order."""
    if keep_all:
        return "  ".join(f"{name} {value:+.2f}" for name, value in values.items())
    seen = sorted(
        ((value, name) for name, value in values.items() if abs(value) >= 0.01), key=lambda pair: -abs(pair[0])
    )
    return ", ".join(f"{name} {value:.2f}" for value, name in seen)
