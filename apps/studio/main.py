"""The studio: one emotion, a tab for each kind that it goes into, one place for results, and a tab for researchers."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import gradio as gr
from starlette.middleware import Middleware

from apps.studio import emotion, form, intake, research, stage
from apps.studio.emotion import parse
from apps.studio.files import end_in_order, temporary, uploaded
from apps.studio.preview import Preview
from apps.studio.security import Guard
from apps.studio.stage import Results, progress
from apps.studio.tabs import LAYOUTS, Tab, saved
from apps.studio.theme import theme
from apps.studio.words import MOTTO
from apps.studio.work import Job, Renderer, said
from gen import registry
from gen.emotion import own
from gen.emotion.describe import describe as told
from gen.errors import AffektError, InputError

log = logging.getLogger(__name__)

LARGEST = "200mb"
QUEUE = 20  # waiting renderings; more are turned away
ASSETS = Path(__file__).parent / "assets"
QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
HEARD = {"show_progress": "hidden", "api_visibility": "private"}  # in the queue, whose mistakes become toasts


def kinds() -> list[str]:
    """The kinds that can be rendered here, those of a known layout first."""
    there = set(registry.names("task")) & set(registry.names("generator"))
    return [kind for kind in LAYOUTS if kind in there] + sorted(there - LAYOUTS.keys())


def describe(emotion: str) -> str:
    """Describes an emotion, a mix, a point or a curve as JSON: its mix, its point, and its reading by each generator.

    Args:
        emotion: such as "happy 0.7 + surprise 0.3 @ 1.2", "v=0.6 a=-0.3" or "0: sad, 8: happy"
    """
    with said():
        return json.dumps(told(parse(emotion)))


class Page:
    """The whole page: what the tabs have in common, the tabs, and the stage."""

    def __init__(self, renderer: Renderer, results: Results):
        own.load()
        self.renderer, self.results, self.preview = renderer, results, Preview(renderer)
        with gr.Blocks(title="Affekt", analytics_enabled=False, delete_cache=(3600, 86400)) as self.blocks:
            self.me = gr.BrowserState("", storage_key="affekt-me", secret="affekt")
            self.kept = gr.BrowserState(None, storage_key="affekt-form-1", secret="affekt")
            gr.HTML(f"<header><h1>Affekt</h1><p>{MOTTO}</p></header>")
            with gr.Row(elem_classes="desk", equal_height=False):
                with gr.Column(elem_classes="make", min_width=0):
                    self._inputs()
                with gr.Column(elem_classes="out", min_width=0):
                    self._outputs()
            self._events()
            for tab in self.tabs.values():
                tab.api(renderer)
            research.api(renderer, self.tabs)
            gr.api(renderer.stop, api_name="stop", api_description="Stop what this session renders.", queue=False)
            gr.api(describe, api_name="describe", api_description="What an emotion, a mix, a point or a curve means.")
        self.blocks.queue(max_size=QUEUE, default_concurrency_limit=20)

    def _inputs(self) -> None:
        places = {place.name: place for place in form.Form("scene").places}
        self.portrait = intake.control(places["portrait"], "portrait", ["only", "for-scene", "for-talk"], render=False)
        spoken = ["only", "for-scene", "for-talk", "for-voice"]
        self.recording = intake.control(places["audio"], "recording", spoken, render=False)
        self.panel = emotion.panel("happy")
        shared = {"portrait": self.portrait, "recording": self.recording}
        self.tabs = {kind: Tab(kind, shared, self.panel) for kind in kinds()}
        self.buttons = {}
        with gr.Tabs() as self.bar:
            for tab in [tab for kind, tab in self.tabs.items() if kind in LAYOUTS]:
                self._tab(tab)
            with gr.Tab("Research", id="research") as self.buttons["research"]:
                gr.Markdown("Where an emotion lies, how it is read, and how checkpoints and intensities differ.")
            for tab in [tab for kind, tab in self.tabs.items() if kind not in LAYOUTS]:
                self._tab(tab)
        with gr.Row(elem_classes=[*spoken, "files"]):
            self.portrait.render()
            self.recording.render()
        self.panel.render()
        for tab in self.tabs.values():
            tab.rows()
        research.Research(self.renderer, self.tabs, self.all, self.me)

    def _tab(self, tab: Tab) -> None:
        with gr.Tab(tab.title, id=tab.kind) as self.buttons[tab.kind]:
            tab.top()

    def _outputs(self) -> None:
        with gr.Row(elem_classes="bar"):
            self.go = {
                kind: gr.Button(
                    "Render",
                    variant="primary",
                    elem_id=f"{kind}-render",
                    min_width=0,
                    elem_classes=["only", f"for-{kind}"],
                )
                for kind in self.tabs
            }
            self.halt = gr.Button("Stop", elem_id="stop", interactive=False, min_width=0, scale=0)
        self.told = gr.HTML("", elem_id="told", apply_default_css=False)
        self.glance = gr.HTML("", elem_id="preview", apply_default_css=False)
        self.stage = stage.component()
        with gr.Accordion("Settings as a file", open=False):
            with gr.Row():
                self.save = {
                    kind: gr.Button("Save as YAML job", elem_classes=["only", f"for-{kind}"], min_width=0)
                    for kind in self.tabs
                }
                self.load = {
                    kind: gr.UploadButton(
                        "Load job", file_types=[".yaml", ".yml"], min_width=0, elem_classes=["only", f"for-{kind}"]
                    )
                    for kind in self.tabs
                }
            self.job = gr.Code(label="affekt render FILE.yaml", language="yaml", interactive=False, visible=False)
            self.job_file = gr.File(label="Job file", interactive=False, visible=False)

    # ------------------------------------------------------------ events

    @property
    def all(self) -> list[gr.components.Component]:
        """Every input of the page, once."""
        return list(dict.fromkeys(part for tab in self.tabs.values() for part in tab.inputs))

    @property
    def answers(self) -> list[gr.components.Component]:
        return [self.told, self.halt, *self.go.values(), self.stage]

    def _events(self) -> None:
        rendering = {
            "outputs": self.answers,
            "api_visibility": "private",
            "show_progress": "hidden",
            "concurrency_limit": None,
        }
        for kind, tab in self.tabs.items():
            self.go[kind].click(partial(self._render, tab), [self.me, *tab.inputs], **rendering)
            self.save[kind].click(partial(self._save, tab), tab.inputs, [self.job, self.job_file], **HEARD)
            self.load[kind].upload(partial(self._load, tab), self.load[kind], [*tab.inputs, self.told], **HEARD)
            if tab.cards:
                tab.cards.picked(self._picker(tab), self.me, [*tab.inputs, self.stage, self.told], **HEARD)
        scene = self.tabs["scene"]
        seeds = [scene.fields[f"{part}_seed"] for part in ("voice", "face", "music")]
        self.stage.another(self._another, seeds, seeds, **QUIET).then(
            partial(self._render, scene), [self.me, *scene.inputs], **rendering
        )
        kept = [scene.fields["voice"], scene.fields["music"]]
        self.stage.keep(self._keep, self.stage, [*kept, self.told], **HEARD)
        self.stage.reuse(self._reuse, self.me, [*self.all, self.bar], **HEARD)
        self.halt.click(self._stop, self.me, [self.told, self.halt], **QUIET)
        self.panel.released(
            self.preview.shown,
            [self.panel, self.portrait, self.recording],
            self.glance,
            trigger_mode="always_last",
            concurrency_limit=1,
            api_visibility="private",
            show_progress="hidden",
        )
        for part in (self.portrait, self.recording):
            part.settled(self.preview.warm, None, None, **QUIET)
        bars = self.tabs["music"].fields["bars"]
        bars.change(None, bars, None, js="(bars) => { window.affektSpan('bars', bars); }")
        self._remember()

    def _remember(self) -> None:
        """Stores the form's values in the browser, and restores them with their results when the page is reloaded."""
        keep = "(...values) => [{ kind: document.body.dataset.kind, values }]"
        gr.on([part.change for part in self.all], None, self.all, self.kept, js=keep)
        for kind, button in self.buttons.items():
            chosen = f"(...values) => {{ window.affekt('{kind}'); return [{{ kind: '{kind}', values }}]; }}"
            button.select(None, self.all, self.kept, js=chosen)
        restored = [self.me, self.bar, self.stage, *self.all]
        found = self.blocks.load(self._restore, [self.me, self.kept], restored, **QUIET)
        found.then(None, self.kept, None, js="(kept) => { if (kept && kept.kind) window.affekt(kept.kind); }")
        found.then(
            self._attach,
            self.me,
            self.answers,
            api_visibility="private",
            show_progress="hidden",
            concurrency_limit=None,
        )

    def _restore(self, me: str, kept: Any) -> tuple:
        me = me or uuid4().hex
        shown = self.results.shown(me)
        if not isinstance(kept, dict) or len(kept.get("values") or ()) != len(self.all):
            return me, gr.skip(), shown, *(gr.skip() for _ in self.all)
        values = [again(part, value) for part, value in zip(self.all, kept["values"])]
        kind = kept.get("kind")
        return me, gr.Tabs(selected=kind) if kind in self.buttons else gr.skip(), shown, *values

    def _render(self, tab: Tab, me: str, felt: Any, *values) -> Iterator[tuple]:
        with said():
            task = tab.task(felt, values)
        given = {"kind": tab.kind, "values": [felt, *values]}
        before = str(task.source) if tab.kind == "voice" else None
        done = lambda made: self.results.add(me, task, made, given, before)
        yield from self._followed(self.renderer.begin(task, me, self.results.folder, done), me)

    def _attach(self, me: str) -> Iterator[tuple]:
        """A rendering that a page which was loaded again had asked for."""
        job = self.renderer.jobs.get(me)
        yield (gr.skip(),) * len(self.answers)
        if job and not job.ended:
            yield from self._followed(job, me)

    def _followed(self, job: Job, me: str) -> Iterator[tuple]:
        busy = [gr.Button("Rendering ...", interactive=False)] * len(self.go)
        for share, text in job.follow():
            yield progress(share, text), gr.Button(interactive=True), *busy, gr.skip()
        idle = [gr.Button("Render", interactive=True)] * len(self.go)
        shown = gr.skip() if job.error else self.results.shown(me)
        yield progress(None, job.error), gr.Button(interactive=False), *idle, shown

    def _stop(self, me: str) -> tuple:
        self.renderer.halt(me)
        return progress(0.0, "Stopping ..."), gr.Button(interactive=False)

    def _save(self, tab: Tab, felt: Any, *values) -> tuple:
        with said():
            text, path = saved(tab.task(felt, values))
        return gr.Code(text, visible=True), gr.File(path, visible=True)

    def _load(self, tab: Tab, path: str) -> tuple:
        with said():
            task, note = form.from_yaml(path, tab.kind)
            return *tab.filled(task), progress(None, note)

    def _picker(self, tab: Tab) -> Callable:
        def picked(me: str, event: gr.EventData) -> tuple:
            """An example goes into the form, and its ready result onto the stage."""
            with said():
                values, ready = tab.example(event.number)
            return *values, self.results.shown(me, ready) if ready else gr.skip(), ""

        return picked

    def _another(self, voice: int | None, face: int | None, piano: int | None, event: gr.EventData) -> tuple:
        """The seeds of a scene's parts, that of one part raised."""
        seeds = {"voice": voice, "face": face, "piano": piano}
        return tuple((seed or 0) + 1 if part == event.part else seed for part, seed in seeds.items())

    def _keep(self, shown: dict, event: gr.EventData) -> tuple:
        """A part of a scene goes into the form, and stays whatever else changes."""
        one = next(entry for entry in [shown["ready"], *shown["results"]] if entry and entry["id"] == event.id)
        with said():
            path = self.results.kept(one, event.part)
        held = intake.value(path, "voice" if event.part == "voice" else "music")
        note = progress(None, f"The {event.part} is kept: find it under More options, and remove it there.")
        return held if event.part == "voice" else gr.skip(), held if event.part == "piano" else gr.skip(), note

    def _reuse(self, me: str, event: gr.EventData) -> tuple:
        """The form's values of a result."""
        entry = next(entry for entry in self.results.entries(me) if entry["id"] == event.id)
        tab = self.tabs[entry["given"]["kind"]]
        given = {part: again(part, value) for part, value in zip(tab.inputs, entry["given"]["values"])}
        return *(given.get(part, gr.skip()) for part in self.all), gr.Tabs(selected=tab.kind)


def again(part: gr.components.Component, value: Any) -> Any:
    """A value that a browser kept, as far as it still means something: files of another sitting are gone."""
    if not isinstance(part, gr.HTML):
        return value
    if isinstance(value, dict) and "text" in value:
        found = emotion.read(value)
        return gr.skip() if found["wrong"] else found | {"selected": 0, "files": value.get("files") or {}}
    try:
        return value and {**value, "path": str(uploaded(value["path"]))}
    except (AffektError, KeyError, TypeError):
        return None


def launch(
    folder: Path | None = None,
    *,
    out: Path | None = None,
    port: int | None = None,
    lan: bool = False,
    mcp: bool = False,
    browser: bool = False,
    device: str = "auto",
    wait: bool = True,
    largest: str = LARGEST,
    files: Sequence[Path] = (),
) -> tuple[gr.Blocks, str]:
    """Serve the studio; on this machine alone unless ``lan``. Uploads live in ``folder``, by default one that ends with
    the studio; results are written into ``out`` (``out/studio``). Only assistants (``mcp``) may also name files below
    ``files``."""
    folder = folder or temporary()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    renderer, results = Renderer(device), Results(out or Path("out") / "studio")
    results.folder.mkdir(parents=True, exist_ok=True)
    page = Page(renderer, results).blocks
    if lan:
        log.warning("everyone in this network can use the studio: there is no password")
    if wait:
        end_in_order()
    try:
        _, url, _ = page.launch(
            server_name="0.0.0.0" if lan else "127.0.0.1",
            server_port=port,
            share=False,
            inbrowser=browser,
            max_file_size=largest,
            allowed_paths=[str(results.folder)],
            enable_monitoring=False,
            mcp_server=mcp,
            ssr_mode=False,
            show_error=True,
            quiet=True,
            prevent_thread_lock=True,
            footer_links=["api"],
            theme=theme(),
            js=(ASSETS / "studio.js").read_text("utf-8"),
            head=f"<style>{style()}</style>",
            app_kwargs={"middleware": [Middleware(Guard, lan=lan)]},
        )
    except OSError as error:
        raise InputError(f"Port {port} is in use: give another one with --port.") from error
    if mcp:  # Gradio's own tools give Python's view of what a page shows; these give files
        from apps.tools import server

        page.mcp_server_obj.manager.app = server(renderer, kinds(), files)
    log.info("the studio is at %s (stop it with Ctrl-C); results are kept in %s", url, out or "out/studio")
    if wait:
        Thread(target=warm_up, daemon=True).start()
        page.block_thread()
    return page, url


def style() -> str:
    """The style sheet; what belongs to a kind is shown in its tab alone."""
    shown = ", ".join(f"body[data-kind={kind}] .for-{kind}" for kind in (*kinds(), "research"))
    return f"{(ASSETS / 'studio.css').read_text('utf-8')}{shown} {{ display: flex !important; }}"


def warm_up() -> None:
    """Import what every rendering needs, while someone looks at the page."""
    import_module("gen.network")
