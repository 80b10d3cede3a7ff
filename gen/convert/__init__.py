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
    if out.exists() and not checkpoints.entry_of(out) and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} is there already and is no checkpoint that was converted: give another --out.")
    draft = out.absolute().with_name(f".{out.absolute().name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        converter(source, draft)
        shutil.rmtree(out, ignore_errors=True)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    known = checkpoints.index().get(out.name, {})
    checkpoints.add(
        out.name,
        root=out.parent,
        licence=known.get("licence", "as its publisher states"),
        origin=known.get("origin", f"converted from {source.name}"),
        non_commercial=known.get("non_commercial", False),
    )
    return out

