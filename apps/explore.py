"""The Explore tab: an emotion among the others, its way through the embedding, and a strip over intensity."""

import html
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np

from apps import picker
from apps.rendering import PICTURE, SOUND, VIDEO, Renderer, Result, said
from gen.emotion.spec import EMBEDDING, Emotion, EmotionCurve
from gen.jobs.schema import curves
from gen.media import MIDI

if TYPE_CHECKING:
    from apps.studio import Tab

STEPS = (0.0, 0.5, 1.0, 1.5, 2.0)  # intensities of a strip


def build(renderer: Renderer, tabs: Mapping[str, "Tab"]) -> None:
    """The tab's components and events."""
    with gr.Row():
        text = gr.Textbox("bittersweet longing", label="Emotion", max_length=1000, scale=4)
        look = gr.Button("Show", variant="primary", scale=1, elem_id="explore-show")
    readings = gr.HTML(picker.reading(EmotionCurve.parse("bittersweet longing"), None))
    with gr.Row():
        plane = gr.Image(label="Among 400 words, by valence and arousal", interactive=False)
        space = gr.Image(label="In the embedding that voices, faces and music share", interactive=False)
    gr.on([look.click, text.submit], explore, text, [readings, plane, space], api_name="explore")
    for kind, tab in tabs.items():
        title = tab.layout.title
        gr.Markdown(f"### {title} over intensity\nWhat stands in the tab {title}, rendered at {len(STEPS)} intensities.")
        with gr.Row():
            go = gr.Button(f"Render the strip of {title}", elem_id=f"{kind}-strip")
            halt = gr.Button("Stop", variant="stop")
        strip, state = gr.HTML(), gr.Files(label="Files of the strip", interactive=False, visible=False)
        call = tab._callable(_strip(renderer, tab), f"Render a {kind} task at five intensities.", progress=True)
        go.click(call, tab.inputs, [strip, state], api_name=f"{kind}_strip", concurrency_id="device")
        halt.click(renderer.stop, None, strip, queue=False, api_visibility="private")


def explore(emotion: str) -> tuple:
    """Show an emotion among the others: how each generator reads it, and pictures of where it lies.

    Args:
        emotion: a word, a mix, a point or a curve
    """
    with said():
        curve = picker.parse(emotion)
        return picker.reading(curve, None), plane_picture(curve), space_picture(curve.keyframes[-1].emotion)


def _strip(renderer: Renderer, tab: "Tab"):
    def strip(emotion: str, *values, request: gr.Request, progress: gr.Progress) -> tuple:
        with said():
            task = tab.form.task(emotion, values)
            made = []
            for place, step in enumerate(STEPS):
                one = curves(task, lambda curve, step=step: at_intensity(curve, step))
                tell = lambda done, text, at=place: progress((at + done) / len(STEPS), desc=f"{at + 1} of 5: {text}")
                made.append(renderer.render(one, request.session_hash, tell))
            files = [str(path) for result in made for path in result.files]
            return figures(made), gr.Files(files, visible=True)

    return strip


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
        if video := result.first(VIDEO):
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


def space_picture(emotion: Emotion) -> str:
    """The embedding in its two directions of most difference: where the emotions lie, and this one's way."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from apps.studio import results
    from gen.emotion.picture import INK, PALE, PAPER
    from gen.emotion.projection import COLOURS

    names, centres, way = _places(emotion)
    flat = centres - centres[0]
    axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:2].T
    dots, line, likeness = flat @ axes, (way - centres[0]) @ axes, _likeness(flat, way[-1] - way[0])
    figure = Figure(figsize=(10.4, 6.4), facecolor=PAPER, dpi=110)
    FigureCanvasAgg(figure)
    chart, bars = figure.add_axes((0.04, 0.06, 0.6, 0.84)), figure.add_axes((0.76, 0.1, 0.21, 0.74))
    for name, (x, y) in zip(names, dots):
        colour = COLOURS.get(name, INK)
        chart.plot([0, x], [0, y], color=colour, alpha=0.35, lw=1)
        chart.plot(x, y, "o", ms=9, color=colour)
        chart.annotate(name, (x, y), (0, 9), textcoords="offset points", ha="center", color=colour, weight="bold")
    chart.plot(*line.T, color=INK, lw=2.2)
    for step, spot in zip(STEPS, line[:: (len(line) - 1) // (len(STEPS) - 1)]):
        chart.plot(*spot, "o", ms=6, mfc="white", mec=INK, zorder=5)
        chart.annotate(f"×{step:g}", spot, (7, -10), textcoords="offset points", fontsize=8, color=INK)
    chart.margins(0.14)
    chart.set(xticks=[], yticks=[])
    figure.text(0.04, 0.94, f"{emotion.model_copy(update={'intensity': 1.0})}, from 0 to 2", fontsize=15, color=INK)
    bars.barh(names[:0:-1], likeness[:0:-1], color=[COLOURS.get(name, INK) for name in names[:0:-1]])
    bars.axvline(0, color=PALE, lw=0.8)
    bars.set_title("its direction against others (cosine)", fontsize=10, color=PALE, loc="left", x=-0.3)
    for part in (chart, bars):
        part.set_facecolor(PAPER)
        for spine in part.spines.values():
            spine.set_visible(False)
    path = results() / f"space-{os.urandom(8).hex()}.png"
    figure.savefig(path)
    return str(path)


def _places(emotion: Emotion) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names and centres (k e) of the emotions, neutral first, and the emotion's own way (41 e) over intensities."""
    import torch

    from gen import checkpoints
    from gen.emotion.direction import DirectionSpace
    from gen.emotion.priors import Priors, read

    space = DirectionSpace.load(checkpoints.folder(EMBEDDING))
    names = [space.neutral, *(name for name in space.regions if name != space.neutral)]
    centres = torch.stack([space.regions[name].mixture.mean() for name in names]).float()
    weights, vad = (torch.tensor(x, dtype=torch.float32) for x in (emotion.weights(), emotion.point()))
    steps = torch.linspace(0, STEPS[-1], 41)
    way = Priors(*read(EMBEDDING))(weights.expand(1, 41, 8), vad.expand(1, 41, 3), steps[None])[0]
    return names, centres.numpy(), way.numpy()


def _likeness(directions: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(k,) cosine of each direction (k e) with one (e,); 0 for the neutral one, which has none."""
    sizes = np.linalg.norm(directions, axis=1) * np.linalg.norm(own)
    return np.divide(directions @ own, sizes, out=np.zeros(len(directions)), where=sizes > 1e-9)
