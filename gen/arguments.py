"""Argument parser that raises :class:`InputError`, and argument types."""

import argparse
import re
from pathlib import Path

from gen.errors import InputError

text, path = str, Path  # the types of options


class Parser(argparse.ArgumentParser):
    """Raises :class:`InputError` for mistakes. Only ``-h`` is an option with one dash, so other arguments with a dash,
    such as ``-sad``, are values.
    """

    def __init__(self, **facts):
        super().__init__(allow_abbrev=False, **facts)
        self._negative_number_matcher = re.compile(r"-(?!h$)[^-]")  # arguments that argparse never reads as options

    def parse_args(self, args, namespace=None):
        """As argparse's, but unknown arguments are those of the command that was given."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise InputError(f"unrecognized arguments: {' '.join(unknown)}; see `{self.prog} {args[0]} --help`")
        return options

    def error(self, message: str):
        raise InputError(f"{message}; see `{self.prog} --help`")
