"""The studio: a tab for each kind that can be rendered here, and one to explore the emotions."""

import inspect
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import gradio as gr

from apps import explore, form, picker
from apps.rendering import PICTURE, Renderer, name, said, uploads
from apps.theme import LIGHT, theme
from gen import registry
from gen.emotion import own
from gen.emotion.describe import describe as told
from gen.errors import InputError
from gen.jobs.schema import Task, parse_task
from gen.media import MIDI, PLAYED, SOUND

log = logging.getLogger(__name__)

MOTTO = "One emotion, three arts. What you make here says, in the file, that a machine made it."
LARGEST = "200mb"
QUEUE = 20  # waiting renderings; more are turned away
HEARD = {"audio", "source", "speech"}  # fields whose recording is as long as the timeline
ASSETS = Path(__file__).parent / "assets"
DEVICE = {"concurrency_id": "device", "concurrency_limit": 1}  # one rendering at a time, whatever its tab


class Layout(NamedTuple):
    """How a known kind is shown; any other kind gets the plain one."""

    title: str
    first: tuple[str, ...] = ()  # the fields that stand at the top
    start: str = "happy"
    unit: str = "seconds"
    span: str | float = 10.0  # how long the timeline is, or the field that says so
    examples: tuple[tuple[str, dict], ...] = ()  # an emotion, and some fields
    begin: tuple[tuple[str, object], ...] = ()  # fields that start elsewhere than at their default


EXAMPLES = Path(__file__).parent.parent / "examples"  # of the checkout; an installed wheel has none
FACE, LINE = {"portrait": "grace_hopper.jpg", "size": 384}, {"audio": "line.opus"}

LAYOUTS = {
    "scene": Layout(
        "Scene",
        ("portrait", "audio", "text"),
        span=6.0,
        examples=(
            ("happy @ 1.2", FACE | LINE),
            ("0: sad, 2: happy @ 1.3", FACE | LINE),
            ("wistful", FACE | LINE | {"text": "The line that is said.", "captions": True}),
        ),
        begin=(("size", 384),),
    ),
    "talk": Layout(
        "Portrait",
        ("portrait", "audio"),
        span=6.0,
        examples=(("happy @ 1.3", FACE | LINE), ("0: surprise, 1.5: anger", FACE | LINE)),
        begin=(("size", 384),),
    ),
    "voice": Layout(
        "Voice",
        ("source",),
        span=6.0,
        examples=(("angry @ 1.4", {"source": "line.opus"}), ("sad", {"source": "line.opus"})),
    ),
    "music": Layout(
        "Music",
        ("bars", "seed"),
        unit="bars",
        span="bars",
        examples=(
            ("happy @ 1.2", {"bars": 8, "seed": 1}),
            ("angry", {"bars": 8, "seed": 3}),
            ("wistful", {"bars": 8, "seed": 7}),
            ("bar 0: sad, bar 8: happy @ 1.3", {"bars": 12, "seed": 2}),
        ),
        begin=(("bars", 8),),
    ),
}


def kinds() -> list[str]:
    """The kinds that can be rendered here, those of a known layout first."""
    there = set(registry.names("task")) & set(registry.names("generator"))
    return [kind for kind in LAYOUTS if kind in there] + sorted(there - LAYOUTS.keys())


def build(renderer: Renderer) -> gr.Blocks:
    """The whole page."""
    own.load()
    with gr.Blocks(title="Affekt", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.HTML(f"<header><h1>Affekt</h1><p>{MOTTO}</p></header>")
        gr.api(renderer.stop, api_name="stop", api_description="Stop what this session renders.", queue=False)
        tabs = []
        for kind in kinds():
            layout = LAYOUTS.get(kind, Layout(kind.capitalize()))
            with gr.Tab(layout.title, id=kind):
                tabs.append(Tab(kind, layout, renderer))
        with gr.Tab("Explore", id="explore") as last:
            explore.build(renderer, {tab.kind: tab for tab in tabs}, last.select)
        gr.api(describe, api_name="describe", api_description="What an emotion, a mix, a point or a curve means.")
    return page.queue(max_size=QUEUE, default_concurrency_limit=4)


def describe(emotion: str) -> str:
    """What an emotion, a mix, a point or a curve means, as JSON: its mix, its point, and how each generator reads it.

    Args:
        emotion: such as "happy 0.7 + surprise 0.3 @ 1.2", "v=0.6 a=-0.3" or "0: sad, 8: happy"
    """
    with said():
        return json.dumps(told(picker.parse(emotion)))


class Tab:
    """The tab of one kind: its picker, its form, its result."""

    def __init__(self, kind: str, layout: Layout, renderer: Renderer):
        self.kind, self.layout, self.renderer = kind, layout, renderer
        self.form = form.Form(kind, layout.first)
        with gr.Row(equal_height=False):
            with gr.Column(scale=7, min_width=420):
                gr.Markdown(" ".join((inspect.getdoc(self.form.cls) or "").split("\n\n")[0].split()))
                self._inputs()
            with gr.Column(scale=5, min_width=360, elem_classes="stage"):
                self._outputs()
        self._events()

    def _inputs(self) -> None:
        unit, span = self.layout.unit, self.layout.span
        begin = dict(self.layout.begin)
        if isinstance(span, str):
            span = float(begin.get(span) or form.default(self.form.cls.model_fields[span]))
        self.examples = self._examples()
        with gr.Row():
            self.fields = self.form.build(self.form.first, begin)
        self.picker, self.show = picker.build(self.kind, self.layout.start, unit, span)
        with gr.Accordion("More", open=False):
            self.fields = [*self.fields, *self.form.build(self.form.rest, begin)]
        self.inputs = [self.picker.text, *self.fields]

    def _outputs(self) -> None:
        with gr.Row():
            self.go = gr.Button("Render", variant="primary", scale=4, elem_id=f"{self.kind}-render")
            self.halt = gr.Button("Stop", variant="stop", scale=1, min_width=80, elem_id=f"{self.kind}-stop")
        self.summary = gr.Textbox(label="Result", interactive=False, lines=2, elem_id=f"{self.kind}-result",
                                  placeholder="It will play here.")  # fmt: skip
        self.video = gr.Video(label="Film", visible=False, interactive=False)
        self.sound = gr.Audio(label="Sound", visible=False, interactive=False)
        self.picture = gr.Image(label="Picture", visible=False, interactive=False)
        self.files = gr.Files(label="Files to download", interactive=False, visible=False)
        with gr.Accordion("How it was made", open=False):
            self.manifest = gr.JSON(label="Manifest, which is also in each file")
        with gr.Accordion("As a YAML job", open=False):
            with gr.Row():
                self.save = gr.Button("Save as YAML job")
                self.load = gr.UploadButton("Load job", file_types=[".yaml", ".yml"])
            self.job = gr.Code(label="affekt render FILE.yaml", language="yaml", interactive=False)
            self.job_file = gr.File(label="Job file", interactive=False, visible=False)
        self.outputs = [self.summary, self.video, self.sound, self.picture, self.files, self.manifest]
        with gr.Row(visible=False):  # what programs call, with plain values: what is shown above also comes and goes
            self.asked, self.asked_job = gr.Button(), gr.Button()
            self.plain = [gr.Textbox(label="summary"), gr.Video(label="film"), gr.Audio(label="sound"),
                          gr.Image(label="picture"), gr.Files(label="files"), gr.JSON(label="manifest")]
            self.plain_job = [gr.Textbox(label="job"), gr.File(label="file")]  # fmt: skip

    def _events(self) -> None:
        title = self.form.kind
        does = f"Render a {title} task; gives a summary, a film, a sound, a picture, all files and the manifest."
        call = self._callable(self._render, title, does, progress=True)
        shown = {"api_name": f"{title}_shown", "api_visibility": "private", "show_progress_on": self.summary}
        self.go.click(call, self.inputs, self.outputs, **shown, **DEVICE)
        call = self._callable(self._made, title, does, progress=True)
        self.asked.click(call, self.inputs, self.plain, api_name=title, **DEVICE)
        self.halt.click(self.renderer.stop, None, self.summary, queue=False, api_visibility="private")
        does = f"A {title} task as a YAML job file."
        save = self._callable(self._save, f"{title}_job", does)
        shown = {"api_name": f"{title}_job_shown", "api_visibility": "private"}
        self.save.click(save, self.inputs, [self.job, self.job_file], queue=False, **shown)
        save = self._callable(self._saved, f"{title}_job", does)
        self.asked_job.click(save, self.inputs, self.plain_job, api_name=f"{title}_job", queue=False)
        loaded = [*self.picker, *self.fields, self.summary]
        self.load.upload(self._load, self.load, loaded, api_visibility="private", queue=False)
        fields = dict(zip((place.name for place in self.form.places), self.fields, strict=True))
        quiet = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
        if isinstance(self.layout.span, str):
            slider = fields[self.layout.span]
            slider.release(picker.guarded(self._spanned), [self.picker.plane, slider], list(self.picker), **quiet)
        for heard in sorted(HEARD & fields.keys()):
            spoken = [self.picker.plane, fields[heard]]
            fields[heard].change(picker.guarded(self._as_long_as), spoken, list(self.picker), **quiet)
        for button, given in self.examples:
            button.click(lambda given=given: self._filled(given), None, loaded, queue=False, api_visibility="private")

    def _examples(self) -> list[tuple[gr.Button, dict]]:
        """Buttons that fill the form; nothing is rendered or fetched for them."""
        made = []
        with gr.Row(elem_classes="examples"):
            for emotion, given in self.layout.examples:
                paths = {name: EXAMPLES / value for name, value in given.items() if name in self.form.files}
                if all(path.is_file() for path in paths.values()):
                    button = gr.Button(f"Try: {emotion}", size="sm", min_width=90)
                    made.append((button, {"emotion": emotion, **given, **paths}))
        return made

    def _filled(self, fields: dict | Task, note: str = "") -> tuple:
        """Values for the picker and the form of a task with these fields."""
        own: list[Path] = []
        task = fields
        if isinstance(fields, dict):
            copies = {name: served(value) for name, value in fields.items() if isinstance(value, Path)}
            task, own = parse_task({"kind": self.kind, **fields, **copies}), [*copies.values()]
        curve = task.emotion if task.emotion is not None else picker.parse(self.layout.start)
        span = float(getattr(task, self.layout.span)) if isinstance(self.layout.span, str) else self.layout.span
        return (*self.show(curve, 0, span), *self.form.values(task, own), note)

    def _spanned(self, plane: dict, span: float) -> tuple:
        return self.show(picker.keyframes(plane, self.layout.unit), plane.get("selected") or 0, float(span))

    def _as_long_as(self, plane: dict, sound: str | None) -> tuple:
        """The timeline becomes as long as a recording, where that can be told without decoding it."""
        import soundfile

        try:
            seconds = soundfile.info(sound).duration if sound else 0.0
        except soundfile.LibsndfileError:
            seconds = 0.0
        return self._spanned(plane, seconds) if seconds else (gr.skip(),) * len(self.picker)

    def _made(self, emotion: str, *values, request: gr.Request, progress: gr.Progress) -> tuple:
        """Summary, film, sound, picture, files and manifest of what the form asks for."""
        with said():
            task = self.form.task(emotion, values)
            made = self.renderer.render(task, request.session_hash, lambda done, text: progress(done, desc=text))
        video, sound = made.first(PLAYED), None if made.first(PLAYED) else made.first(SOUND)
        picture = made.first(PICTURE) or drawn(made.first(MIDI))
        return made.summary, video, sound, picture, [str(path) for path in made.files], made.manifest

    def _render(self, *given, **how) -> tuple:
        """The same, and what there is none of is hidden."""
        summary, video, sound, picture, files, manifest = self._made(*given, **how)
        return (
            summary, gr.Video(video, visible=video is not None), gr.Audio(sound, visible=sound is not None),
            gr.Image(picture, visible=picture is not None), gr.Files(files, visible=True), manifest,
        )  # fmt: skip

    def _saved(self, emotion: str, *values, request: gr.Request) -> tuple[str, str]:
        with said():
            task = self.form.task(emotion, values)
            text = form.to_yaml(task, self.kind)
            path = Path(tempfile.mkdtemp(dir=results())) / f"{name(task)}.yaml"
            path.write_text(text, encoding="utf-8")
            return text, str(path)

    def _save(self, *given, **how) -> tuple:
        text, path = self._saved(*given, **how)
        return text, gr.File(path, visible=True)

    def _load(self, path: str) -> tuple:
        with said():
            task, note = form.from_yaml(path, self.kind)
            return self._filled(task, note)

    def _callable(self, call: Callable, name: str, doc: str, progress: bool = False) -> Callable:
        """``call`` under a name and with a parameter for each field, as the API and MCP show it."""
        plain, places = inspect.Parameter.POSITIONAL_OR_KEYWORD, self.form.places
        last = max((i for i, place in enumerate(places) if place.field.is_required()), default=-1)
        spare = [inspect.Parameter.empty] * (last + 1) + [None] * (len(places) - last - 1)  # MCP demands what has none
        parameters = [inspect.Parameter("emotion", plain)]
        parameters += [inspect.Parameter(p.name, plain, default=d) for p, d in zip(places, spare, strict=True)]
        parameters.append(inspect.Parameter("request", plain, default=None, annotation=gr.Request))
        if progress:
            parameters.append(inspect.Parameter("progress", plain, default=gr.Progress()))

        def named(*values: Any):
            given = {"progress": values[-1]} if progress else {}
            values = values[:-1] if progress else values
            return call(*values[:-1], request=values[-1], **given)

        named.__name__ = name
        named.__signature__ = inspect.Signature(parameters)
        named.__annotations__ = {"request": gr.Request}
        rows = [f"    {place.name}: {place.info}" for place in self.form.places]
        named.__doc__ = "\n".join([doc, "", "Args:", "    emotion: a word, a mix, a point or a curve", *rows])
        return named


def results() -> Path:
    """Where the studio keeps what it serves."""
    folder = uploads() / "results"
    folder.mkdir(exist_ok=True)
    return folder


def served(example: Path) -> Path:
    """A copy of an example where the studio serves files from."""
    copy = results() / "examples" / example.name
    if not copy.is_file():
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(example, copy)
    return copy


def drawn(score: str | None) -> str | None:
    """The piano roll of a score, beside it."""
    if score is None:
        return None
    from gen.media import read_midi
    from music.roll import draw

    path = Path(score).with_suffix(".png")
    draw(read_midi(score), path)
    return str(path)


def launch(
    folder: Path | None = None, *, port: int | None = None, lan: bool = False, mcp: bool = False,
    browser: bool = False, device: str = "auto", wait: bool = True, largest: str = LARGEST,
    files: Sequence[Path] = (),
) -> tuple[gr.Blocks, str]:  # fmt: skip
    """Serve the studio; on this machine alone unless ``lan``. Files live in ``folder``, and none from elsewhere; only
    assistants (``mcp``) may also name those below ``files``."""
    folder = folder or Path(tempfile.mkdtemp(prefix="affekt-studio-"))
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    renderer = Renderer(device)
    page = build(renderer)
    if lan:
        log.warning("everyone in this network can use the studio: there is no password")
    try:
        _, url, _ = page.launch(
            server_name="0.0.0.0" if lan else "127.0.0.1", server_port=port, share=False, inbrowser=browser,
            max_file_size=largest, allowed_paths=[], enable_monitoring=False, mcp_server=mcp, ssr_mode=False,
            show_error=True, quiet=True, prevent_thread_lock=True, footer_links=["api"], theme=theme(), js=LIGHT,
            css=(ASSETS / "studio.css").read_text(encoding="utf-8"),
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"Port {port} is in use: give another one with --port.") from error
    if mcp:  # Gradio's own tools give Python's view of what a page shows; these give files
        from apps.tools import server

        page.mcp_server_obj.manager.app = server(renderer, kinds(), files)
    log.info("the studio is at %s (stop it with Ctrl-C)", url)
    if wait:
        Thread(target=warm_up, daemon=True).start()
        page.block_thread()
    return page, url


def warm_up() -> None:
    """Import what every rendering needs, while someone looks at the page."""
    import_module("gen.network")
