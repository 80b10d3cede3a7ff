"""The form of a job kind: a component for each field of its task class, and back from their values to a task."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import gradio as gr
import yaml
from pydantic.fields import FieldInfo

from apps.studio import words
from apps.studio.files import uploads
from gen import checkpoints, registry
from gen.emotion.spec import EmotionCurve
from gen.errors import AffektError, InputError
from gen.jobs.inputs import PICTURES, SOUNDS, extensions
from gen.jobs.jobfile import JobFile
from gen.jobs.schema import Task, choices, curves, field_names, parse_task, task_class, with_paths

LONGEST = 1000  # signs of an emotion
FILMS = (".mp4", ".mov", ".webm", ".mkv")
PERSONAL = ("consent", "label")  # of use where a real person's face or voice goes in
PARTS = {"voice_model": "voice", "face_model": "talk", "music_model": "music"}  # fields of a kind made of others


class Place(NamedTuple):
    """The position and the label of a field in the form."""

    name: str
    alias: str
    label: str
    info: str
    field: FieldInfo


@cache
def foreign(kind: str) -> dict[str, set[str]]:
    """Field -> the classes of models that have it, for the fields of a kind that not every model has."""
    if kind == "talk":
        from talking_head.supported import FOREIGN as found

        return {name: classes for name, (_, classes) in found.items()}
    return {"steps": {"DiffVC"}} if kind == "voice" else {}


def used(kind: str, field: str, model: str) -> bool:
    """True if a model has a field."""
    classes = foreign(kind).get(field)
    if classes is None:
        return True
    name = {"emote": "emote-compact", "dice": "dice-compact", "dice-video": "dice-talk"}.get(model, model)
    try:
        config = json.loads((checkpoints.folder(name) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, AffektError):  # voice-compact needs none
        return False
    return config.get("_class_name") in classes


def models(kind: str, usual: str) -> list[str]:
    """The checkpoints that are here and that a kind can be rendered with, the usual one first: those that its generator
    names, and those that have the same networks as one of these, such as the user's weights in the cache."""
    known = [usual, *getattr(registry.get("generator", kind), "models", ())]
    there = {path.name: path for root in reversed(checkpoints.roots()) for path in root.glob("*") if path.is_dir()}
    shapes = [_networks(there[name]) for name in known if name in there]
    alike = sorted(name for name, path in there.items() if _networks(path) in shapes)
    return list(dict.fromkeys([usual, *(name for name in known if name in there), *alike]))


def _networks(place: Path) -> dict[str, str]:
    """The network of each part of a checkpoint, or the names of its files where none names its network."""
    found = {}
    for path in sorted(place.rglob("config.json")):
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:  # a damaged one, which the load of it tells
            config = None
        found[path.relative_to(place).as_posix()] = config.get("_class_name", "") if isinstance(config, dict) else ""
    return found or dict.fromkeys(checkpoints.files(place), "")


class Form:
    """The fields of a kind, the emotion left out: that one has a picker of its own."""

    def __init__(self, kind: str, first: Sequence[str] = ()):
        self.kind, self.cls = kind, task_class(kind)
        fields = [self._place(name) for name in self.cls.model_fields if name not in ("kind", "emotion")]
        self.personal = any(extensions(p.name) in (PICTURES, SOUNDS) for p in fields if holds_file(p.field))
        fields = [p for p in fields if p.name not in PERSONAL or self.personal]
        chosen = [p for p in fields if p.name in first or p.field.is_required()]
        self.first = sorted(chosen, key=lambda p: first.index(p.name) if p.name in first else -1)
        self.rest = [p for p in fields if p not in self.first]

    @property
    def files(self) -> set[str]:
        """The fields that hold a file."""
        return {p.name for p in self.places if holds_file(p.field)}

    @property
    def places(self) -> list[Place]:
        return [*self.first, *self.rest]

    def _place(self, name: str) -> Place:
        field = self.cls.model_fields[name]
        plain = (field.alias or name).replace("_", " ").capitalize(), field.description or ""
        label, info = words.FIELDS.get(name, plain)
        return Place(name, field.alias or name, label, info, field)

    def build(self, places: Sequence[Place], begin: dict) -> list[gr.components.Component]:
        """Components for some of the places, in the order given; ``begin`` has values other than the defaults."""
        return [component(place, begin.get(place.name), self.kind) for place in places]

    def task(self, emotion: str, values: Sequence[Any]) -> Task:
        """The task that the form describes; a field left as it was is left out. Raises ``InputError``."""
        found: dict[str, Any] = {"kind": self.kind}
        if short(emotion).strip() and "emotion" in self.cls.model_fields:
            found["emotion"] = emotion
        for place, value in zip(self.places, values, strict=True):
            if value not in (None, "", []) and value != default(place.field):
                found[place.alias] = value
        self.require(found)
        task = parse_task(found)
        curves(task, openable)
        return task

    def require(self, found: dict[str, Any]) -> None:
        """Raises ``InputError`` that names all required fields which are empty."""
        empty = [place.label for place in self.places if place.field.is_required() and place.alias not in found]
        if "text" in self.cls.model_fields and not {"audio", "voice", "text"} & found.keys():  # a scene's speech
            empty.append(words.FIELDS["audio"][0])
        if empty:
            raise InputError(words.missing(empty))

    def values(self, task: Task, own: Sequence[Path] = ()) -> list[Any]:
        """The components' values for a task; files other than the studio's ``own`` stay empty for privacy."""
        given = [(p, getattr(task, p.name)) for p in self.places]
        return [(str(v) if v in own else None) if holds_file(p.field) else shown(v) for p, v in given]


def short(emotion: str) -> str:
    """The text, if it is no longer than anyone would write. Raises ``InputError``."""
    if len(emotion) > LONGEST:
        raise InputError(f"An emotion is written in at most {LONGEST} signs; this has {len(emotion)}.")
    return emotion


def component(place: Place, begin: Any = None, kind: str = "") -> gr.components.Component:
    """The component that asks for a field of a kind."""
    field, says = place.field, {"label": place.label, "info": place.info or None}
    value, allowed = default(field) if begin is None else begin, choices(field.annotation)
    if holds_file(field):
        return _file(place)
    if of := kind if place.name == "model" else PARTS.get(place.name):
        return gr.Dropdown(models(of, value), value=value, **says)
    if allowed and get_origin(field.annotation) is tuple:
        return gr.CheckboxGroup(allowed, value=list(value), **says)
    if allowed:
        return gr.Dropdown(allowed, value=value, **says)
    if field.annotation is bool:
        return gr.Checkbox(value=value, **says)
    if field.annotation in (int, float):
        low, high = bound(field, ("ge", "gt")), bound(field, ("le", "lt"))
        step = 1 if field.annotation is int else 0.05
        if low is not None and high is not None and high - low <= 1000:
            return gr.Slider(low, high, value=value, step=step, **says)
        return gr.Number(value=value, precision=0 if step == 1 else None, minimum=low, maximum=high, **says)
    return gr.Textbox(value=value or "", max_length=LONGEST, **says)


def _file(place: Place) -> gr.File:
    return gr.File(label=place.label, type="filepath")


def takes(field: str) -> tuple[str, ...]:
    """The endings of the files that a field takes; a portrait may be a film."""
    return (*extensions(field), *FILMS) if field == "portrait" else extensions(field)


def holds_file(field: FieldInfo) -> bool:
    return Path in (field.annotation, *get_args(field.annotation))


def default(field: FieldInfo) -> Any:
    """The default as a component shows it; None if there is no default."""
    return None if field.is_required() else shown(field.get_default(call_default_factory=True))


def shown(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return spelled(value) if isinstance(value, EmotionCurve) else value


def spelled(curve: EmotionCurve) -> str:
    """The curve as text; a constant one without a time."""
    return str(curve.keyframes[0].emotion) if len(curve.keyframes) == 1 else str(curve)


def bound(field: FieldInfo, names: tuple[str, str]) -> float | None:
    """The limit of a number that the field's annotations name."""
    found = (getattr(rule, name, None) for rule in field.metadata for name in names)
    return next((limit for limit in found if limit is not None), None)


def openable(curve: EmotionCurve) -> EmotionCurve:
    """The curve, if it names no file but uploaded ones. Raises ``InputError``."""
    folder = uploads().resolve()
    files = (curve.source, *curve.reference) if curve.source else ()
    if not all(file.resolve().is_relative_to(folder) for file in files):
        raise InputError("To take the emotion from a file, upload it under the emotion; a path is not opened.")
    return curve


def _without_file(curve: EmotionCurve) -> EmotionCurve:
    if curve.source is not None:
        raise InputError("To take the emotion from a file, upload it under the emotion; a job's path is not opened.")
    return curve


def _by_name(curve: EmotionCurve) -> EmotionCurve:
    """The curve with its files by their names."""
    return with_paths(curve, lambda path: Path(path.name))


# ---------------------------------------------------------------- YAML


def to_yaml(task: Task, name: str) -> str:
    """The task as a job file of one job; files by their names, to be put beside it."""
    job: dict[str, Any] = {"id": name, "kind": task.kind}
    for field, alias in ((n, f.alias or n) for n, f in type(task).model_fields.items()):
        value = getattr(task, field)
        if field == "kind" or value == type(task).model_fields[field].get_default(call_default_factory=True):
            continue
        value = _by_name(value) if isinstance(value, EmotionCurve) else value
        job[alias] = value.name if isinstance(value, Path) else shown(value)
    return yaml.safe_dump({"jobs": [job]}, sort_keys=False, allow_unicode=True, width=100)


def from_yaml(path: str | Path, kind: str) -> tuple[Task, str]:
    """The first job of a kind in a job file, and a sentence on what was left out. Raises ``InputError``."""
    file = JobFile(Path(path), reach=False)
    fitting = [task for task in file.tasks.values() if task.kind == kind]
    if not fitting:
        raise InputError(f"This file has no {kind} job; load it in the tab of {next(iter(file.tasks.values())).kind}.")
    task, names = fitting[0], field_names(type(fitting[0]))
    curves(task, _without_file)
    notes = [f"It has {len(file.tasks)} jobs; this is the first of kind {kind}."] if len(file.tasks) > 1 else []
    for alias, name in names.items():
        if isinstance(getattr(task, name), Path) and alias not in type(task).model_fields.keys() - {name}:
            label = words.FIELDS.get(name, (alias,))[0].lower()
            notes.append(f"Please upload the {label} again ({getattr(task, name).name}).")
    return task, " ".join(dict.fromkeys(notes)) or "Loaded."
