"""The command of a kind, such as ``affekt voice``: positional input files, and an option per field of a job."""

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args, get_origin

from gen.arguments import text
from gen.errors import InputError
from gen.jobs.commands import add_rendering, run_plan
from gen.jobs.inputs import files, has_extension, named, positional, several, slug

METAVARS = {int: "N", float: "X", Path: "FILE"}
METAVARS |= {kind | None: sign for kind, sign in METAVARS.items()}


def add(command: argparse.ArgumentParser, kind: str) -> None:
    """Adds options for the fields of a kind's task class; required files are positional."""
    from gen.jobs.schema import choices, task_class

    fields = command.add_argument_group(f"fields of a {kind} job")
    cls = task_class(kind)
    needed = positional(cls)
    for name, field in cls.model_fields.items():
        if name == "kind":
            continue
        if name in needed:
            many = {"nargs": "+"} if name == needed[-1] else {}
            fields.add_argument(name, metavar=name.upper(), type=text, help=field.description, **many)
            continue
        required, default = field.is_required(), field.get_default(call_default_factory=True)
        note = "required" if required else "optional" if default is None else f"default: {default}"
        facts = {"help": f"{field.description or ''} ({note})".strip().replace("%", "%%"), "dest": name}
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


def _render_one(options) -> None:
    """Renders one task per input file with the given options.

    ``--out`` is a folder, a file for a single task, or a pattern such as ``sad/{stem}-{seed}``. In a folder several
    results are named after their inputs, a single one after its options.
    """
    from gen.jobs.formats import with_format
    from gen.jobs.jobfile import standard
    from gen.jobs.plan import plan_tasks
    from gen.jobs.schema import task_class

    cls = task_class(options.kind)
    given = {name: value for name, value in vars(options).items() if name in cls.model_fields}
    if "-" in (str(options.out), *_words(given)):
        with TemporaryDirectory(prefix="affekt-pipe-") as place:
            _piped(options, cls, given, Path(place))
        return
    given = with_format(options.kind, options.out, given) if has_extension(options.out, options.kind) else given
    found = [None]
    if needed := positional(cls):
        many = given[needed[-1]]
        found, many = files(many, needed[-1]), len(many) > 1 or several(many[0])
    one_by_one = [given | ({needed[-1]: str(file.path)} if file else {}) for file in found]
    tasks = [_checked(one) for one in one_by_one]
    folder = "{" in str(options.out) or options.out.is_dir() or not has_extension(options.out, options.kind)
    if len(tasks) == 1 and not folder:
        run_plan(plan_tasks({options.out.stem: tasks[0]}), options, options.out.parent)
        return
    pattern, wide = _pattern(options), len(str(len(tasks)))
    names = {}
    for number, (file, one, task) in enumerate(zip(found, one_by_one, tasks, strict=True), start=1):
        own = {"stem": file and file.stem, "index": f"{number:0{wide}}"}
        value = lambda field, own=own, one=one, task=task: own.get(field, one.get(field, standard(task, field)))
        if pattern:
            name = named(pattern, value, file.folder if file else "")
        else:
            name = named("{stem}", value, file.folder) if file and many else _described(cls, one, file)
        if name in names:
            raise InputError(f"{name} would name several results: put {{stem}} or {{index}} into --out")
        names[name] = task
    run_plan(plan_tasks(names), options)


def _words(given: dict) -> list:
    return [word for value in given.values() for word in (value if isinstance(value, list) else [value])]


def _piped(options, cls, given: dict, place: Path) -> None:
    """Renders with "-" as an input file (standard input) or as ``--out`` (standard output)."""
    from gen.jobs.plan import plan_tasks

    types = {name: (field.annotation, *get_args(field.annotation)) for name, field in cls.model_fields.items()}
    holds = [name for name, kinds in types.items() if Path in kinds]
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
    if any(isinstance(given.get(name), list) and len(given[name]) > 1 for name in holds):
        raise InputError("standard output holds one result: give one input file, or a folder as --out")
    ends, task = {}, _checked(single)
    if getattr(task, "stream", False):
        _streamed(task, options.device)
        return
    with redirect_stdout(sys.stderr):
        run_plan(plan_tasks({"out": task}), options, place / "out", ends)
    (end,) = ends.values()
    sys.stdout.buffer.write(end.files[0].read_bytes())
    sys.stdout.buffer.flush()


def _streamed(task, device: str) -> None:
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


def _checked(given: dict):
    """The task for some options, with absolute paths."""
    from gen.jobs.schema import parse_task, with_paths

    return with_paths(parse_task(given), Path.absolute)


def _pattern(options) -> str | None:
    """The name pattern in ``options.out``, which is reduced to its folder; None if it is only a folder."""
    steps = options.out.parts
    here = next((at for at, step in enumerate(steps) if "{" in step), None)
    if here is None:
        return None
    options.out, name = Path(*steps[:here]), "/".join(steps[here:])
    return name.removesuffix(Path(name).suffix) if has_extension(name, options.kind) else name


UNNAMED = {"consent", "format", "codec"}  # the extension shows the format


def _described(cls, given: dict, file) -> str:
    """A result name from the given options."""
    fields, needed = cls.model_fields, positional(cls)
    with_format = {name: v for name, v in given.items() if isinstance(v, str) and name not in UNNAMED}
    said = {"kind": given["kind"]} | with_format
    holds = lambda name: Path in (fields[name].annotation, *get_args(fields[name].annotation))
    paths = {name: Path(v).stem for name, v in said.items() if holds(name)}
    unnamed = {"kind", "emotion", *needed}  # their values suffice
    parts = []
    for name, value in (said | paths).items():
        plain = "{stem}" if file and name == needed[-1] else slug(value)[:60]
        parts.append(plain if name in unnamed else f"{fields[name].alias or name}-{plain}")
    return named("-".join(parts)[:150].strip("-."), lambda field: file.stem if field == "stem" else None)
