"""How commands read their arguments: a parser whose mistakes are :class:`InputError`, and the types of values."""

import argparse
import re
from pathlib import Path

from gen.errors import InputError

text, path = str, Path  # the types of options


class Parser(argparse.ArgumentParser):
    """Says what is wrong as an :class:`InputError`. No option but ``-h`` has one dash, so that what begins with one,
    such as ``-sad``, is a value.
    """

    def __init__(self, **facts):
        super().__init__(allow_abbrev=False, **facts)
        self._negative_number_matcher = re.compile(r"-(?!h$)[^-]")  # what argparse never takes for an option

    def error(self, message: str):
        raise InputError(f"{message}; see `{self.prog} --help`")
