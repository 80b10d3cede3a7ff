"""``affekt verify``."""

import json
from collections.abc import Callable
from pathlib import Path


def add(commands, path: Callable[[str], Path]) -> None:
    """Add the command to ``commands``; ``path`` turns an argument into one."""
    verify = commands.add_parser("verify", help="read every mark of a file: manifest, credentials, watermark")
    verify.add_argument("file", type=path)
    verify.add_argument("--json", action="store_true", help="as JSON")
    verify.set_defaults(command=_verify)


def _verify(options) -> None:
    from gen.marks.verify import report, verify

    found = verify(options.file)
    print(json.dumps(found, indent=1, ensure_ascii=False) if options.json else report(found))
