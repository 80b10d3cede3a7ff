"""A tab for each kind: its examples, its fields, what programs call, and the tasks that come of them."""

import base64
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from apps.studio import emotion, form, intake, stage, words
from apps.studio.files import fresh, served, uploaded
from apps.studio.work import PICTURE, name, said
from gen.jobs.schema import Task, parse_task
from gen.media import MIDI, PLAYED, SOUND

EXAMPLES = Path(__file__).parents[2] / "examples"  # of the checkout; an installed wheel has none
SHARED = {"portrait": "portrait", "audio": "recording", "source": "recording"}  # fields that tabs have in common
UNASKED = ("intensity", "emotion_from", "parts")  # the panel of the emotion says two, and the stage shows parts
EXPERT = {
    "model",
    "steps",
    "vram",
    "emotion_scale",
    "chooser",
    "vocoder",
    "candidates",
    "performer",
    "guidance",
    "temperature",
    "voice_model",
    "face_model",
    "music_model",
    "flame",
    "export",
    "codec",
    "voice_seed",
    "face_seed",
    "music_seed",
}
PLAIN = ["summary", "film", "sound", "picture", "files", "manifest"]


class Example(NamedTuple):
    """A card: an emotion, the fields that go with it, and the files of a ready result."""

    title: str
    emotion: str
    fields: dict
    ready: tuple[str, ...] = ()


class Layout(NamedTuple):
    """The layout of a known kind; other kinds use the default layout."""

    first: tuple[str, ...] = ()  # the fields that stand at the top
    start: str = "happy"
    examples: tuple[Example, ...] = ()
    begin: tuple[tuple[str, object], ...] = ()  # fields that start elsewhere than at their default


FACE, LINE = {"portrait": "grace_hopper.jpg", "size": 384}, {"audio": "line.opus"}
SOURCE = {"source": "line.opus"}
LAYOUTS = {
    "scene": Layout(
        ("portrait", "audio", "text"),
        examples=(
            Example("Sad, then happy", "0: sad, 1.8: happy @ 1.3", FACE | LINE, ("scene-sad-happy.webm",)),
            Example("Tender", "tender @ 1.2", FACE | LINE),
        ),
        begin=(("size", 384),),
    ),
    "talk": Layout(
        ("portrait", "audio"),
        examples=(
            Example("Happy", "happy @ 1.3", FACE | LINE, ("face-happy.webm",)),
            Example("Angry", "anger @ 1.3", FACE | LINE, ("face-angry.mp4",)),
        ),
        begin=(("size", 384),),
    ),
    "voice": Layout(
        ("source",),
        examples=(
            Example("Sad", "sad", SOURCE, ("voice-sad.mp3",)),
            Example("Afraid", "fear @ 1.2", SOURCE, ("voice-fear.mp3",)),
        ),
    ),
    "music": Layout(
        ("bars", "seed"),
        examples=(
            Example("Happy", "happy @ 1.2", {"bars": 4, "seed": 1}, ("piano-happy.opus", "piano-happy.mid")),
            Example("Wistful", "wistful", {"bars": 8, "seed": 7}),
        ),
        begin=(("bars", 8),),
    ),
}


class Tab:
    """The tab of one kind; ``shared`` are the controls that all tabs have in common."""

    def __init__(self, kind: str, shared: dict[str, gr.HTML], panel: gr.HTML):
        self.kind, self.layout = kind, LAYOUTS.get(kind, Layout())
        self.title = words.TITLES.get(kind, kind.capitalize())
        self.form = form.Form(kind, self.layout.first)
        self.shared, self.panel, self.begin = shared, panel, dict(self.layout.begin)
        self.fields: dict[str, gr.components.Component] = {
            place.name: shared[SHARED[place.name]] for place in self.form.places if place.name in SHARED
        }

    # ------------------------------------------------------------ what is shown

    def top(self) -> None:
        """The tab's introduction and examples."""
        does = (inspect.getdoc(self.form.cls) or "").split("\n\n")[0]
        gr.Markdown(words.LEADS.get(self.kind) or " ".join(does.split()))
        self.examples = [one for one in self.layout.examples if all(path.is_file() for path in example_files(one))]
        self.cards = cards(self.examples) if self.examples else None

    def rows(self) -> None:
        """Its fields, below what the tabs have in common: the first, more, and those for experts."""
        asked = [place for place in self.form.places if place.name not in (*self.fields, *UNASKED)]
        first = [place for place in asked if place in self.form.first]
        rest = [place for place in asked if place not in first]
        with gr.Column(elem_classes=["only", f"for-{self.kind}"]):
            with gr.Row():
                self._build(first)
            if more := [place for place in rest if place.name not in EXPERT]:
                with gr.Accordion("More options", open=False):
                    self._build(more)
            if expert := [place for place in rest if place.name in EXPERT]:
                with gr.Accordion("Expert", open=False):
                    self._build(expert)
        self._only_where_used()

    def _build(self, places: list[form.Place]) -> None:
        for place in places:
            if form.holds_file(place.field):
                made = intake.control(place, f"{self.kind}-{place.name}")
            elif place.name == "text" and find_spec("espeakng_loader") is None:
                made = gr.Textbox(label=place.label, interactive=False, info=words.NO_SPEECH, max_lines=1)
            else:
                made = form.component(place, self.begin.get(place.name), self.kind)
            self.fields[place.name] = made

    def _only_where_used(self) -> None:
        """Fields that the chosen model does not have are hidden."""
        if not (of_some := [name for name in self.fields if name in form.foreign(self.kind)]):
            return
        model, outputs = self.fields["model"], [self.fields[name] for name in of_some]
        for title, field in zip(of_some, outputs):
            field.visible = form.used(self.kind, title, model.value)
        update = lambda chosen: [gr.update(visible=form.used(self.kind, title, chosen)) for title in of_some]
        model.change(update, model, outputs, queue=False, show_progress="hidden", api_visibility="private")

    @property
    def asked(self) -> list[str]:
        """The names of the fields that are shown."""
        return [place.name for place in self.form.places if place.name in self.fields]

    @property
    def inputs(self) -> list[gr.components.Component]:
        return [self.panel, *(self.fields[name] for name in self.asked)]

    # ------------------------------------------------------------ tasks

    def task(self, felt: Any, values: tuple) -> Task:
        """The task that the page describes. Raises ``InputError``."""
        given = dict(zip(self.asked, values, strict=True))
        for place in self.form.places:
            if form.holds_file(place.field) and given.get(place.name):
                given[place.name] = str(self._file(place.name, given[place.name]))
        if given.get("voice") and "audio" in given:  # finished speech takes the recording's place
            given["audio"] = None
        default = {place.name: form.default(place.field) for place in self.form.places}
        given = {name: value for name, value in given.items() if form.used(self.kind, name, given.get("model") or "")}
        given |= {"parts": True} if "parts" in default else {}
        text = emotion.asked(felt) if self.felt else ""
        return self.form.task(text, [given.get(name, default[name]) for name in default])

    @property
    def felt(self) -> bool:
        """True if the kind has an emotion."""
        return "emotion" in self.form.cls.model_fields

    def _file(self, field: str, value: dict) -> Path:
        """The file that a control holds; of a film, where a photograph is wanted, its first frame."""
        still = field == "portrait" and self.kind != "scene" and value.get("still")
        return uploaded(still or value.get("path"))

    def filled(self, task: Task, own: Sequence[Path] = ()) -> list:
        """Values of the inputs for a task; files but the studio's ``own`` stay empty: they are not its to open."""
        curve = getattr(task, "emotion", None) or emotion.parse(self.layout.start)
        span = float(getattr(task, "bars", 0) or 6.0)
        felt = emotion.shown(form.spelled(curve), "bars" if self.kind == "music" else "seconds", span, self.kind)
        values = dict(zip((place.name for place in self.form.places), self.form.values(task, own), strict=True))
        for place in self.form.places:
            if form.holds_file(place.field) and values[place.name]:
                values[place.name] = intake.value(Path(values[place.name]), place.name)
        return [felt, *(values[name] for name in self.asked)]

    def example(self, number: int) -> tuple[list, dict | None]:
        """The inputs of an example, and its ready result for the stage."""
        one = self.examples[number]
        copies = {name: served(EXAMPLES / value) for name, value in one.fields.items() if name in self.form.files}
        task = parse_task({"kind": self.kind, "emotion": one.emotion, **one.fields, **copies})
        files = [EXAMPLES / "ready" / name for name in one.ready]
        before = EXAMPLES / one.fields["source"] if "source" in one.fields else None
        shown = stage.ready(self.kind, f"{self.title}: {one.emotion}", files, before) if files else None
        return self.filled(task, [*copies.values()]), shown

    # ------------------------------------------------------------ what programs call

    def api(self, renderer) -> None:
        """Functions with plain values, under the kind's name, and their hidden components."""
        with gr.Row(visible=False):
            self.plain = [gr.Textbox(label="emotion"), *self.form.build(self.form.places, self.begin)]
            asked, asked_job = gr.Button(), gr.Button()
            made = [
                gr.Textbox(label="summary"),
                gr.Video(label="film"),
                gr.Audio(label="sound"),
                gr.Image(label="picture"),
                gr.Files(label="files"),
                gr.JSON(label="manifest"),
            ]
            job = [gr.Textbox(label="job"), gr.File(label="file")]
        does = f"Render a {self.kind} task; gives a summary, a film, a sound, a picture, all files and the manifest."
        call = self.callable(partial(self._made, renderer), self.kind, does, progress=True)
        asked.click(call, self.plain, made, api_name=self.kind, concurrency_id="device", concurrency_limit=1)
        call = self.callable(self._saved, f"{self.kind}_job", f"A {self.kind} task as a YAML job file.")
        asked_job.click(call, self.plain, job, api_name=f"{self.kind}_job")

    def _made(self, renderer, felt: str, *values, request: gr.Request, progress: gr.Progress) -> tuple:
        with said():
            task = self.form.task(felt, values)
            made = renderer.render(task, request.session_hash, lambda done, text: progress(done, desc=text))
        video = made.first(PLAYED)
        sound, picture = None if video else made.first(SOUND), made.first(PICTURE) or drawn(made.first(MIDI))
        summary = f"{made.summary}\n{made.details}"
        return summary, video, sound, picture, [str(path) for path in made.files], made.manifest

    def _saved(self, felt: str, *values, request: gr.Request) -> tuple[str, str]:
        with said():
            return saved(self.form.task(felt, values))

    def callable(self, call: Callable, title: str, doc: str, progress: bool = False) -> Callable:
        """``call`` under a name and with a parameter for each field, as the API shows it."""
        plain, places = inspect.Parameter.POSITIONAL_OR_KEYWORD, self.form.places
        last = max((i for i, place in enumerate(places) if place.field.is_required()), default=-1)
        spare = [inspect.Parameter.empty] * (last + 1) + [None] * (len(places) - last - 1)
        parameters = [inspect.Parameter("emotion", plain)]
        parameters += [inspect.Parameter(p.name, plain, default=d) for p, d in zip(places, spare, strict=True)]
        parameters.append(inspect.Parameter("request", plain, default=None, annotation=gr.Request))
        if progress:
            parameters.append(inspect.Parameter("progress", plain, default=gr.Progress()))

        def named(*values: Any):
            given = {"progress": values[-1]} if progress else {}
            values = values[:-1] if progress else values
            return call(*values[:-1], request=values[-1], **given)

        named.__name__ = title
        named.__signature__ = inspect.Signature(parameters)
        named.__annotations__ = {"request": gr.Request}
        rows = [f"    {place.name}: {place.info}" for place in places]
        named.__doc__ = "\n".join([doc, "", "Args:", "    emotion: a word, a mix, a point or a curve", *rows])
        return named


def cards(examples: list[Example]) -> gr.HTML:
    """Buttons that fill the form and show a ready result; they trigger ``picked``."""
    shown = []
    for place, one in enumerate(examples):
        picture = EXAMPLES / "ready" / f"{one.ready[0].rsplit('.', 1)[0]}.webp" if one.ready else None
        image = f'<img src="{picture_data(picture)}" alt="">' if picture and picture.is_file() else ""
        shown.append(f'<button type="button" data-card="{place}">{image}<span>{one.title}</span></button>')
    return gr.HTML(
        f'<div class="cards" role="group" aria-label="Examples">{"".join(shown)}</div>',
        apply_default_css=False,
        js_on_load="""element.addEventListener("click", (event) => {
            const card = event.target.closest("[data-card]");
            if (card) trigger("picked", { number: Number(card.dataset.card) });
        });""",
    )


def picture_data(path: Path) -> str:
    return f"data:image/webp;base64,{base64.b64encode(path.read_bytes()).decode()}"


def example_files(one: Example) -> list[Path]:
    """The files of the checkout that an example needs."""
    names = [value for field, value in one.fields.items() if field in SHARED]
    return [*(EXAMPLES / name for name in names), *(EXAMPLES / "ready" / name for name in one.ready)]


def saved(task: Task) -> tuple[str, str]:
    """A task as the text of a job file, and that file."""
    text = form.to_yaml(task, task.kind)
    path = fresh(f"{name(task)}.yaml")
    path.write_text(text, encoding="utf-8")
    return text, str(path)


def drawn(score: str | None) -> str | None:
    """The piano roll of a score, beside it."""
    if score is None:
        return None
    from gen.media import read_midi
    from music.roll import draw

    path = Path(score).with_suffix(".png")
    draw(read_midi(score), path)
    return str(path)
