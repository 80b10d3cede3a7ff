"""Published weights into our folders: convert once, note the licence (:mod:`gen.convert.pull` fetches them).

A converter is registered under the kind ``converter`` and is called as ``convert(source: Path, out: Path)``: it reads
the release's files in ``source`` (a file or a folder) and writes ``config.json`` and safetensors into ``out``.
"""

import shutil
from pathlib import Path

from gen import checkpoints, registry
from gen.errors import InputError


def convert(name: str, source: Path, out: Path) -> Path:
    """Run the converter called ``name``; the result appears at ``out`` as a whole, with its index entry."""
    if not source.exists():
        raise InputError(f"{source} does not exist: give the folder or file of the published weights with --from.")
    converter = registry.get("converter", name)
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    converter(source, draft)
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)
    known = checkpoints.index().get(out.name, {})
    checkpoints.add(
        out.name,
        root=out.parent,
        licence=known.get("licence", "as its publisher states"),
        origin=known.get("origin", f"converted from {source.name}"),
        non_commercial=known.get("non_commercial", False),
    )
    return out

