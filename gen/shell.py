"""``affekt completion`` and ``affekt man``: shell completion and the manual page."""

import argparse
import os
import sys
from importlib.util import find_spec

from gen.errors import InputError

SHELLS = ("bash", "zsh", "fish")


def add(commands) -> None:
    """Adds the commands to ``commands``."""
    completion = commands.add_parser("completion", help="print the shell completion script")
    completion.add_argument("shell", choices=SHELLS, help='eval "$(affekt completion bash)", or | source in fish')
    completion.set_defaults(command=_completion)
    man = commands.add_parser("man", help="print the manual page: affekt man > affekt.1")
    man.set_defaults(command=_man)


def _completion(options) -> None:
    _need("argcomplete")
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(shellcode(["affekt"], shell=options.shell) + "\n")


def _man(options) -> None:
    _need("argparse_manpage")
    from argparse_manpage.manpage import Manpage

    from gen.cli import build_parser

    sys.stdout.write(str(Manpage(build_parser((), whole=True))) + "\n")


def _need(package: str) -> None:
    if find_spec(package) is None:
        raise InputError("this needs the extra shell: run `pip install argcomplete argparse-manpage`")


def completing() -> list[str] | None:
    """The words of the command line to complete, without the program's name; None outside of completion."""
    if "_ARGCOMPLETE" not in os.environ or find_spec("argcomplete") is None:
        return None
    return os.environ.get("COMP_LINE", "").split()[1:]


def complete(parser: argparse.ArgumentParser) -> None:
    """Prints the completions and exits."""
    import argcomplete

    argcomplete.autocomplete(parser)
