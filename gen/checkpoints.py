"""Where trained weights are, whether they are the right ones, and under which licence.

A checkpoint is a folder of ``config.json`` and safetensors, in parts for a model of several networks. ``index.toml``
beside the folders gives origin, licence and the sha256 of each file. A name is looked for in the checkout's
``checkpoints/``, in ``$AFFEKT_CHECKPOINTS`` and in the user's cache, in this order. A path, which has a separator in it
(``./mine``, ``out/checkpoint``), stands for itself: a folder in the working directory is never taken for a name.
"""

import hashlib
import json
import logging
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import TypeVar

from platformdirs import user_cache_path

from gen.errors import CheckpointError

log = logging.getLogger(__name__)
M = TypeVar("M")

UNHASHED = {".md", ".toml"}  # cards and notes may change without changing what a model does


def roots() -> list[Path]:
    """Folders that may hold checkpoints, nearest first; the last one, the user's cache, is where new ones go."""
    checkout = Path(__file__).parent.parent / "checkpoints"
    chosen = os.environ.get("AFFEKT_CHECKPOINTS")
    return [checkout, *([Path(chosen)] if chosen else []), user_cache_path("affekt", appauthor=False) / "checkpoints"]


def index() -> dict[str, dict]:
    """Every known checkpoint: name -> licence (an SPDX expression), origin, non_commercial, files {path: {sha256,
    bytes}}, ..."""
    entries: dict[str, dict] = {}
    for root in reversed(roots()):
        for name, entry in _read(root / "index.toml").items():
            entries[name] = entries.get(name, {}) | entry
    return entries


def folder(name: str | Path) -> Path:
    """The folder of a checkpoint, by name or by path; raises :class:`CheckpointError` where there is none."""
    places = [Path(name)] if is_path(name) else [root / name for root in roots()]
    for place in places:
        if place.is_dir():
            return place
    mend = _mend(str(name)) if str(name) in index() else "`affekt checkpoints list` shows what there is"
    if Path(name).is_dir():
        mend = f"the folder of that name in the working directory is ./{name}"
    raise CheckpointError(f"There is no checkpoint {str(name)!r}{'' if is_path(name) else _looked()}: {mend}.")


def _looked() -> str:
    """Where checkpoints are looked for, and the variable that adds a folder."""
    chosen = os.environ.get("AFFEKT_CHECKPOINTS")
    said = "" if chosen else "; AFFEKT_CHECKPOINTS, which may name another folder, is not set"
    return f" in {', '.join(map(str, roots()))}{said}"


def known() -> dict[str, dict]:
    """:func:`index`; raises :class:`CheckpointError` where there is none, as in an installation without its weights."""
    if found := index():
        return found
    raise CheckpointError(f"There is no index.toml{_looked()}: set AFFEKT_CHECKPOINTS to the folder that has it.")


def is_path(name: str | Path) -> bool:
    """Whether a checkpoint is given by its path, not by its name."""
    return isinstance(name, Path) or any(sign in name for sign in (os.sep, os.altsep) if sign) or name in (".", "..")


def sha256(path: Path) -> str:
    """Digest of a file, computed once per process for the same path, size and time of change."""
    stat = path.stat()
    return _sha256(str(path), stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(place: Path) -> dict[str, Path]:
    """What a checkpoint consists of: path inside the folder -> path, sorted."""
    found = {path.relative_to(place): path for path in sorted(place.rglob("*")) if path.is_file()}
    return {
        part.as_posix(): path
        for part, path in found.items()
        if path.suffix not in UNHASHED and not any(step.startswith(".") for step in part.parts)
    }


@cache
def digest(name: str) -> str:
    """One sha256 for the whole checkpoint, after its files were compared with its index, if there is one; once per
    process."""
    _compared(folder(name))
    listed = {part: sha256(path) for part, path in files(folder(name)).items()}
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def verify(name: str) -> None:
    """Compare every file with the index; raises :class:`CheckpointError` naming the first wrong one, and where no index
    names the checkpoint."""
    place = folder(name)
    if not _compared(place):
        raise CheckpointError(f"No index lists the files of {place}, so there is nothing to compare them with.")


def _compared(place: Path) -> bool:
    """Compare the files of a folder with its index entry; False where it has none, as the output of a training."""
    entry = entry_of(place)
    if "files" not in entry:
        return False
    compare(place, entry["files"], _mend(place.name))
    if unknown := files(place).keys() - entry["files"].keys():
        raise CheckpointError(f"{place / min(unknown)} is not in the index: remove it, or add the folder again.")
    return True


def status() -> list[dict]:
    """For every checkpoint that an index names: name, megabytes, licence, origin and state, verified just now."""
    rows = []
    for name, entry in sorted(known().items()):
        size = sum(facts["bytes"] for facts in entry.get("files", entry.get("downloads", {})).values())
        state = "verified"
        try:
            verify(name)
        except CheckpointError as error:
            state = str(error) if any((root / name).is_dir() for root in roots()) else "not here"
        facts = {"name": name, "megabytes": round(size / 1e6, 2), "licence": entry["licence"]}
        rows.append(facts | {"origin": entry["origin"], "state": state})
    return rows


def compare(place: Path, wanted: dict[str, dict], mend: str) -> None:
    """Check the files of a folder against ``{path: {sha256, bytes}}``; the error ends with how to ``mend`` it."""
    for part, facts in wanted.items():
        path = place / part
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: {mend}.")
        if (found := sha256(path)) != facts["sha256"]:
            raise CheckpointError(
                f"{path} is damaged or was altered ({path.stat().st_size} of {facts['bytes']} bytes; "
                f"its sha256 is {found} and must be {facts['sha256']}): {mend}."
            )


def entry_of(place: Path) -> dict:
    """The index entry of a folder: of its name where it lies in one of :func:`roots`, else of the index beside it."""
    if place.parent.resolve() in [root.resolve() for root in roots()]:
        return index().get(place.name, {})
    return _read(place.parent / "index.toml").get(place.name, {})


def load(name: str, cls: type[M], part: str = "") -> M:
    """``cls.from_pretrained`` on a verified folder, or on one part of it; safetensors only."""
    digest(name)
    _say_licence(name)
    return cls.from_pretrained(
        folder(name) / part, use_safetensors=True, low_cpu_mem_usage=False, local_files_only=True
    )


def save(model, place: Path) -> None:
    """Write a diffusers model as ``config.json`` and safetensors, without the path that it was read from."""
    model.save_pretrained(place, safe_serialization=True)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    if config.pop("_name_or_path", None) is not None:
        (place / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def add(name: str, *, licence: str, origin: str, non_commercial: bool = False, root: Path | None = None) -> None:
    """Write a checkpoint's entry, with the digests of its files, into the index beside its folder; ``licence`` is an
    SPDX expression, and what it does not say may stand in the entry as ``terms``."""
    place = root / name if root else folder(name)
    name = place.name
    path = place.parent / "index.toml"
    entries = _read(path)
    listed = {part: {"sha256": sha256(p), "bytes": p.stat().st_size} for part, p in files(place).items()}
    facts = {"licence": licence, "origin": origin, "non_commercial": non_commercial, "files": listed}
    entries[name] = entries.get(name, {}) | facts
    text = "\n".join(_toml(key, entries[key]) for key in sorted(entries))
    draft = path.with_name(f".index.toml.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
    digest.cache_clear()


def _say_licence(name: str) -> None:
    entry = entry_of(folder(name))
    if entry.get("non_commercial"):
        _say_once(f"{name} is under {entry['licence']}: not for commercial use")


@cache
def _say_once(text: str) -> None:
    log.warning(text)


def _mend(name: str) -> str:
    if index().get(name, {}).keys() & {"repo", "packages"}:
        return f"`affekt checkpoints pull {name}` fetches it"
    if "converter" in index().get(name, {}):
        return f"`affekt checkpoints convert {name} --from FOLDER` makes it from its publisher's files"
    return f"`git restore checkpoints/{name}` brings it back"


def _read(path: Path) -> dict[str, dict]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CheckpointError(f"{path} is not valid TOML ({error}): mend it, or restore it.") from None


def _toml(name: str, entry: dict) -> str:
    """One entry as TOML; JSON writes strings, numbers and booleans the same way."""
    lines = [f"[{json.dumps(name)}]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in entry.items() if not isinstance(value, dict)]
    for table in ("downloads", "packages", "files"):
        if table in entry:
            lines.append(f"[{json.dumps(name)}.{table}]")
            lines += [f"{json.dumps(part)} = {_inline(facts)}" for part, facts in entry[table].items()]
    return "\n".join(lines) + "\n"


def _inline(value) -> str:
    """A string, a number, or an inline table of them."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_inline(part)}" for key, part in value.items()) + " }"
    return json.dumps(value)


def _key(name: str) -> str:
    return name if name.isidentifier() else json.dumps(name)
