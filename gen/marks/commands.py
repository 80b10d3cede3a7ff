"""``affekt verify``."""

import json
from collections.abc import Callable
from pathlib import Path


def add(commands, path: Callable[[str], Path]) -> None:
    """Add the command to ``commands``; ``path`` turns an argument into one."""
    verify = commands.add_parser("verify", help="read every mark of a file: manifest, credentials, watermark")
    verify.add_argument("files", type=path, nargs="+", metavar="FILE")
    verify.add_argument("--json", action="store_true", help="a line of JSON for each file")
    verify.set_defaults(command=_verify)


def _verify(options) -> None:
    from gen.marks.verify import report, verify

    for file in options.files:
        found = verify(file)
        print(json.dumps(found, ensure_ascii=False) if options.json else f"{report(found)}\n")
