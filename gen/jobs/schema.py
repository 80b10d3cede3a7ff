"""Tasks: frozen pydantic models selected by ``kind``.

YAML, command line, studio and Python all build the same models.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from gen import registry
from gen.emotion.spec import EmotionCurve, Plain
from gen.errors import InputError
from gen.notes import collect

Location = tuple[str | int, ...]
Part: TypeAlias = Plain | Path | BaseModel  # a task, or any value inside one


class Task(BaseModel):
    """A task to render, without its output path. Subclasses add fields; fields of type ``Path`` are input files.

    Relative paths are relative to the YAML file's folder. Equal tasks, input files and checkpoints give equal results,
    so a task has no field that leaves the result unchanged. A validator must not read input files:
    they may be outputs of other jobs that do not exist yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    kind: str
    seed: int = Field(0, ge=0, lt=2**32, description="the same seed gives the same result")
    consent: str | None = Field(None, max_length=500, description="who agreed to the use of a real face or voice")
    _notes: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _noted(cls, data: Any, handler: Callable[[Any], Self]) -> Self:
        with collect() as notes:
            task = handler(data)
        return task.noting(notes) if notes else task

    def noting(self, notes: Iterable[str]) -> Self:
        """Replaces the recorded notes; returns the task itself."""
        self._notes = tuple(notes)
        return self

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes recorded while the task was parsed, such as unknown words of an emotion."""
        return self._notes

    def smaller(self) -> Self | None:
        """A task with the same result that needs less memory, tried once when memory runs out, or None."""
        return None


def task_class(kind: object) -> type[Task]:
    """The class of a job kind; raises ``InputError`` with the nearest names."""
    if not isinstance(kind, str):
        raise InputError(f"give the job a kind, one of: {', '.join(registry.names('task'))}.")
    return registry.get("task", kind)


def parse_task(data: dict[str, Any]) -> Task:
    """Parses a task from plain data; raises ``InputError`` that names the field."""
    cls = task_class(data.get("kind"))
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise InputError(describe(error, cls)[1]) from None


def field_names(cls: type[BaseModel]) -> dict[str, str]:
    """Every name of a field in YAML -> its attribute name."""
    aliases = {field.alias: name for name, field in cls.model_fields.items() if field.alias}
    return {name: name for name in cls.model_fields} | aliases


def choices(annotation: Any) -> list[str | int]:
    """The words or numbers allowed in a field or its items; empty if anything is allowed."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for part in get_args(annotation) if part is not Ellipsis for word in choices(part)]


def describe(error: ValidationError, cls: type[BaseModel]) -> tuple[Location, str]:
    """The location of the first mistake, and one sentence about it with the number of further mistakes."""
    first, *others = error.errors(include_url=False)
    where, message = first["loc"], first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden" and len(where) == 1:
        near = difflib.get_close_matches(str(where[0]), field_names(cls), n=3, cutoff=0.0)
        message = f"unknown field; the nearest are {', '.join(near)}"
    elif first["type"] == "missing":
        message = "this field is required"
    elif first["type"] != "value_error":
        message = f"{message}, not {short(first['input'])}"
    more = f" (and {len(others)} more)" if others else ""
    field = "".join(f"{part}." for part in where)[:-1]
    return where, f"{field}: {message}{more}" if field else f"{message}{more}"


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def canonical(task: Task, swap: Callable[[Path], object]) -> str:
    """The task as JSON text with sorted keys, each path replaced by ``swap(path)``."""
    return json.dumps(to_jsonable_python(_swapped(task.model_dump(), swap)), sort_keys=True)


def _swapped(value: Part, swap: Callable[[Path], object]) -> object:
    if isinstance(value, Path):
        return swap(value)
    if isinstance(value, dict):
        return {key: _swapped(item, swap) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_swapped(item, swap) for item in value]
    return value


@cache
def _holds_paths(annotation: object) -> bool:
    """True if values of a type can contain paths; cached, since plans have many tasks and most fields have none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(_holds_paths(field.annotation) for field in annotation.model_fields.values())
    return annotation is Path or any(_holds_paths(part) for part in get_args(annotation))


@cache
def _with_paths(cls: type[BaseModel]) -> tuple[str, ...]:
    """The fields of a model that can contain paths."""
    return tuple(name for name, field in cls.model_fields.items() if _holds_paths(field.annotation))


def curves(value: Part, swap: Callable[[EmotionCurve], EmotionCurve]) -> Any:
    """A task (or any value inside one) with every emotion curve replaced by ``swap(curve)``."""
    if isinstance(value, EmotionCurve):
        return swap(value)
    if isinstance(value, BaseModel):
        new = {name: curves(getattr(value, name), swap) for name in type(value).model_fields}
        return value.model_copy(update={name: item for name, item in new.items() if item is not getattr(value, name)})
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        new = [curves(item, swap) for item in value]
        return value if all(a is b for a, b in zip(new, value)) else type(value)(new)
    return value


def without_names(task: Task, sentence: str) -> str:
    """Replaces the names of a task's input files in a sentence by their field names, since file names may be private
    and do not affect the result."""
    named: dict[str, str] = {}
    for name, field in type(task).model_fields.items():
        label = field.alias or name

        def keep(path: Path, label: str = label) -> Path:
            named.setdefault(str(path), label)
            named.setdefault(path.name, label)
            return path

        with_paths(getattr(task, name), keep)
    for found in sorted(named, key=len, reverse=True):
        sentence = re.sub(rf"(?<![\w./]){re.escape(found)}(?![\w/])", named[found], sentence)
    return sentence


def with_paths(value: Part, swap: Callable[[Path], Path]) -> Any:
    """A task (or any value inside one) with every path replaced by ``swap(path)``; the same object if unchanged."""
    if isinstance(value, Path):
        return swap(value)
    if isinstance(value, BaseModel):
        old = {name: getattr(value, name) for name in _with_paths(type(value))}
        new = {name: with_paths(item, swap) for name, item in old.items()}
        return value if all(new[name] is old[name] for name in old) else value.model_copy(update=new)
    if isinstance(value, dict):
        return {key: with_paths(item, swap) for key, item in value.items()}
    if isinstance(value, list | tuple):
        new = [with_paths(item, swap) for item in value]
        return value if all(a is b for a, b in zip(new, value)) else type(value)(new)
    return value
