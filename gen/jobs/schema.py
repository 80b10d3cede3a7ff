"""Job descriptions: the task types, and YAML that remembers the line of every field.

A task is a frozen pydantic model chosen by ``kind``; YAML, command line, studio and Python build the same one.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_jsonable_python

from gen import registry
from gen.errors import InputError

Location = tuple[str | int, ...]

# The C loader reads 10,000 jobs in a second; wheels of PyYAML have it, a build from source may not.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Task(BaseModel):
    """What to render, without where to put it. Subclasses add fields; those of type ``Path`` are input files.

    A relative path counts from the YAML file's folder. Equal tasks, input files and checkpoints give equal results,
    so a field that does not change the result has no place here. A validator must not look at input files:
    they may be outputs of other jobs that do not exist yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    kind: str
    seed: int = 0

    def smaller(self) -> Self | None:
        """A task with the same result that needs less memory, tried once when memory runs out."""
        return None


def task_class(kind: object) -> type[Task]:
    """The class of a job kind; raises ``InputError`` with the nearest names."""
    if not isinstance(kind, str):
        raise InputError(f"A job needs a kind, one of: {', '.join(registry.names('task'))}.")
    return registry.get("task", kind)


def parse_task(data: dict) -> Task:
    """A task from plain data; raises ``InputError`` that names the field."""
    cls = task_class(data.get("kind"))
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise InputError(describe(error)[1]) from None


def describe(error: ValidationError) -> tuple[Location, str]:
    """Where the first mistake is, and one sentence about it (and how many more there are)."""
    first, *others = error.errors(include_url=False)
    message = first["msg"].removeprefix("Value error, ")
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] not in ("value_error", "missing", "extra_forbidden"):
        message += f", not {_short(first['input'])}"
    more = f" (and {len(others)} more)" if others else ""
    return first["loc"], f"{field}: {message}{more}" if field else message + more


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def canonical(task: Task, swap: Callable[[Path], object]) -> str:
    """The task as JSON text with sorted keys, each path replaced by ``swap(path)``."""
    return json.dumps(to_jsonable_python(_swapped(task.model_dump(), swap)), sort_keys=True)


def _swapped(value, swap):
    if isinstance(value, Path):
        return swap(value)
    if isinstance(value, dict):
        return {key: _swapped(item, swap) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_swapped(item, swap) for item in value]
    return value


def with_paths(value, swap: Callable[[Path], Path]):
    """A copy of a task (or of anything inside one) with every path replaced by ``swap(path)``."""
    if isinstance(value, Path):
        return swap(value)
    if isinstance(value, BaseModel):
        fields = {name: with_paths(getattr(value, name), swap) for name in type(value).model_fields}
        return value.model_copy(update=fields)
    if isinstance(value, dict):
        return {key: with_paths(item, swap) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(with_paths(item, swap) for item in value)
    return value


class Source:
    """A YAML file as plain data, and the line where each field stands. Raises ``InputError`` for anything unsafe."""

    def __init__(self, path: Path):
        self.path = path
        self.lines: dict[Location, int] = {}
        try:
            loader = _Loader(path.read_bytes())
            self.data = self._read(loader, loader.get_single_node(), (), ())
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise InputError(f"{path}:{line}: this is not valid YAML ({error.problem}).") from None
        except yaml.YAMLError as error:
            raise InputError(f"{path}:1: this is not valid YAML ({error}).".replace("\n", " ")) from None
        except RecursionError:
            raise InputError(f"{path}:1: the file is nested too deeply.") from None

    def error(self, where: Location, message: str) -> InputError:
        """An error at the line of ``where``, or of the nearest thing around it that has a line."""
        known = next(where[:n] for n in range(len(where), -1, -1) if where[:n] in self.lines or n == 0)
        return InputError(f"{self.path}:{self.lines.get(known, 1)}: {message}")

    def _read(self, loader, node, where: Location, above: tuple):
        """Data of a node. Written out instead of ``construct_document``, which forgets lines and repeated keys."""
        if node is None:
            return None
        self.lines[where] = node.start_mark.line + 1
        if any(node is parent for parent in above):
            raise self.error(where, "an alias may not contain itself.")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(loader, node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(loader, item, (*where, i), (*above, node)) for i, item in enumerate(node.value)]
        found = {}
        for key_node, value_node in node.value:
            key = self._scalar(loader, key_node, where) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                self.lines[where] = key_node.start_mark.line + 1
                raise self.error(where, "a field's name must be text; put it in quotes if it is meant.")
            if key in found:
                self.lines[where] = key_node.start_mark.line + 1
                raise self.error(where, f"{key!r} is given twice.")
            found[key] = self._read(loader, value_node, (*where, key), (*above, node))
            self.lines[*where, key] = key_node.start_mark.line + 1
        return found

    def _scalar(self, loader, node, where: Location):
        try:
            return loader.construct_object(node)
        except ValueError:
            raise self.error(where, f"{_short(node.value)} cannot be read as a value; put it in quotes.") from None
