"""The Explore tab: an emotion among the others, its way through the embedding, and a strip over intensity."""

import html
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import gradio as gr

from apps import picker
from apps.rendering import PICTURE, Renderer, Result, said
from gen import checkpoints
from gen.emotion.resolve import resolve
from gen.emotion.spec import EMBEDDING, Emotion, EmotionCurve
from gen.errors import InputError
from gen.jobs.schema import Task
from gen.media import MIDI, PLAYED, SOUND, read_image

if TYPE_CHECKING:
    from apps.studio import Tab

STEPS = (0.0, 0.5, 1.0, 1.5, 2.0)  # intensities of a strip


def build(renderer: Renderer, tabs: Mapping[str, "Tab"], opened: Callable) -> None:
    """The tab's components and events; ``opened`` is the event of its being shown."""
    with gr.Row():
        text = gr.Textbox("bittersweet longing", label="Emotion", max_length=1000, scale=4)
        look = gr.Button("Show", variant="primary", scale=1, elem_id="explore-show")
    readings = gr.HTML(picker.reading(EmotionCurve.parse("bittersweet longing"), None))
    with gr.Row():
        plane = gr.Image(label="Among 400 words, by valence and arousal", interactive=False)
        ways = gr.Image(label="Its direction in the embedding", interactive=False)
    gr.on([look.click, text.submit], explore, text, [readings, plane, ways], api_name="explore")
    opened(explore, text, [readings, plane, ways], api_visibility="private")
    with gr.Accordion("The embedding that voices, faces and music share", open=False):
        gr.Image(read_image(checkpoints.folder(EMBEDDING) / "space.png"), show_label=False, interactive=False)
    gr.Markdown(f"### Over intensity\nWhat stands in a tab, rendered at {len(STEPS)} intensities from 0 to 2.")
    with gr.Row():
        buttons = {kind: gr.Button(tab.layout.title, elem_id=f"{kind}-strip") for kind, tab in tabs.items()}
        halt = gr.Button("Stop", variant="stop")
    strip, state = gr.HTML(), gr.Files(label="Files of the strip", interactive=False, visible=False)
    with gr.Row(visible=False):  # what programs call
        plain = [gr.HTML(label="strip"), gr.Files(label="files")]
        asked = {kind: gr.Button() for kind in tabs}
    halt.click(renderer.stop, None, strip, queue=False, api_visibility="private")
    for kind, tab in tabs.items():
        title, does = f"{kind}_strip", f"Render a {kind} task at five intensities."
        made = _strip(renderer, tab)
        call = tab._callable(made, title, does, progress=True)
        asked[kind].click(call, tab.inputs, plain, api_name=title, concurrency_id="device")
        call = tab._callable(_shown(made), title, does, progress=True)
        hidden = {"api_name": f"{title}_shown", "api_visibility": "private"}
        buttons[kind].click(call, tab.inputs, [strip, state], concurrency_id="device", **hidden)


def explore(emotion: str) -> tuple:
    """Show an emotion among the others: how each generator reads it, and pictures of where it lies.

    Args:
        emotion: a word, a mix, a point or a curve
    """
    with said():
        curve = picker.parse(emotion)
        return picker.reading(curve, None), plane_picture(curve), directions_picture(curve.keyframes[-1].emotion)


def _strip(renderer: Renderer, tab: "Tab"):
    def strip(emotion: str, *values, request: gr.Request, progress: gr.Progress) -> tuple:
        with said():
            task = tab.form.task(emotion, values)
            asked, made = wanted(task), []
            for place, step in enumerate(STEPS):
                one = task.model_copy(update={"emotion": at_intensity(asked, step)})
                tell = lambda done, text, at=place: progress((at + done) / len(STEPS), desc=f"{at + 1} of 5: {text}")
                made.append(renderer.render(one, request.session_hash, tell))
            files = [str(path) for result in made for path in result.files]
            return figures(made), files

    return strip


def _shown(strip: Callable) -> Callable:
    def shown(*given, **how) -> tuple:
        html, files = strip(*given, **how)
        return html, gr.Files(files, visible=True)

    return shown


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


def figures(made: list[Result]) -> str:
    """A row of players and pictures, one for each intensity."""
    from apps.studio import drawn

    cells = []
    for step, result in zip(STEPS, made, strict=True):
        parts = [f"<figure><figcaption>intensity {step:g}</figcaption>"]
        if picture := result.first(PICTURE) or drawn(result.first(MIDI)):
            parts.append(f'<img alt="intensity {step:g}" src="{address(picture)}">')
        if video := result.first(PLAYED):
            parts.append(f'<video controls src="{address(video)}"></video>')
        elif sound := result.first(SOUND):
            parts.append(f'<audio controls src="{address(sound)}"></audio>')
        cells.append("".join(parts) + "</figure>")
    return f'<div class="strip">{"".join(cells)}</div>'


def address(path: str) -> str:
    return html.escape(f"gradio_api/file={path}")


def plane_picture(curve: EmotionCurve) -> str:
    """The picture of ``affekt emotion describe --plot``."""
    from apps.studio import results
    from gen.emotion.picture import draw

    path = results() / f"plane-{os.urandom(8).hex()}.png"
    draw(curve, path)
    return str(path)


def directions_picture(emotion: Emotion) -> str:
    """Where in the embedding an emotion leads: the cosine of its direction from neutral with the others'."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from apps.studio import results
    from gen.emotion.picture import COLOURS, INK, PALE, PAPER

    names, likeness = _likeness(emotion)
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
    figure.text(0.14, 0.9, f"Where {emotion.model_copy(update={'intensity': 1.0})} leads", fontsize=14, color=INK)
    path = results() / f"directions-{os.urandom(8).hex()}.png"
    figure.savefig(path)
    return str(path)


def _likeness(emotion: Emotion) -> tuple[list[str], list[float]]:
    """The embedding's emotions, and the cosine of each one's direction with this one's."""
    import torch

    from gen.emotion.embedding.direction import DirectionSpace
    from gen.emotion.embedding.priors import Priors, read

    space = DirectionSpace.load(checkpoints.folder(EMBEDDING))
    names = [name for name in space.regions if name != space.neutral]
    others = torch.stack([space.regions[name].mixture.mean() - space.regions[space.neutral].mixture.mean()
                          for name in names])  # fmt: skip
    weights, vad = (torch.tensor(x, dtype=torch.float32)[None, None] for x in (emotion.weights(), emotion.point()))
    ends = Priors(*read(EMBEDDING))(weights.expand(1, 2, 8), vad.expand(1, 2, 3), torch.tensor([[0.0, 1.0]]))[0]
    return names, torch.cosine_similarity(others.float(), ends[1] - ends[0]).tolist()
