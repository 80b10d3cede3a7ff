"""The command of a kind, such as ``affekt voice``: positional input files, and an option per field of a job."""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, get_origin

from gen.arguments import text
from gen.emotion.spec import Plain
from gen.errors import InputError
from gen.jobs.commands import add_rendering, run_plan
from gen.jobs.inputs import File, files, has_extension, named, positional, several, slug
from gen.jobs.schema import Task, choices, parse_task, task_class, with_paths

if TYPE_CHECKING:
    from gen.jobs.run import Event

METAVARS: dict[Any, str] = {int: "N", float: "X", Path: "FILE", int | None: "N", float | None: "X", Path | None: "FILE"}


def add(command: argparse.ArgumentParser, kind: str) -> None:
    """Adds options for the fields of a kind's task class; required files are positional."""
    fields = command.add_argument_group(f"fields of a {kind} job")
    cls = task_class(kind)
    needed = positional(cls)
    for name, field in cls.model_fields.items():
        if name == "kind":
            continue
        if name in needed:
            many = "+" if name == needed[-1] else None
            fields.add_argument(name, nargs=many, metavar=name.upper(), type=text, help=field.description)
            continue
        required, default = field.is_required(), field.get_default(call_default_factory=True)
        note = "required" if required else "optional" if default is None else f"default: {default}"
        facts: dict[str, Any] = {"help": f"{field.description or ''} ({note})".strip().replace("%", "%%"), "dest": name}
        if field.annotation is bool:
            facts["action"] = argparse.BooleanOptionalAction
        else:
            many, said = get_origin(field.annotation) in (list, tuple), choices(field.annotation)
            facts |= {"nargs": "+"} if many else {}
            sign = {"metavar": METAVARS.get(field.annotation, "TEXT")}
            facts |= {"choices": said, "type": type(said[0])} if said else sign
        option = f"--{(field.alias or name).replace('_', '-')}"
        fields.add_argument(option, default=argparse.SUPPRESS, required=required, **facts)
    add_rendering(command)
    command.set_defaults(command=_render_one, kind=kind)


def _render_one(options: argparse.Namespace) -> None:
    """Renders one task per input file with the given options.

    ``--out`` is a folder, a file for a single task, or a pattern such as ``sad/{stem}-{seed}``. In a folder several
    results are named after their inputs, a single one after its options.
    """
    from gen.jobs.formats import with_format
    from gen.jobs.jobfile import standard
    from gen.jobs.plan import plan_tasks

    cls = task_class(options.kind)
    given = {name: value for name, value in vars(options).items() if name in cls.model_fields}
    if "-" in (str(options.out), *_words(given)):
        with TemporaryDirectory(prefix="affekt-pipe-") as place:
            _piped(options, cls, given, Path(place))
        return
    given = with_format(options.kind, options.out, given) if has_extension(options.out, options.kind) else given
    found: Sequence[File | None] = [None]
    many = False
    if needed := positional(cls):
        names = given[needed[-1]]
        found, many = files(names, needed[-1]), len(names) > 1 or several(names[0])
    one_by_one = [given | ({needed[-1]: str(file.path)} if file else {}) for file in found]
    tasks = [_checked(one) for one in one_by_one]
    folder = "{" in str(options.out) or options.out.is_dir() or not has_extension(options.out, options.kind)
    if len(tasks) == 1 and not folder:
        run_plan(plan_tasks({options.out.stem: tasks[0]}), options, options.out.parent)
        return
    pattern, wide = _pattern(options), len(str(len(tasks)))
    named_tasks: dict[str, Task] = {}
    for number, (file, one, task) in enumerate(zip(found, one_by_one, tasks, strict=True), start=1):
        own = one | {"stem": file and file.stem, "index": f"{number:0{wide}}"}
        value: Callable[[str], object] = lambda field, own=own, task=task: own.get(field, standard(task, field))
        if pattern:
            name = named(pattern, value, file.folder if file else "")
        else:
            name = named("{stem}", value, file.folder) if file and many else _described(cls, one, file)
        if name in named_tasks:
            raise InputError(f"{name} would name several results: put {{stem}} or {{index}} into --out")
        named_tasks[name] = task
    run_plan(plan_tasks(named_tasks), options)


def _words(given: dict[str, Plain]) -> list[Any]:
    return [word for value in given.values() for word in (value if isinstance(value, list) else [value])]


def _piped(options: argparse.Namespace, cls: type[Task], given: dict[str, Plain], place: Path) -> None:
    """Renders with "-" as an input file (standard input) or as ``--out`` (standard output)."""
    from gen.jobs.jobfile import paths_of
    from gen.jobs.plan import plan_tasks

    holds = {*paths_of(cls).values()}
    asked = [name for name in holds if "-" in _words({name: given.get(name)})]
    if len(asked) > 1 or any(given[name] not in ("-", ["-"]) for name in asked):
        raise InputError("standard input is one file: give - once and no other file")
    for name in asked:
        source = place / "stdin"
        source.write_bytes(sys.stdin.buffer.read())
        given[name] = [str(source)] if isinstance(given[name], list) else str(source)
        setattr(options, name, given[name])
    if str(options.out) != "-":
        _render_one(options)
        return
    single = {name: value[0] if name in holds and isinstance(value, list) else value for name, value in given.items()}
    if any(name in holds and isinstance(value, list) and len(value) > 1 for name, value in given.items()):
        raise InputError("standard output holds one result: give one input file, or a folder as --out")
    ends: dict[str, Event] = {}
    task = _checked(single)
    if getattr(task, "stream", False):
        _streamed(task, options.device)
        return
    with redirect_stdout(sys.stderr):
        run_plan(plan_tasks({"out": task}), options, place / "out", ends)
    (end,) = ends.values()
    sys.stdout.buffer.write(end.files[0].read_bytes())
    sys.stdout.buffer.flush()


def _streamed(task: Task, device: str) -> None:
    """Streams sound to standard output while it is rendered, as a WAV of unknown length with its manifest."""
    from gen import media, registry
    from gen.jobs.executors import pick_device
    from gen.provenance import manifest

    out, device = sys.stdout.buffer, pick_device(device)
    with redirect_stdout(sys.stderr):
        cls = registry.get("generator", task.kind)
        names = cls.checkpoints(task)
        facts = manifest(task, task.seed, device.split(":")[0], names, task.notes)
        sound = cls.from_pretrained(*names, device=device).stream(task)
        for at, block in enumerate(sound):
            head = b"" if at else media.wav_head(cls.rate, len(block), facts)
            out.write(head + (block.T.clip(-1, 1) * 32767).round().astype("<i2").tobytes())
            out.flush()


def _checked(given: dict[str, Any]) -> Task:
    """The task for some options, with absolute paths."""
    return with_paths(parse_task(given), Path.absolute)


def _pattern(options: argparse.Namespace) -> str | None:
    """The name pattern in ``options.out``, which is reduced to its folder; None if it is only a folder."""
    steps = options.out.parts
    here = next((at for at, step in enumerate(steps) if "{" in step), None)
    if here is None:
        return None
    options.out, name = Path(*steps[:here]), "/".join(steps[here:])
    return name.removesuffix(Path(name).suffix) if has_extension(name, options.kind) else name


UNNAMED = {"consent", "format", "codec"}  # the extension shows the format


def _described(cls: type[Task], given: dict[str, Any], file: File | None) -> str:
    """A result name from the given options."""
    from gen.jobs.jobfile import paths_of

    fields, needed, holds = cls.model_fields, positional(cls), {*paths_of(cls).values()}
    with_format = {name: v for name, v in given.items() if isinstance(v, str) and name not in UNNAMED}
    said = {"kind": given["kind"]} | with_format
    paths = {name: Path(v).stem for name, v in said.items() if name in holds}
    unnamed = {"kind", "emotion", *needed}  # their values suffice
    parts: list[str] = []
    for name, value in (said | paths).items():
        plain = "{stem}" if file and name == needed[-1] else slug(value)[:60]
        parts.append(plain if name in unnamed else f"{fields[name].alias or name}-{plain}")
    return named("-".join(parts)[:150].strip("-."), lambda field: file.stem if file and field == "stem" else None)
