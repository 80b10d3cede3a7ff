"""The emotion of the page: one value, a dict, that every control of the panel shows and changes.

Its ``text`` is what YAML and the command line have, and what is rendered; ``keys`` are its keyframes. The browser holds
the value (``emotion.js``) and asks :func:`read` what a text means; files that were uploaded for it are in ``files``.
"""

import html
import json
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from apps.studio.files import uploaded
from apps.studio.form import LONGEST, openable, short, spelled
from apps.studio.words import plain
from gen import registry
from gen.emotion import own
from gen.emotion.resolve import resolve
from gen.emotion.spec import CANONICAL, Emotion, EmotionCurve, Keyframe
from gen.errors import AffektError, InputError
from gen.jobs.schema import with_paths

ASSETS = Path(__file__).parent / "assets"
MOST_KEYS = 40
LONG = 3600.0  # the longest timeline, in seconds or bars
CHIPS = ("happy", "sad", "anger", "fear", "surprise", "disgust", "tender", "calm")
BETWEEN = ("calm", "serene", "tender", "tired", "ecstatic", "furious")  # to find one's way


@cache
def words() -> list[dict]:
    """The canonical emotions and a few between them, and where they lie, for the plane."""
    from gen.emotion import lexicon
    from gen.emotion.picture import COLOURS

    terms, chosen = lexicon.terms(), {"tender": "#d4708f", "calm": "#4f9d9a"}
    colours = dict.fromkeys(BETWEEN, "#66727d") | chosen | COLOURS
    found = [(name, *terms[name].mean[:2], colours[name]) for name in (*BETWEEN, *CANONICAL)]
    return [{"word": w, "v": round(float(v), 3), "a": round(float(a), 3), "colour": c} for w, v, a, c in found]


@cache
def vocabulary() -> list[str]:
    from gen.emotion import lexicon

    return sorted(lexicon.terms())


def parse(text: str, files: dict | None = None) -> EmotionCurve:
    """The resolved curve that a text means; ``files`` are the uploads that it may name. Raises ``InputError``, also
    where it names a file that is no upload."""
    return resolve(written(text, files))


def written(text: str, files: dict | None = None) -> EmotionCurve:
    """The curve as it is written, with the paths of the uploads that it names. Raises ``InputError``."""
    own.load()
    known = {str(name): uploaded(path) for name, path in (files or {}).items()}
    curve = with_paths(EmotionCurve.parse(short(text)), lambda path: known.get(str(path), path))
    return openable(curve)


def asked(value: Any) -> str:
    """The text of the panel's value with the paths of its uploads, for a task. Raises ``InputError``."""
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise InputError("Choose an emotion first.")
    curve = written(value["text"], value.get("files"))
    return spelled(curve) if curve.source else value["text"]


def drawn(curve: EmotionCurve, text: str, span: float, unit: str, kind: str | None) -> dict:
    """The panel's content for a resolved curve: keyframes, the path between them, and the generators' readings."""
    keys = thinned(curve.keyframes)
    curve = curve.model_copy(update={"keyframes": keys, "unit": unit})
    span = min(max(span, keys[-1].at, 1.0), LONG)
    times = np.linspace(0, span, 81)
    sampled = curve.sample(times)
    way = np.clip(sampled.vad[:, :2] * sampled.intensity[:, None], -1, 1)
    path = [[round(float(t), 3), round(float(v), 3), round(float(a), 3)] for t, (v, a) in zip(times, way)]
    return {
        "text": text,
        "keys": [frame(key) for key in keys],
        "path": path,
        "span": span,
        "unit": unit,
        "wrong": "",
        "reading": reading(curve, kind),
    }


def frame(key: Keyframe) -> dict:
    """A keyframe as the panel has it: its emotion at intensity 1, its intensity, its place, its mix."""
    scaled = key.emotion.scaled()
    return {
        "at": key.at,
        "ease": key.ease,
        "emotion": str(key.emotion.model_copy(update={"intensity": 1.0})),
        "i": key.emotion.intensity,
        "v": round(float(scaled[0]), 3),
        "a": round(float(scaled[1]), 3),
        "mix": [round(float(weight), 3) for weight in key.emotion.weights()],
    }


def thinned(keys: tuple[Keyframe, ...]) -> tuple[Keyframe, ...]:
    """At most as many keyframes as the panel holds, evenly chosen."""
    chosen = np.unique(np.linspace(0, len(keys) - 1, min(len(keys), MOST_KEYS)).round().astype(int))
    return tuple(keys[place] for place in chosen)


def read(value: Any) -> dict:
    """The panel's content for a text: the result of :func:`drawn`, or an error sentence in ``wrong``. ``value`` is the
    browser's input: ``text``, ``files``, ``unit``, ``span`` and ``kind``."""
    try:
        text, unit = short(value["text"]), "bars" if value.get("unit") == "bars" else "seconds"
        kind = value.get("kind") if value.get("kind") in registry.names("generator") else None
        return drawn(parse(text, value.get("files")), text, float(value.get("span") or 1), unit, kind)
    except AffektError as error:
        return {"wrong": plain(str(error))}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {"wrong": "Choose an emotion first."}


def shown(text: str, unit: str = "seconds", span: float = 6.0, kind: str | None = None) -> dict:
    """A value of the panel for a text of ours or of a job. Raises ``InputError``."""
    return drawn(parse(text), text, span, unit, kind) | {"selected": 0, "files": {}}


def reading(curve: EmotionCurve, kind: str | None) -> str:
    """The reading of each keyframe by the generator of a kind (or by all), as HTML."""
    whole = lambda name: getattr(registry.get("generator", name), "parts", ())
    kinds = [kind] if kind else [name for name in registry.names("generator") if not whole(name)]
    rows = []
    for key in curve.keyframes[:8]:
        valence, arousal, dominance = key.emotion.scaled()
        mix = sorted(zip(key.emotion.weights(), CANONICAL), reverse=True)
        most = ", ".join(f"{name} {weight:.0%}" for weight, name in mix[:3] if weight > 0.01)
        at = f"bar {key.at:g}" if curve.unit == "bars" else f"{key.at:g} s"
        when = "" if len(curve.keyframes) == 1 else f"<b>{at}</b> "
        head = f"{when}<i>{html.escape(str(key.emotion))}</i>: {most}; valence {valence:+.2f}, arousal {arousal:+.2f}, "
        told = [("" if kind else f"{name}: ") + account(name, key.emotion) for name in kinds]
        says = "".join(f"<span>{html.escape(line)}</span>" for text in told for line in text.splitlines())
        rows.append(f"<p>{head}dominance {dominance:+.2f}{says}</p>")
    more = len(curve.keyframes) - len(rows)
    return f"{''.join(rows)}{f'<p>and {more} more keyframes</p>' if more else ''}"


def account(kind: str, emotion: Emotion) -> str:
    """A generator's own sentence about an emotion."""
    generator = registry.get("generator", kind)
    return generator.reading(emotion) if hasattr(generator, "reading") else "the emotion as it is"


def panel(start: str) -> gr.HTML:
    """The component; it triggers ``released`` when a control is let go of."""
    facts = {
        "WORDS": words(),
        "CHIPS": CHIPS,
        "CANONICAL": CANONICAL,
        "VOCABULARY": vocabulary(),
        "LONGEST": LONGEST,
        "MOST": MOST_KEYS,
    }
    known = "\n".join(f"const {name} = {json.dumps(fact)};" for name, fact in facts.items())
    return gr.HTML(
        shown(start, kind="music"),
        html_template="<div class='emotion'></div>",
        elem_id="emotion",
        server_functions=[read],
        css_template=(ASSETS / "emotion.css").read_text("utf-8"),
        apply_default_css=False,
        js_on_load=f"{known}\n{(ASSETS / 'emotion.js').read_text('utf-8')}",
        label="Emotion",
        render=False,
    )
