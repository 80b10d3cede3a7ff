"""The emotion picker: words, a point in the plane, a mix or a file, an intensity, and keyframes over time.

Its value is the text that YAML and the command line have; every other part of it shows that text or changes it.
"""

import html
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from apps.form import LONGEST, openable, short, spelled
from gen import registry
from gen.emotion import own
from gen.emotion.resolve import resolve
from gen.emotion.spec import CANONICAL, Emotion, EmotionCurve, Keyframe
from gen.errors import InputError

ASSETS = Path(__file__).parent / "assets"
MOST_KEYS = 40
BETWEEN = ("calm", "serene", "tender", "tired", "ecstatic", "furious")  # to find one's way
EASES = ("linear", "smooth", "hold")


class Picker(NamedTuple):
    """Its components; ``text`` is its value."""

    text: gr.Textbox
    plane: gr.HTML
    intensity: gr.Slider
    ease: gr.Dropdown
    reading: gr.HTML


@cache
def words() -> list[dict]:
    """The canonical emotions and a few between them, and where they lie, for the plane."""
    from gen.emotion import lexicon
    from gen.emotion.picture import COLOURS

    terms, colours = lexicon.terms(), COLOURS | dict.fromkeys(BETWEEN, "#9aa3ab")
    found = [(name, *terms[name].mean[:2], colours[name]) for name in (*BETWEEN, *CANONICAL)]
    return [{"word": w, "v": round(float(v), 3), "a": round(float(a), 3), "colour": c} for w, v, a, c in found]


@cache
def vocabulary() -> list[str]:
    from gen.emotion import lexicon

    return sorted(lexicon.terms())


def state(curve: EmotionCurve, selected: int, span: float) -> dict:
    """What the plane draws: keyframes, the way between them, and which of them is selected."""
    keys = curve.keyframes
    span = max(span, keys[-1].at, 1.0)
    times = np.linspace(0, span, 81)
    drawn = curve.sample(times)
    way = np.clip(drawn.vad[:, :2] * drawn.intensity[:, None], -1, 1)
    frames = []
    for key in keys:
        point, scaled = key.emotion.point(), key.emotion.scaled()
        frames.append({"at": key.at, "ease": key.ease, "emotion": str(key.emotion), "i": key.emotion.intensity,
                       "v": round(float(scaled[0]), 3), "a": round(float(scaled[1]), 3),
                       "far": [round(float(x), 3) for x in point[:2]]})  # fmt: skip
    path = [[round(float(t), 3), round(float(v), 3), round(float(a), 3)] for t, (v, a) in zip(times, way)]
    unit = "bars" if curve.unit == "bars" else "s"
    return {"keys": frames, "path": path, "selected": min(selected, len(keys) - 1), "span": span, "unit": unit}


def parse(text: str) -> EmotionCurve:
    """The resolved curve that a text means. Raises ``InputError``, also where it names a file that is no upload."""
    own.load()
    return resolve(openable(EmotionCurve.parse(short(text))))


def keyframes(value: dict, unit: str) -> EmotionCurve:
    """The curve that the plane's value describes, which comes from a browser and is checked like any input."""
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= MOST_KEYS:
        raise InputError(f"Give from 1 to {MOST_KEYS} keyframes.")
    if not all(isinstance(key, dict) and isinstance(key.get("at"), int | float) for key in keys):
        raise InputError("A keyframe has a time, an emotion and an ease.")
    frames = [{name: key.get(name) for name in ("at", "emotion", "ease")} for key in keys]
    return EmotionCurve.parse({"keyframes": sorted(frames, key=lambda key: key["at"]), "unit": unit})


def changed(curve: EmotionCurve, selected: int, emotion: Emotion | None = None, ease: str | None = None):
    """The curve with another emotion or ease at one of its keyframes."""
    keys = list(curve.keyframes)
    update = {"emotion": emotion, "ease": ease}
    keys[selected] = keys[selected].model_copy(update={k: v for k, v in update.items() if v is not None})
    return curve.model_copy(update={"keyframes": tuple(keys)})


def added(curve: EmotionCurve, selected: int, span: float) -> tuple[EmotionCurve, int]:
    """A keyframe more, halfway to the one after the selected; and its number."""
    keys = list(curve.keyframes)
    after = keys[selected + 1].at if selected + 1 < len(keys) else max(span, keys[selected].at + 2)
    at = round((keys[selected].at + after) / 2, 2) if selected + 1 < len(keys) else round(after, 2)
    keys.insert(selected + 1, Keyframe(at=at, emotion=keys[selected].emotion))
    return curve.model_copy(update={"keyframes": tuple(keys)}), selected + 1


def removed(curve: EmotionCurve, selected: int) -> EmotionCurve:
    """Without one keyframe; what is left begins where the curve began."""
    keys = [key for place, key in enumerate(curve.keyframes) if place != selected] or list(curve.keyframes)
    return curve.model_copy(update={"keyframes": tuple(keys)})


def mixed(weights: list[float]) -> Emotion:
    """The mix of the canonical emotions with these weights."""
    if not any(weights):
        raise InputError("Give at least one emotion of the mix a weight.")
    return Emotion(mix={name: weight for name, weight in zip(CANONICAL, weights) if weight})


def reading(curve: EmotionCurve, kind: str | None) -> str:
    """What the generator of a kind (or all of them) will make of each keyframe, as HTML."""
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
    return f"<div class='reading'>{''.join(rows)}{f'<p>and {more} more keyframes</p>' if more else ''}</div>"


def account(kind: str, emotion: Emotion) -> str:
    """A generator's own sentence about an emotion."""
    generator = registry.get("generator", kind)
    return generator.reading(emotion) if hasattr(generator, "reading") else "the emotion as it is"


def build(kind: str | None, start: str, unit: str, span: float) -> tuple[Picker, Callable]:
    """The picker, wired; and ``show(text, span)`` -> the values of its components, for others to fill it."""
    curve = EmotionCurve.parse(start).model_copy(update={"unit": unit})
    first = curve.keyframes[0]
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            plane = gr.HTML(
                state(curve, 0, span), html_template='<div class="plane"></div><div class="time"></div>',
                css_template=(ASSETS / "picker.css").read_text(encoding="utf-8"), label="Valence and arousal",
                js_on_load=f"const WORDS = {json.dumps(words())};\n" + (ASSETS / "picker.js").read_text("utf-8"),
            )  # fmt: skip
        with gr.Column(scale=4, min_width=300):
            info = "happy, wistful 0.7 + hope 0.3 @ 1.2, v=0.6 a=-0.3, or over time: 0: sad, 8: happy"
            text = gr.Textbox(start, label="Emotion", info=info, max_length=LONGEST)
            word = gr.Dropdown(vocabulary(), value=None, label="A word", info="one of 400, for the selected keyframe")
            intensity = gr.Slider(0, 2, first.emotion.intensity, step=0.05, label="Intensity",
                                  info="0 neutral, 1 natural, 2 exaggerated")  # fmt: skip
            with gr.Row():
                add = gr.Button("Add keyframe", size="sm", min_width=90)
                remove = gr.Button("Remove keyframe", size="sm", min_width=90)
            ease = gr.Dropdown(EASES, value=first.ease, label="From this keyframe on")
            with gr.Accordion("A mix", open=False), gr.Row():
                shares = [gr.Slider(0, 1, 0, step=0.05, label=name.capitalize(), min_width=120) for name in CANONICAL]
            with gr.Accordion("From a file", open=False):
                info = "A voice (WAV, MP3, ...), a MIDI file, a text, a face's motion (.npz)"
                file = gr.File(label=info, height=110)
                follow = gr.Checkbox(label="Follow it over time", value=False)
    read = gr.HTML(reading(curve, kind), label="What will be read")
    picker = Picker(text, plane, intensity, ease, read)
    wire = _Wire(picker, kind, unit, span)
    wire.connect(word, shares, add, remove, file, follow)
    return picker, wire.shown


class _Wire:
    """The picker's events: each takes what the browser has, and shows the curve that comes of it."""

    def __init__(self, picker: Picker, kind: str | None, unit: str, span: float):
        self.picker, self.kind, self.unit, self.span = picker, kind, unit, span

    def shown(self, curve: EmotionCurve, selected: int = 0, span: float | None = None, text: str = "") -> tuple:
        """Values for the components of the picker; ``text`` is how the curve is written, if not by its keyframes."""
        curve = curve.model_copy(update={"unit": self.unit})
        drawn = state(curve, selected, span or self.span)
        key = curve.keyframes[drawn["selected"]]
        return text or spelled(curve), drawn, key.emotion.intensity, key.ease, reading(curve, self.kind)

    def connect(self, word, shares, add, remove, file, follow) -> None:
        p, private = self.picker, {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
        p.text.input(self.typed, [p.text, p.plane], [p.plane, p.intensity, p.ease, p.reading],
                     trigger_mode="always_last", **private)  # fmt: skip
        p.text.submit(guarded(self.settled), [p.text, p.plane], list(p), **private)
        p.plane.input(guarded(self.moved), p.plane, list(p), trigger_mode="always_last", **private)
        p.intensity.release(guarded(self.stronger), [p.plane, p.intensity], list(p), **private)
        p.ease.input(guarded(self.eased), [p.plane, p.ease], list(p), **private)
        word.input(guarded(self.said), [p.plane, word], list(p), **private)
        for share in shares:
            share.release(guarded(self.blended), [p.plane, *shares], list(p), **private)
        add.click(guarded(self.grown), p.plane, list(p), **private)
        remove.click(guarded(self.shrunk), p.plane, list(p), **private)
        heard = {"api_visibility": "private", "concurrency_id": "device", "show_progress_on": file}
        gr.on([file.upload, follow.input], guarded(self.heard), [file, follow, p.plane], list(p), **heard)

    def at(self, plane: dict) -> tuple[EmotionCurve, int, float]:
        curve = keyframes(plane, self.unit)
        selected = plane.get("selected")
        if not isinstance(selected, int) or not 0 <= selected < len(curve.keyframes):
            selected = 0
        return curve, selected, min(float(plane.get("span") or self.span), 1e4)

    def typed(self, text: str, plane: dict) -> tuple:
        """While typing: no message in the way, the mistake stands where the reading was."""
        try:
            return self.shown(drawable(parse(text)), 0, self.at(plane)[2])[1:]
        except InputError as error:
            wrong = f"<div class='reading wrong'>{html.escape(str(error))}</div>"
            return plane, gr.skip(), gr.skip(), wrong

    def settled(self, text: str, plane: dict) -> tuple:
        written = text if EmotionCurve.parse(short(text)).source else ""
        return self.shown(drawable(parse(text)), 0, self.at(plane)[2], written)

    def moved(self, plane: dict) -> tuple:
        return self.shown(*self.at(plane))

    def stronger(self, plane: dict, intensity: float) -> tuple:
        curve, selected, span = self.at(plane)
        emotion = curve.keyframes[selected].emotion.model_copy(update={"intensity": intensity})
        return self.shown(changed(curve, selected, emotion), selected, span)

    def eased(self, plane: dict, ease: str) -> tuple:
        curve, selected, span = self.at(plane)
        return self.shown(changed(curve, selected, ease=ease), selected, span)

    def said(self, plane: dict, word: str | None) -> tuple:
        curve, selected, span = self.at(plane)
        if not word:
            return self.shown(curve, selected, span)
        strength = curve.keyframes[selected].emotion.intensity
        emotion = Emotion.parse(word).model_copy(update={"intensity": strength})
        return self.shown(changed(curve, selected, emotion), selected, span)

    def blended(self, plane: dict, *weights: float) -> tuple:
        curve, selected, span = self.at(plane)
        strength = curve.keyframes[selected].emotion.intensity
        emotion = mixed(list(weights)).model_copy(update={"intensity": strength})
        return self.shown(changed(curve, selected, emotion), selected, span)

    def grown(self, plane: dict) -> tuple:
        curve, selected, span = self.at(plane)
        if len(curve.keyframes) >= MOST_KEYS:
            raise InputError(f"There are {MOST_KEYS} keyframes already, which is the most.")
        return self.shown(*added(curve, selected, span), span)

    def shrunk(self, plane: dict) -> tuple:
        curve, selected, span = self.at(plane)
        return self.shown(removed(curve, selected), max(selected - 1, 0), span)

    def heard(self, file: str | None, follow: bool, plane: dict) -> tuple:
        curve, selected, span = self.at(plane)
        if not file:
            return self.shown(curve, selected, span)
        source = openable(EmotionCurve(source=Path(file), follow=follow, unit=self.unit))
        found = resolve(source)
        if follow or len(curve.keyframes) == 1:  # written as the file, whose place in the embedding words do not have
            return self.shown(drawable(found), 0, span, str(source))
        return self.shown(changed(curve, selected, found.keyframes[0].emotion), selected, span)


def drawable(curve: EmotionCurve) -> EmotionCurve:
    """The curve with no more keyframes than the plane shows."""
    return curve.model_copy(update={"keyframes": thinned(curve.keyframes)})


def thinned(keys: tuple[Keyframe, ...]) -> tuple[Keyframe, ...]:
    """At most as many keyframes as the picker holds, evenly chosen."""
    chosen = np.unique(np.linspace(0, len(keys) - 1, min(len(keys), MOST_KEYS)).round().astype(int))
    return tuple(keys[place] for place in chosen)


def guarded(call: Callable) -> Callable:
    """The same, with a user's mistake as a message in the page."""
    from functools import wraps

    from apps.rendering import said

    @wraps(call)
    def safe(*values: Any):
        with said():
            return call(*values)

    return safe
