"""Reads a YAML job file into checked tasks: defaults, matrix, references and output names.

    defaults: {seed: 1}
    jobs:
      - id: line
        kind: music
        matrix: {emotion: [happy, sad], seed: [1, 2]}    # four items, "line.1" to "line.4"
        out: "{id}-{emotion}-{seed}"
      - id: more
        kind: music
        matrix: {emotion: [happy, sad]}
        continue: {job: line, seed: 2}                    # the first output of the item of the same emotion

A job over many files gives a folder or a glob pattern; a job over the rows of a table gives the table. Both can be
combined with a matrix:

      - {id: lines, kind: voice, source: recordings/, emotion: sad, out: "{emotion}/{stem}"}
      - {id: songs, kind: music, source: {csv: songs.csv}, out: "{index}-{emotion}"}   # columns are fields

A reference must select one item: axes that both jobs have are matched, other axes are given beside ``job``.
A default applies to the jobs whose kind has such a field; a default that applies to no job is an error.
"""

import difflib
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gen.emotion.spec import EmotionCurve, Plain
from gen.errors import InputError
from gen.jobs.formats import with_format
from gen.jobs.inputs import File, Row, files, has_extension, named, positional, several, table
from gen.jobs.schema import Location, Task, choices, describe, field_names, task_class, with_paths
from gen.jobs.source import Source

REFERENCE = "\0job:"  # prefix of a path that stands for another item's first output; no file name has a \0
UNUSED = object()
Origin: TypeAlias = tuple[dict[str, str | None], File | None, Row | None]  # fields, file, row of an item


def is_reference(path: Path) -> bool:
    return str(path).startswith(REFERENCE)


@cache
def paths_of(cls: type[Task]) -> dict[str, str]:
    """The fields that are files: name in YAML -> attribute name."""
    fields = cls.model_fields
    holds = {name for name, field in fields.items() if Path in (field.annotation, *get_args(field.annotation))}
    return {given: name for given, name in field_names(cls).items() if name in holds}


def _types(field: FieldInfo) -> set[Any]:
    return {field.annotation, *get_args(field.annotation)}


def standard(task: Task, field: str) -> object:
    """The default value of a field, used in names if the field is not given."""
    value = getattr(task, field, None)
    return str(value) if isinstance(value, EmotionCurve) and not value.source else value


@dataclass(frozen=True)
class Draft:
    """A job with one choice of its matrix: ``axes`` field -> value, ``chosen`` field -> position.

    ``index`` is its number within the job, zero-padded text; ``file`` is its file from a folder or a pattern,
    ``row`` its row of a table.
    """

    id: str
    job: str
    place: int
    data: dict[str, Any]
    out: str
    axes: dict[str, Any]
    chosen: dict[str, int]
    index: str
    file: File | None = None
    row: Row | None = None


class JobFile:
    """The drafts, tasks and output names of a file; any mistake raises ``InputError`` with file, line and field.

    ``reach`` allows jobs over folders, patterns and tables, which are read from disk.
    """

    def __init__(self, path: Path, reach: bool = True):
        self.source, self.reach = Source(path), reach
        self.base = path.resolve().parent
        self.rows, self.defaults = self._top()
        self.used: set[str] = set()
        self.lookup: dict[tuple[str, tuple[str, ...]], dict[str, list[str]]] = {}
        self.jobs: dict[str, list[Draft]] = {}
        for place, job in enumerate(self.rows):
            self._expand(place, job)
        self.drafts = {draft.id: draft for siblings in self.jobs.values() for draft in siblings}
        self.tasks = {draft.id: self._task(draft) for draft in self.drafts.values()}
        if unused := self.defaults.keys() - self.used:
            field = min(unused)
            raise self.source.error(("defaults", field), f"defaults.{field}: no job has this field.")
        self.names = {draft.id: self._name(draft) for draft in self.drafts.values()}
        self._check_names()

    def error(self, id: str, message: str) -> InputError:
        """An error at the line of an item's job."""
        draft = self.drafts[id]
        if draft.row:
            return InputError(f"{draft.row.table}:{draft.row.line}: {draft.job}: {' '.join(message.split())}")
        return self.source.error(("jobs", draft.place), f"{draft.job}: {message}")

    def _top(self) -> tuple[list[Plain], dict[str, Plain]]:
        data = self.source.data
        if not isinstance(data, dict) or not isinstance(data.get("jobs"), list) or not data["jobs"]:
            raise self.source.error((), "give a list of at least one job under `jobs:`.")
        if unknown := data.keys() - {"jobs", "defaults", "$schema"}:
            raise self.source.error((min(unknown),), f"{min(unknown)}: use only the fields `defaults` and `jobs` here.")
        if not isinstance(data.get("$schema", ""), str):
            raise self.source.error(("$schema",), "$schema: give the name of a JSON Schema as text.")
        defaults: Plain = {} if data.get("defaults") is None else data["defaults"]
        if not isinstance(defaults, dict) or defaults.keys() & {"id", "matrix"}:
            raise self.source.error(("defaults",), "defaults: give fields shared by jobs, without id and matrix.")
        if "kind" in defaults:
            try:
                task_class(defaults["kind"])
            except InputError as error:
                raise self.source.error(("defaults", "kind"), f"defaults.kind: {error}") from None
        return data["jobs"], defaults

    def _expand(self, place: int, job: Plain) -> None:
        """Adds one draft per combination of the job's matrix, for each of its files or rows."""
        where = ("jobs", place)
        if not isinstance(job, dict):
            raise self.source.error(where, f"jobs[{place}]: give a mapping of fields.")
        id = job.get("id")
        matrix: Plain = job.get("matrix", {})
        if not isinstance(id, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", id) or id in self.jobs:
            hint = "give each job its own name of letters, digits, - and _ (in quotes if YAML does not read it as text)"
            raise self.source.error((*where, "id"), f"jobs[{place}].id: {hint}.")
        if not isinstance(matrix, dict) or not all(v and isinstance(v, list) for v in matrix.values()):
            raise self.source.error((*where, "matrix"), f"{id}.matrix: give each field a list of values.")
        if twice := matrix.keys() & (job.keys() | {"id", "out", "matrix"}):
            raise self.source.error((*where, "matrix"), f"{id}.matrix: {min(twice)} is also given elsewhere.")
        own = {name: value for name, value in job.items() if name not in ("id", "matrix", "out")}
        sources = self._sources(place, id, own, matrix)
        usual = "{id}" if not sources else "{id}/{index}" if sources[0][2] else "{id}/{stem}"
        out = job.get("out", self.defaults.get("out", "-".join([usual, *(f"{{{axis}}}" for axis in matrix)])))
        if not isinstance(out, str):
            raise self.source.error((*where, "out"), f"{id}.out: give the output's name as text.")
        self.used |= {"out"} & self.defaults.keys()
        picks = [*product(*(range(len(values)) for values in matrix.values()))]
        wide, self.jobs[id] = len(str(len(picks) * max(1, len(sources)))), []
        for number, (source, choice) in enumerate(product(sources or [({}, None, None)], picks), start=1):
            fields, file, row = source
            chosen = dict(zip(matrix, choice))
            axes = fields | {axis: matrix[axis][at] for axis, at in chosen.items()}
            unique, index = f"{id}.{number}" if matrix or sources else id, f"{number:0{wide}}"
            data = own | {name: value for name, value in axes.items() if value is not None and name != "out"}
            name = (row and row.cells.get("out")) or out
            self.jobs[id].append(Draft(unique, id, place, data, name, axes, chosen, index, file, row))

    def _sources(self, place: int, id: str, own: dict[str, Plain], matrix: dict[str, Any]) -> list[Origin]:
        """The files of a job, or the rows of its table; empty for a single item."""
        given = {name: value for name, value in self.defaults.items() if name not in own | matrix} | own
        where = ("jobs", place, "source")
        if isinstance(source := given.get("source"), dict) and "csv" in source:
            if len(source) > 1 or not isinstance(source["csv"], str):
                raise self.source.error(where, f"{id}.source: give a table as {{csv: lines.csv}} only.")
            self._may_reach(where, id)
            self.used |= {"source"} & self.defaults.keys()
            own.pop("source", None)
            path = self.base / source["csv"]
            columns, rows = table(path)
            if twice := set(columns) & ({*own, *matrix} | {"matrix"}):
                raise InputError(f"{path}:1: {min(twice)} is also given in the job {id}.")
            return [({name: row.cells.get(name) for name in columns}, None, row) for row in rows]
        try:
            fields = paths_of(task_class(given.get("kind")))
        except InputError:  # reported when the task is created, or given by the matrix
            return []
        chosen = {name: value for name in fields if isinstance(value := given.get(name), str)}
        many = {name: value for name, value in chosen.items() if self.reach and several(value, self.base)}
        if not many:
            return []
        where = ("jobs", place, *many)[:3]
        if len(many) > 1:
            hint = "only one field can be a folder or a pattern; put the others into a matrix"
            raise self.source.error(where, f"{id}: {' and '.join(many)} each stand for many files: {hint}.")
        [(name, value)] = many.items()
        self.used |= {name} & self.defaults.keys()
        try:
            found = files([value], fields[name], self.base)
        except InputError as error:
            raise self.source.error(where, f"{id}.{name}: {error}.") from None
        return [({name: str(file.path)}, file, None) for file in found]

    def _may_reach(self, where: Location, id: str) -> None:
        if not self.reach:
            raise self.source.error(where, f"{id}: a job over many files works only with `affekt render`.")

    def _task(self, draft: Draft) -> Task:
        """The checked task of a draft, with defaults filled in, absolute paths, and references as ``job:<item>``."""
        try:
            cls = task_class(draft.data.get("kind", self.defaults.get("kind")))
        except InputError as error:
            raise self.source.error(self._where(draft, ("kind",)), f"{draft.job}.kind: {error}") from None
        fields = field_names(cls)
        given = {fields.get(name) for name in draft.data}
        usable = {name: value for name, value in self.defaults.items() if name in fields}
        self.used |= usable.keys()
        data = {name: value for name, value in usable.items() if fields[name] not in given} | draft.data
        data |= self._cells(draft, draft.row, cls, fields) if draft.row else {}
        data = {name: value for name, value in data.items() if value is not UNUSED}
        linked = {name: self._linked(draft, value, (name,)) for name, value in data.items()}
        try:
            linked = with_format(cls.model_fields["kind"].default, draft.out, linked)
        except InputError as error:
            raise self.source.error(self._where(draft, ("out",)), f"{draft.job}.out: {error}") from None
        plain = {name: value for name, value in data.items() if not draft.row or name not in draft.row.cells}
        for name, value in plain.items():
            self._check_word(draft, name, value, cls.model_fields.get(fields.get(name, "")))
        try:
            task = cls.model_validate(linked)
        except ValidationError as error:
            where, message = describe(error, cls)
            if draft.row and where and (where[0] in draft.row.cells or not {where[0]} & {*draft.data, *self.defaults}):
                raise InputError(f"{draft.row.table}:{draft.row.line}: {draft.job}.{message}") from None
            raise self.source.error(self._where(draft, where), f"{draft.job}.{message}") from None
        for name, value in plain.items():
            self._check_number(draft, name, value, cls.model_fields[fields[name]])
        return with_paths(task, lambda path: path if is_reference(path) else self.base / path)

    def _check_word(self, draft: Draft, name: str, value: object, field: FieldInfo | None) -> None:
        """Raises if true or false is given for a word: YAML reads yes, no, on and off as these."""
        if isinstance(value, bool) and field is not None and bool not in _types(field):
            hint = f"YAML reads yes, no, on and off as true and false: put the word in quotes, not {value}"
            raise self.source.error(self._where(draft, (name,)), f"{draft.job}.{name}: {hint}.")

    def _check_number(self, draft: Draft, name: str, value: object, field: FieldInfo) -> None:
        """Raises for a quoted number or boolean and for a number given as boolean, which pydantic would accept; cells
        of a table are always text."""
        kinds = _types(field)
        text, number = isinstance(value, str), isinstance(value, int | float) and not isinstance(value, bool)
        if (text and kinds & {int, float, bool} and not kinds & {str, Path}) or (number and bool in kinds):
            hint = "true or false" if bool in kinds else "a number without quotes"
            raise self.source.error(self._where(draft, (name,)), f"{draft.job}.{name}: give {hint}, not {value!r}.")

    def _cells(self, draft: Draft, row: Row, cls: type[Task], fields: dict[str, str]) -> dict[str, Any]:
        """The cells of a row as values for the fields of ``cls``; UNUSED for a column used only in the name."""
        found: dict[str, Any] = {}
        for column, cell in row.cells.items():
            if column == "out":
                continue
            if column in fields:
                annotation = cls.model_fields[fields[column]].annotation
                if get_origin(annotation) in (list, tuple):
                    found[column] = cell.replace(",", " ").split()
                else:
                    number = next((one for one in choices(annotation) if str(one) == cell), cell)
                    found[column] = str(row.table.parent / cell) if column in paths_of(cls) else number
            elif f"{{{column}}}" in draft.out:
                found[column] = UNUSED
            else:
                near = ", ".join(difflib.get_close_matches(column, fields, n=3, cutoff=0.0))
                needed = " and ".join(name for name in positional(cls) if name not in row.cells)
                hint = f"use it in `out` as {{{column}}}, or remove it; the nearest fields are {near}"
                hint += f"; {needed} is needed" * bool(needed)
                raise InputError(f"{row.table}:1: {draft.job}: no field {column!r}: {hint}.")
        return found

    def _where(self, draft: Draft, where: Location) -> Location:
        """The location of a draft's field in the file: in the matrix, the job or the defaults."""
        if where and where[0] in draft.chosen:
            return ("jobs", draft.place, "matrix", where[0], draft.chosen[where[0]], *where[1:])
        if where and where[0] not in draft.data and where[0] in self.defaults:
            return ("defaults", *where)
        return ("jobs", draft.place, *where)

    def _linked(self, draft: Draft, value: Plain, where: Location) -> Any:
        """A copy of a field's value with each ``{job: id}`` replaced by the item's reference path."""
        if isinstance(value, list):
            return [self._linked(draft, item, (*where, at)) for at, item in enumerate(value)]
        if isinstance(value, dict) and "job" in value:
            return Path(REFERENCE + self._referred(draft, value, where))
        if isinstance(value, dict):
            return {name: self._linked(draft, item, (*where, name)) for name, item in value.items()}
        if isinstance(value, str) and value.startswith(REFERENCE):
            raise self.source.error(self._where(draft, where), f"{draft.job}.{where[0]}: remove the null character.")
        return value

    def _referred(self, draft: Draft, reference: dict[str, Any], where: Location) -> str:
        """The id of the one item that a reference selects."""
        job = reference["job"]
        if not isinstance(job, str) or job not in self.jobs:
            near = ", ".join(sorted(self.jobs)[:10])
            raise self.source.error(self._where(draft, where), f"{draft.job}.{where[0]}: no job {job!r}, only {near}.")
        chosen = {name: value for name, value in reference.items() if name != "job"}
        wanted = {axis: value for axis, value in draft.axes.items() if axis in self.jobs[job][0].axes} | chosen
        axes = tuple(sorted(wanted))
        fitting = self._by_axes(job, axes).get(repr([str(wanted[axis]) for axis in axes]), [])
        if len(fitting) != 1:
            hint = f"this matches {len(fitting)} items of {job!r}; give a value of its matrix beside `job`"
            raise self.source.error(self._where(draft, where), f"{draft.job}.{where[0]}: {hint}.")
        return fitting[0]

    def _by_axes(self, job: str, axes: tuple[str, ...]) -> dict[str, list[str]]:
        """Ids of a job's items by the values of some axes; cached, since every item of a large matrix needs it."""
        if (job, axes) not in self.lookup:
            found = self.lookup[job, axes] = defaultdict(list)
            for draft in self.jobs[job]:
                found[repr([str(draft.axes.get(axis)) for axis in axes])].append(draft.id)
        return self.lookup[job, axes]

    def _name(self, draft: Draft) -> str:
        """The output name, with ``{field}`` filled in; may contain folders, never leaves the output folder."""
        try:
            whole = has_extension(draft.out, self.tasks[draft.id].kind)
            out = draft.out.removesuffix(Path(draft.out).suffix) if whole else draft.out
            return named(out, partial(self._value, draft), draft.file.folder if draft.file else "")
        except InputError as error:
            if draft.row:
                raise self.error(draft.id, f"out: {error}") from None
            raise self.source.error(self._where(draft, ("out",)), f"{draft.job}.out: {error}") from None

    def _value(self, draft: Draft, field: str) -> object:
        """The value given for a field; a matrix value that is not plain is replaced by its position."""
        if draft.row and field in draft.row.cells:
            return draft.row.cells[field]
        if field in ("id", "index"):
            return draft.job if field == "id" else draft.index
        if field == "stem":
            return draft.file.stem if draft.file else self._stem(self.tasks[draft.id])
        value = draft.data.get(field, self.defaults.get(field, standard(self.tasks[draft.id], field)))
        if field in draft.chosen and not isinstance(value, str | int | float):
            return draft.chosen[field] + 1
        return value

    @staticmethod
    def _stem(task: Task) -> str | None:
        """The stem of the file a task is made from: its last required file, or else its first file."""
        given = [
            name
            for name, path in ((name, getattr(task, name)) for name in paths_of(type(task)).values())
            if isinstance(path, Path) and not is_reference(path)
        ]
        needed = [name for name in positional(type(task)) if name in given]
        return getattr(task, (needed[-1:] or given)[0]).stem if given else None

    def _check_names(self) -> None:
        """Raises if two items have the same name, or one item's folder is another item's file."""
        owner: dict[str, str] = {}
        for id, name in self.names.items():
            if (rival := owner.setdefault(name.casefold(), id)) != id:
                hint = f"{rival} also has the name {name!r}; put a field into it, such as {{seed}}"
                raise self.error(id, f"out: {hint}.")
        for id, name in self.names.items():
            above = [name.casefold().rsplit("/", n)[0] for n in range(1, name.count("/") + 1)]
            if rivals := [owner[folder] for folder in above if folder in owner]:
                raise self.error(id, f"out: {name!r} is below the output of {rivals[0]}; choose another folder.")
