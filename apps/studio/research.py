"""The researcher's tab: an emotion among the others, checkpoints side by side with what was measured of them, and a
strip over intensity. What stands in the other tabs is what is rendered."""

import html
import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from apps.studio import form
from apps.studio.emotion import asked as asked_for
from apps.studio.emotion import parse, reading
from apps.studio.files import address, served, uploads
from apps.studio.stage import progress, svg
from apps.studio.tabs import Tab
from apps.studio.words import TITLES
from apps.studio.work import PICTURE, Renderer, Result, said
from gen import checkpoints
from gen.emotion.resolve import resolve
from gen.emotion.spec import EMBEDDING, Emotion, EmotionCurve
from gen.errors import InputError
from gen.jobs.schema import Task
from gen.media import MIDI, PLAYED, SOUND

STEPS = (0.0, 0.5, 1.0, 1.5, 2.0)  # intensities of a strip


class Research:
    """The components of the tab and their events; ``inputs`` are all inputs of the page."""

    def __init__(self, renderer: Renderer, tabs: Mapping[str, Tab], inputs: list, me: gr.BrowserState):
        self.renderer, self.inputs = renderer, inputs
        self.tabs = {kind: tab for kind, tab in tabs.items() if tab.felt}
        self.models = {
            kind: form.models(kind, tab.fields["model"].value)
            for kind, tab in self.tabs.items()
            if "model" in tab.fields and kind in TITLES
        }
        first = next(iter(self.models))
        with gr.Column(elem_classes=["only", "for-research"]):
            with gr.Row():
                kinds = [(tab.title, kind) for kind, tab in self.tabs.items()]
                kind = gr.Dropdown(kinds, value=first, label="Render the settings of", scale=1)
                models = gr.CheckboxGroup(
                    self.models[first],
                    value=self.models[first],
                    scale=2,
                    label="Checkpoints, each with its conditioner",
                )
            with gr.Row():
                side = gr.Button("Side by side", variant="primary", elem_id="compare", min_width=140)
                strip = gr.Button("At five intensities", elem_id="strip", min_width=140)
                look = gr.Button("Where it lies", elem_id="explore-show", min_width=140)
                halt = gr.Button("Stop", elem_id="research-stop", interactive=False, min_width=140)
            plain = partial(gr.HTML, "", apply_default_css=False)
            told, shown, readings = plain(elem_id="research-told"), plain(), plain(elem_classes="reading")
            with gr.Row():
                plane, ways = plain(), plain()
        private = {"api_visibility": "private", "show_progress": "hidden"}
        kind.change(self._offered, kind, models, queue=False, **private)
        panel = self.tabs[first].panel
        look.click(lambda felt: pictures(asked_for(felt)), panel, [readings, plane, ways], **private)
        asked, answers = [me, kind, models, *inputs], [told, halt, shown]
        side.click(self._compared, asked, answers, concurrency_limit=None, **private)
        strip.click(self._strip, asked, answers, concurrency_limit=None, **private)
        halt.click(renderer.halt, me, None, queue=False, **private)

    def _offered(self, kind: str):
        there = self.models.get(kind, [])
        return gr.CheckboxGroup(there, value=there)

    def _task(self, kind: str, values: tuple) -> Task:
        given, tab = dict(zip(self.inputs, values, strict=True)), self.tabs[kind]
        felt, *fields = (given[part] for part in tab.inputs)
        return tab.task(felt, tuple(fields))

    def _compared(self, me: str, kind: str, models: list[str], *values) -> Iterator[tuple]:
        with said():
            task = self._task(kind, values)
            if not models:
                raise InputError("Choose at least one checkpoint.")
            tasks = {name: task.model_copy(update={"model": name} | unforeign(task, name)) for name in models}
        yield from self._rendered(me, tasks, measured)

    def _strip(self, me: str, kind: str, models: list[str], *values) -> Iterator[tuple]:
        with said():
            tasks = over_intensity(self._task(kind, values))
        yield from self._rendered(me, tasks, lambda name: "")

    def _rendered(self, me: str, tasks: Mapping[str, Task], more: Callable[[str], str]) -> Iterator[tuple]:
        made: dict[str, Result] = {}
        for place, (name, task) in enumerate(tasks.items()):
            folder = uploads() / "results" / os.urandom(8).hex()
            job = self.renderer.begin(task, me, folder, partial(made.__setitem__, name))
            for share, text in job.follow():
                yield progress((place + share) / len(tasks), f"{name}: {text}"), gr.Button(interactive=True), gr.skip()
            if job.error:
                break
        yield progress(None, job.error), gr.Button(interactive=False), figures(made, more)


def unforeign(task: Task, model: str) -> dict:
    """Usual values for the fields that a model does not have."""
    fields = type(task).model_fields
    return {name: fields[name].default for name in form.foreign(task.kind) if not form.used(task.kind, name, model)}


def over_intensity(task: Task) -> dict[str, Task]:
    """The task at each intensity of a strip."""
    asked = wanted(task)
    return {f"intensity {step:g}": task.model_copy(update={"emotion": at_intensity(asked, step)}) for step in STEPS}


def wanted(task: Task) -> EmotionCurve:
    """The curve that a task is to follow, with what its file says. Other curves, such as that of the emotion which a
    recording has already, are not a strip's to scale. Raises ``InputError``."""
    if task.emotion is None:
        raise InputError("Say which emotion the strip goes through: an emotion, or {from: a file}.")
    return resolve(task.emotion)


def at_intensity(curve: EmotionCurve, intensity: float) -> EmotionCurve:
    """The curve with every keyframe at one intensity."""
    update = lambda key: {"emotion": key.emotion.model_copy(update={"intensity": intensity})}
    return curve.model_copy(update={"keyframes": tuple(k.model_copy(update=update(k)) for k in curve.keyframes)})


def figures(made: Mapping[str, Result], more: Callable[[str], str]) -> str:
    """A row of players and pictures, one for each result; ``more`` is what stands under it."""
    cells = []
    for name, result in made.items():
        says = html.escape(name)
        parts = [f"<figure><figcaption><b>{says}</b></figcaption>"]
        if video := result.first(PLAYED):
            parts.append(f'<video controls aria-label="{says}" src="{address(video)}"></video>')
        else:
            if picture := result.first(PICTURE):
                parts.append(f'<img alt="{says}" src="{address(picture)}">')
            elif score := result.first(MIDI):
                parts.append(svg(Path(score)))
            if sound := result.first(SOUND):
                parts.append(f'<audio controls aria-label="{says}" src="{address(sound)}"></audio>')
        cells.append(f"{''.join(parts)}{more(name)}</figure>")
    return f'<div class="strip">{"".join(cells)}</div>'


def measured(name: str) -> str:
    """The measures of a checkpoint with their targets, and links to its report and its card."""
    place = checkpoints.folder(name)
    rows, links = [("conditioner", conditioner(place), "")], []
    report = place / "report.json"
    if report.is_file():
        for bar in json.loads(report.read_text(encoding="utf-8")).get("bars", ()):
            low, high = bar.get("interval") or (None, None)
            within = f" ({low:.2f} to {high:.2f})" if low is not None else ""
            held = f"bar {bar['bar']}: {'met' if bar['met'] else 'missed'}"
            rows.append((bar["what"], f"{bar['measured']:.2f}{within}", held))
        links.append(("Report", served(report, f"{name}-report.json")))
    if (place / "README.md").is_file():
        links.append(("Model card, with the judges' figures", served(place / "README.md", f"{name}-card.txt")))
    told = ("</td><td>".join(html.escape(part) for part in row) for row in rows if row[1])
    cells = "".join(f"<tr><td>{row}</td></tr>" for row in told)
    ends = " ".join(f'<a href="{address(path)}" target="_blank" rel="noopener">{says}</a>' for says, path in links)
    return f"<table>{cells}</table><p>{ends}</p>"


def conditioner(place: Path) -> str:
    """The conditioner that a checkpoint's configuration names."""
    for path in sorted(place.rglob("config.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        for key, value in found.items() if isinstance(found, dict) else ():
            if key.startswith(("condition", "emotion")) and isinstance(value, str):
                return value
    return ""


# ---------------------------------------------------------------- where an emotion lies


def explore(emotion: str) -> tuple:
    """Show an emotion among the others: how each generator reads it, and pictures of where it lies.

    Args:
        emotion: a word, a mix, a point or a curve
    """
    with said():
        curve = parse(emotion)
        return reading(curve, None), plane_picture(curve), directions_picture(curve.keyframes[-1].emotion)


def pictures(text: str) -> tuple[str, str, str]:
    """The same, to be shown in the page."""
    read, plane, ways = explore(text)
    picture = '<img src="{}" alt="{}" style="max-width:100%">'.format
    return (
        read,
        picture(address(plane), "Among 400 words, by valence and arousal"),
        picture(address(ways), "How its direction in the embedding compares with those of other emotions"),
    )


def plane_picture(curve: EmotionCurve) -> str:
    """The picture of ``affekt emotion describe --plot``."""
    from gen.emotion.picture import draw

    path = uploads() / f"plane-{os.urandom(8).hex()}.png"
    draw(curve, path)
    return str(path)


def directions_picture(felt: Emotion) -> str:
    """The direction of an emotion in the embedding: its cosine with the directions of the others, from neutral."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from gen.emotion.picture import COLOURS, INK, PALE, PAPER

    names, likeness = _likeness(felt)
    figure = Figure(figsize=(7.5, 5.6), facecolor=PAPER, dpi=110)
    FigureCanvasAgg(figure)
    bars = figure.add_axes((0.14, 0.08, 0.8, 0.76), facecolor=PAPER)
    bars.barh(names, likeness, color=[COLOURS.get(name, INK) for name in names])
    bars.axvline(0, color=PALE, lw=0.8)
    bars.set(xlim=(min(-0.1, *likeness), 1), xlabel="cosine with the direction from neutral to it")
    bars.invert_yaxis()
    bars.tick_params(length=0, colors=INK)
    for spine in bars.spines.values():
        spine.set_visible(False)
    figure.text(0.14, 0.9, f"Where {felt.model_copy(update={'intensity': 1.0})} leads", fontsize=14, color=INK)
    path = uploads() / f"directions-{os.urandom(8).hex()}.png"
    figure.savefig(path)
    return str(path)


def _likeness(felt: Emotion) -> tuple[list[str], list[float]]:
    """The embedding's emotions, and the cosine of each one's direction with this one's."""
    import torch

    from gen.emotion.embedding.direction import DirectionSpace
    from gen.emotion.embedding.priors import Priors, read

    space = DirectionSpace.load(checkpoints.folder(EMBEDDING))
    names = [name for name in space.regions if name != space.neutral]
    others = torch.stack(
        [space.regions[name].mixture.mean() - space.regions[space.neutral].mixture.mean() for name in names]
    )
    weights, vad = (torch.tensor(x, dtype=torch.float32)[None, None] for x in (felt.weights(), felt.point()))
    ends = Priors(*read(EMBEDDING))(weights.expand(1, 2, 8), vad.expand(1, 2, 3), torch.tensor([[0.0, 1.0]]))[0]
    return names, torch.cosine_similarity(others.float(), ends[1] - ends[0]).tolist()


# ---------------------------------------------------------------- what programs call


def api(renderer: Renderer, tabs: Mapping[str, Tab]) -> None:
    """``/explore``, and a strip over intensity for each kind that follows an emotion."""
    with gr.Row(visible=False):
        text, asked = gr.Textbox(label="emotion"), gr.Button()
        asked.click(
            explore,
            text,
            [gr.HTML(label="reading"), gr.Image(label="plane"), gr.Image(label="directions")],
            api_name="explore",
        )
        for kind, tab in tabs.items():
            if tab.felt:
                button, plain = gr.Button(), [gr.HTML(label="strip"), gr.Files(label="files")]
                call = tab.callable(
                    partial(_strip, renderer, tab),
                    f"{kind}_strip",
                    f"Render a {kind} task at five intensities.",
                    progress=True,
                )
                button.click(call, tab.plain, plain, api_name=f"{kind}_strip", concurrency_id="device")


def _strip(renderer: Renderer, tab: Tab, felt: str, *values: Any, request: gr.Request, progress: gr.Progress) -> tuple:
    with said():
        made: dict[str, Result] = {}
        for place, (name, task) in enumerate(over_intensity(tab.form.task(felt, values)).items()):
            tell = lambda done, text, at=place: progress((at + done) / len(STEPS), desc=f"{at + 1} of 5: {text}")
            made[name] = renderer.render(task, request.session_hash, tell)
        return figures(made, lambda name: ""), [str(path) for result in made.values() for path in result.files]
