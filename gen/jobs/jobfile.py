"""A YAML job file as checked tasks: defaults, matrix, references and output names.

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

A reference must come down to one item: axes that both jobs have are matched, others are given beside ``job``.
A default counts for the jobs whose kind has such a field; one that no job has is a mistake.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pydantic import ValidationError

from gen.errors import InputError
from gen.jobs.schema import Location, Task, describe, field_names, task_class, with_paths
from gen.jobs.source import Source

REFERENCE = "job:"  # how a path names another item's first output until that exists


def is_reference(path: Path) -> bool:
    return str(path).startswith(REFERENCE)


def slug(value: str | int | float) -> str:
    """A value as part of a file name: ``happy 0.7 + sad 0.3`` -> ``happy-0.7+sad-0.3``."""
    return re.sub(r"[^\w.+=-]+", "-", re.sub(r"\s*\+\s*", "+", str(value)))


@dataclass(frozen=True)
class Draft:
    """A job of the file with one choice of its matrix: ``axes`` field -> value, ``chosen`` field -> position."""

    id: str
    job: str
    row: int
    data: dict
    out: str
    axes: dict[str, object]
    chosen: dict[str, int]


class JobFile:
    """Drafts, tasks and output names of a file; any mistake raises ``InputError`` with file, line and field."""

    def __init__(self, path: Path):
        self.source = Source(path)
        self.base = path.resolve().parent
        self.rows, self.defaults = self._top()
        self.used: set[str] = set()
        self.lookup: dict[tuple, dict[str, list[str]]] = {}
        self.jobs: dict[str, list[Draft]] = {}
        for row, job in enumerate(self.rows):
            self._expand(row, job)
        self.drafts = {draft.id: draft for siblings in self.jobs.values() for draft in siblings}
        self.tasks = {draft.id: self._task(draft) for draft in self.drafts.values()}
        if unused := self.defaults.keys() - self.used:
            field = min(unused)
            raise self.source.error(("defaults", field), f"defaults.{field}: no job has such a field.")
        self.names = {draft.id: self._name(draft) for draft in self.drafts.values()}
        self._check_names()

    def error(self, id: str, message: str) -> InputError:
        """An error at the line of an item's job."""
        return self.source.error(("jobs", self.drafts[id].row), f"{self.drafts[id].job}: {message}")

    def _top(self) -> tuple[list, dict]:
        data = self.source.data
        if not isinstance(data, dict) or not isinstance(data.get("jobs"), list) or not data["jobs"]:
            raise self.source.error((), "a job file has a list under `jobs:`, with at least one job.")
        if unknown := data.keys() - {"jobs", "defaults"}:
            raise self.source.error((min(unknown),), f"{min(unknown)}: only `defaults` and `jobs` stand here.")
        defaults = data.get("defaults") or {}
        if not isinstance(defaults, dict) or defaults.keys() & {"id", "matrix"}:
            raise self.source.error(("defaults",), "defaults: give fields that jobs share, without id and matrix.")
        return data["jobs"], defaults

    def _expand(self, row: int, job) -> None:
        """One draft per combination of the job's matrix."""
        where = ("jobs", row)
        if not isinstance(job, dict):
            raise self.source.error(where, f"jobs[{row}]: a job is a mapping of fields.")
        id, matrix = job.get("id"), job.get("matrix", {})
        if not isinstance(id, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", id) or id in self.jobs:
            wish = "give each job its own name, of letters, digits, - and _ (in quotes if YAML reads it otherwise)"
            raise self.source.error((*where, "id"), f"jobs[{row}].id: {wish}.")
        if not isinstance(matrix, dict) or not all(isinstance(v, list) and v for v in matrix.values()):
            raise self.source.error((*where, "matrix"), f"{id}.matrix: give each field a list of values.")
        if twice := matrix.keys() & (job.keys() | {"id", "out", "matrix"}):
            raise self.source.error((*where, "matrix"), f"{id}.matrix: {min(twice)} is given elsewhere already.")
        out = job.get("out", self.defaults.get("out", "-".join(["{id}", *(f"{{{axis}}}" for axis in matrix)])))
        if not isinstance(out, str):
            raise self.source.error((*where, "out"), f"{id}.out: the output's name must be text.")
        self.used |= {"out"} & self.defaults.keys()
        own = {name: value for name, value in job.items() if name not in ("id", "matrix", "out")}
        self.jobs[id] = []
        for number, choice in enumerate(product(*(range(len(values)) for values in matrix.values())), start=1):
            chosen = dict(zip(matrix, choice))
            axes = {axis: matrix[axis][at] for axis, at in chosen.items()}
            unique = f"{id}.{number}" if matrix else id
            self.jobs[id].append(Draft(unique, id, row, own | axes, out, axes, chosen))

    def _task(self, draft: Draft) -> Task:
        """The checked task of a draft, with defaults filled in, paths absolute and references as ``job:<item>``."""
        try:
            cls = task_class(draft.data.get("kind", self.defaults.get("kind")))
        except InputError as error:
            raise self.source.error(self._where(draft, ("kind",)), f"{draft.job}.kind: {error}") from None
        fields = field_names(cls)
        given = {fields.get(name) for name in draft.data}
        usable = {name: value for name, value in self.defaults.items() if name in fields}
        self.used |= usable.keys()
        data = {name: value for name, value in usable.items() if fields[name] not in given} | draft.data
        linked = {name: self._linked(draft, value, (name,)) for name, value in data.items()}
        try:
            task = cls.model_validate(linked)
        except ValidationError as error:
            where, message = describe(error, cls)
            raise self.source.error(self._where(draft, where), f"{draft.job}.{message}") from None
        return with_paths(task, lambda path: path if is_reference(path) else self.base / path)

    def _where(self, draft: Draft, where: Location) -> Location:
        """Where a field of a draft was written: in the matrix, in the job or in the defaults."""
        if where and where[0] in draft.chosen:
            return ("jobs", draft.row, "matrix", where[0], draft.chosen[where[0]], *where[1:])
        if where and where[0] not in draft.data and where[0] in self.defaults:
            return ("defaults", *where)
        return ("jobs", draft.row, *where)

    def _linked(self, draft: Draft, value, where: Location):
        """A copy of a field's value with each ``{job: id}`` replaced by the path that stands for the item."""
        if isinstance(value, list):
            return [self._linked(draft, item, (*where, at)) for at, item in enumerate(value)]
        if isinstance(value, dict) and "job" in value:
            return Path(REFERENCE + self._referred(draft, value, where))
        if isinstance(value, dict):
            return {name: self._linked(draft, item, (*where, name)) for name, item in value.items()}
        return value

    def _referred(self, draft: Draft, reference: dict, where: Location) -> str:
        """The id of the one item that a reference means."""
        job = reference["job"]
        if not isinstance(job, str) or job not in self.jobs:
            near = ", ".join(sorted(self.jobs)[:10])
            raise self.source.error(self._where(draft, where), f"{draft.job}.{where[0]}: jobs are {near}; not {job!r}.")
        chosen = {name: value for name, value in reference.items() if name != "job"}
        wanted = {axis: value for axis, value in draft.axes.items() if axis in self.jobs[job][0].axes} | chosen
        axes = tuple(sorted(wanted))
        fitting = self._by_axes(job, axes).get(repr([wanted[axis] for axis in axes]), [])
        if len(fitting) != 1:
            hint = f"this fits {len(fitting)} items of {job!r}; give one value of its matrix beside `job`"
            raise self.source.error(self._where(draft, where), f"{draft.job}.{where[0]}: {hint}.")
        return fitting[0]

    def _by_axes(self, job: str, axes: tuple[str, ...]) -> dict[str, list[str]]:
        """Ids of a job's items by the values of some axes; kept, since each item of a large matrix asks."""
        if (job, axes) not in self.lookup:
            found = self.lookup[job, axes] = defaultdict(list)
            for draft in self.jobs[job]:
                found[repr([draft.axes.get(axis) for axis in axes])].append(draft.id)
        return self.lookup[job, axes]

    def _name(self, draft: Draft) -> str:
        """The output name, with ``{field}`` filled in; may have folders, never leaves the output folder."""
        where = self._where(draft, ("out",))

        def fill(match: re.Match) -> str:
            value = self._value(draft, match[1])
            if isinstance(value, str | int | float):
                return slug(value)
            raise self.source.error(where, f"{draft.job}.out: {match[0]} is not a field with a plain value.")

        parts = [part.strip("- ") for part in re.sub(r"\{([^{}]*)\}", fill, draft.out).split("/")]
        for part in parts:
            if not re.fullmatch(r"(?!\.)[^\\:*?\"<>|{}]{1,120}", part) or not part.isprintable():
                hint = "use letters, digits and signs that file names may have, and stay in the output folder"
                raise self.source.error(where, f"{draft.job}.out: {hint}, unlike {part[:60]!r}.")
        return "/".join(parts)

    def _value(self, draft: Draft, field: str) -> object:
        """What a field was given as; a matrix value that is no plain value counts by its position."""
        if field == "id":
            return draft.job
        value = draft.data.get(field, self.defaults.get(field, getattr(self.tasks[draft.id], field, None)))
        if field in draft.chosen and not isinstance(value, str | int | float):
            return draft.chosen[field] + 1
        return value

    def _check_names(self) -> None:
        """No two items may share a name, and none may need a folder where another has its file."""
        owner: dict[str, str] = {}
        for id, name in self.names.items():
            if (rival := owner.setdefault(name.casefold(), id)) != id:
                hint = f"{rival} has the name {name!r} already; put a field into it, such as {{seed}}"
                raise self.error(id, f"out: {hint}.")
        for id, name in self.names.items():
            above = [name.casefold().rsplit("/", n)[0] for n in range(1, name.count("/") + 1)]
            if rivals := [owner[folder] for folder in above if folder in owner]:
                raise self.error(id, f"out: {name!r} lies below the output of {rivals[0]}; choose another folder.")
