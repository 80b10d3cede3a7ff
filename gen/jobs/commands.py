"""The commands ``affekt plan | render | schema``, and the options of all commands that render."""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen.arguments import path, text
from gen.errors import InputError, RenderError
from gen.jobs.inputs import MEDIA, has_extension
from gen.notes import note

if TYPE_CHECKING:
    from gen.jobs.plan import Plan
    from gen.jobs.run import Event


def add(commands: Any) -> None:
    """Adds the commands to ``commands``."""
    plan = commands.add_parser("plan", help="check a job file; show its graph and what is cached")
    render = commands.add_parser("render", help="render a job file; resumes an interrupted run")
    for command, function in ((plan, _plan), (render, _render)):
        again = "; or a rendered file, to render it again" if command is render else ""
        command.add_argument("file", type=path, help=f"YAML with `defaults` and `jobs`{again}")
        command.add_argument("--shard", type=_shard, metavar="I/N", help="render only share I of N (by content)")
        command.set_defaults(command=function)
    render.add_argument(
        "--inputs",
        type=path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="more folders to search for the inputs of a file that is rendered again",
    )
    plan.add_argument("--json", action="store_true", help="one JSON line per item")
    plan.add_argument("--cache", type=path, help="cache of finished items (default: $AFFEKT_CACHE or .cache/affekt)")
    add_rendering(render)
    schema = commands.add_parser("schema", help="print the JSON Schema of job files, for editors and validators")
    schema.set_defaults(command=_schema)


def _schema(options: argparse.Namespace) -> None:
    from gen.jobs.jsonschema import schema

    print(json.dumps(schema(), indent=1))


def add_rendering(command: argparse.ArgumentParser) -> None:
    """Adds the options for outputs and rendering."""
    group = command.add_argument_group("rendering")
    places = "output folder; for a single task also a file name, or - for standard output (default: out)"
    group.add_argument("--out", type=path, default=Path("out"), help=places)
    group.add_argument("--cache", type=path, help="cache of finished items (default: $AFFEKT_CACHE or .cache/affekt)")
    group.add_argument("--device", type=text, default="auto", help="cpu, cuda, cuda:1 (default: a GPU if available)")
    group.add_argument("--workers", type=_count, default=1, help="parallel processes (default: 1)")
    group.add_argument("--on", choices=("local", "ray"), default="local", help="where the workers run")
    group.add_argument("--json", action="store_true", help="print JSON lines instead of a progress bar")
    group.add_argument(
        "--report",
        type=_report,
        action="append",
        default=[],
        metavar="FILE",
        help="also write the final state of each item, as .csv or .json",
    )
    clash = command.add_argument_group(
        "if a file with the result's name exists (default: replace an earlier result "
        "with a note, refuse any other file)"
    )
    clash = clash.add_mutually_exclusive_group()
    clash.add_argument(
        "--overwrite",
        dest="clash",
        action="store_const",
        const="overwrite",
        default="own",
        help="replace it, even if Affekt did not render it",
    )
    clash.add_argument(
        "--skip-existing",
        dest="clash",
        action="store_const",
        const="skip",
        default="own",
        help="keep it and skip the item",
    )
    clash.add_argument(
        "--on-clash", dest="clash", choices=("number",), default="own", help="keep both: NAME-2, NAME-3, ..."
    )


def _report(argument: str) -> Path:
    if not argument.endswith((".csv", ".json")):
        raise argparse.ArgumentTypeError(f"give a file name with the extension .csv or .json, not {text(argument)}")
    return path(argument)


def _count(argument: str) -> int:
    argument = text(argument)
    if not argument.isdecimal() or argument == "0":
        raise argparse.ArgumentTypeError(f"give a number of at least 1, not {argument}")
    return int(argument)


def _shard(argument: str) -> tuple[int, int]:
    argument = text(argument)
    match = re.fullmatch(r"(\d+)/(\d+)", argument)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"give a share such as 2/5, not {argument}")
    return int(match[1]), int(match[2])


def _read_plan(options: argparse.Namespace) -> "Plan":
    from gen.jobs.plan import plan_file

    plan = plan_file(options.file)
    return plan.shard(*options.shard) if options.shard else plan


def _plan(options: argparse.Namespace) -> None:
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
    table(rows)
    for item in items:
        for sentence in item.notes:
            note(sentence)
    print(f"{len(items)} items, {sum(cached.values())} cached, {len(items) - sum(cached.values())} to render")


def _render(options: argparse.Namespace) -> None:
    if options.file.suffix.lower() in MEDIA:
        _render_again(options)
        return
    if options.out.suffix.lower() in MEDIA:
        raise InputError(f"a job file can have many results: give a folder as --out, not {options.out}")
    counts = run_plan(_read_plan(options), options)
    if not options.json:
        skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        print(f"{options.out}: {counts['rendered']} rendered, {counts['cached']} from the cache{skipped}")


def _render_again(options: argparse.Namespace) -> None:
    """Renders a file again from its manifest, without the cache, and compares the two."""
    from tempfile import TemporaryDirectory

    from gen.jobs import again
    from gen.jobs.cache import default_root
    from gen.jobs.plan import plan_tasks

    places = [*options.inputs, options.file.absolute().parent, Path.cwd(), options.cache or default_root()]
    made, before = again.read(options.file, places), options.file.read_bytes()
    options.device = "cpu" if (options.device, made.manifest.get("device")) == ("auto", "cpu") else options.device
    options.clash = "number" if options.clash == "own" else options.clash
    ends: dict[str, Event] = {}
    with TemporaryDirectory(prefix="affekt-again-") as fresh:
        options.cache = Path(fresh)
        single = has_extension(options.out, made.task.kind)
        name, out = (options.out.stem, options.out.parent) if single else (options.file.stem, options.out)
        run_plan(plan_tasks({name: made.task}), options, out, ends)
    (end,) = ends.values()
    if end.state == "skipped":
        return
    files = [path for path in end.files if path.suffix.lower() == options.file.suffix.lower()]
    same = next((path for path in files if path.read_bytes() == before), None)
    outcome = f"{same}: identical to {options.file}"
    changed: list[str] = []
    if same is None:
        from gen.jobs.executors import pick_device

        changed = again.changes(made, pick_device(options.device).split(":")[0])
        if signed := any(again.same_content(options.file, path) for path in files):
            changed = ["the signature, which differs each time"]
        why = "; ".join(changed) or "nothing in its manifest; libraries or processor may differ"
        outcome = f"{files[0] if files else options.out} differs from {options.file}{' only' * signed} in bytes: {why}"
    print(json.dumps({"event": "compared", "same": same is not None, "changed": changed}) if options.json else outcome)


def run_plan(
    plan: "Plan", options: argparse.Namespace, out: Path | None = None, ends: "dict[str, Event] | None" = None
) -> Counter[str]:
    """Renders with a progress bar or JSON lines and counts items by state; raises :class:`RenderError` if any failed.

    ``out`` replaces ``options.out``; ``ends`` collects the final event of each item, by id.
    """
    from gen.jobs import progress
    from gen.jobs.cache import Cache, default_root
    from gen.jobs.run import run

    total, cache = len(plan.wanted), Cache(options.cache or default_root())
    how = {name: vars(options)[name] for name in ("workers", "device", "on", "clash")}
    ends, place = {} if ends is None else ends, out or options.out

    def report(event: "Event") -> None:
        if event.state not in ("progress", "note"):
            ends[event.id] = event
        tell(event)

    try:
        with (progress.json_lines if options.json else progress.bar)(total) as tell:
            states = run(plan, place, cache, report, **how)
    finally:
        for file in options.report:
            progress.write_report(file, plan, ends)
    counts = Counter(states.values())
    if lost := counts["failed"] + counts["blocked"]:
        raise RenderError(f"{lost} of {total} items failed; {place}/**/*.error.json has the reason.")
    return counts


def table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
