"""How commands read their arguments: a parser whose mistakes are :class:`InputError`, and the types of values."""

import argparse
from pathlib import Path

from gen.errors import InputError

TEXT = "\0"  # put before an argument such as "-sad", so that argparse does not take it for an option


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


def text(argument: str) -> str:
    return argument.removeprefix(TEXT)


def path(argument: str) -> Path:
    return Path(text(argument))
