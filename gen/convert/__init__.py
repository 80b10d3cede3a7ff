"""Published weights into our folders: fetch at a pinned revision, verify, convert once, note the licence.

A converter is registered under the kind ``converter`` and is called as ``convert(source: Path, out: Path)``: it reads
the release's files in ``source`` (a file or a folder) and writes ``config.json`` and safetensors into ``out``.
"""

import shutil
from pathlib import Path

from gen import checkpoints, registry
from gen.errors import CheckpointError, InputError


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


def pull(name: str) -> Path:
    """Fetch a published checkpoint into the user's cache, verify every file, and convert it where it needs that."""
    entry = checkpoints.index().get(name, {})
    if "repo" not in entry:
        published = [known for known, facts in checkpoints.index().items() if "repo" in facts]
        raise CheckpointError(
            f"{name!r} is not on a model hub (there: {', '.join(published) or 'none yet'}): "
            "`affekt checkpoints list` shows what lies here already."
        )
    out = checkpoints.roots()[-1] / name
    source = out.parent.parent / "downloads" / name if "converter" in entry else out
    _download(entry["repo"], entry["revision"], list(entry["downloads"]), source)
    checkpoints.compare(source, entry["downloads"], f"remove {source} and pull again")
    if "converter" in entry:
        return convert(entry["converter"], source, out)
    facts = {key: entry[key] for key in ("licence", "origin", "non_commercial")}
    checkpoints.add(name, root=out.parent, **facts)
    return out


def _download(repo: str, revision: str, wanted: list[str], place: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError

    try:
        snapshot_download(repo, revision=revision, allow_patterns=wanted, local_dir=place)
    except (OSError, HTTPError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{repo} could not be fetched ({reason}): go online and pull again.") from None
