"""Converts upstream weights to the project's format and records their licence (:mod:`gen.convert.pull` downloads them).

A converter is registered under the kind ``converter`` and called as ``convert(source: Path, out: Path)``: it reads the
upstream files in ``source`` (a file or a folder) and writes ``config.json`` and safetensors to ``out``.
"""

import shutil
from pathlib import Path

from gen import checkpoints, registry
from gen.errors import InputError


def convert(name: str, source: Path, out: Path) -> Path:
    """Runs the converter ``name``; the result appears at ``out`` atomically, with its index entry."""
    if not source.exists():
        raise InputError(f"{source} does not exist: give the folder or file of the upstream weights with --from.")
    converter = registry.get("converter", name)
    if out.exists() and not checkpoints.entry_of(out) and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} exists and is not a converted checkpoint: give another --out.")
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
