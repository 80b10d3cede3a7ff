"""Finds checkpoints, verifies their files, and reports their licences.

A checkpoint is a folder of ``config.json`` and safetensors, in parts for a model of several networks. ``index.toml``
beside the folders gives origin, licence and the sha256 of each file. Names are searched in the checkout's
``checkpoints/``, in ``$AFFEKT_CHECKPOINTS`` and in the user's cache, in this order. A path, which contains a separator
(``./mine``, ``out/checkpoint``), is used as given: a folder in the working directory is never read as a name.
"""

import hashlib
import json
import logging
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from platformdirs import user_cache_path

from gen.errors import CheckpointError

log = logging.getLogger(__name__)
M = TypeVar("M")

UNHASHED = {".md", ".toml"}  # cards and notes do not affect the model


def roots() -> list[Path]:
    """Folders that may hold checkpoints, nearest first; new ones are stored in the last, the user's cache."""
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
    """The folder of a checkpoint, by name or by path; raises :class:`CheckpointError` if there is none."""
    places = [Path(name)] if is_path(name) else [root / name for root in roots()]
    for place in places:
        if place.is_dir():
            return place
    remedy = _remedy(str(name)) if str(name) in index() else "`affekt checkpoints list` lists all"
    if Path(name).is_dir():
        remedy = f"the folder of that name in the working directory is ./{name}"
    raise CheckpointError(f"no checkpoint {str(name)!r}{'' if is_path(name) else _searched()}: {remedy}.")


def _searched() -> str:
    """The folders searched for checkpoints, and the variable that adds a folder."""
    chosen = os.environ.get("AFFEKT_CHECKPOINTS")
    hint = "" if chosen else "; AFFEKT_CHECKPOINTS, which adds a folder, is not set"
    return f" in {', '.join(map(str, roots()))}{hint}"


def known() -> dict[str, dict]:
    """:func:`index`; raises :class:`CheckpointError` if it is empty, as in an installation without weights."""
    if found := index():
        return found
    raise CheckpointError(f"no index.toml{_searched()}: set AFFEKT_CHECKPOINTS to the folder with index.toml.")


def is_path(name: str | Path) -> bool:
    """True if a checkpoint is given by path, not by name."""
    return isinstance(name, Path) or any(sign in name for sign in (os.sep, os.altsep) if sign) or name in (".", "..")


def sha256(path: Path) -> str:
    """Hash of a file, computed once per process for the same path, size and modification time."""
    stat = path.stat()
    return _sha256(str(path), stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(place: Path) -> dict[str, Path]:
    """The files of a checkpoint: path inside the folder -> path, sorted."""
    found = {path.relative_to(place): path for path in sorted(place.rglob("*")) if path.is_file()}
    return {
        part.as_posix(): path
        for part, path in found.items()
        if path.suffix not in UNHASHED and not any(step.startswith(".") for step in part.parts)
    }


@cache
def digest(name: str) -> str:
    """One sha256 for the whole checkpoint, after verification against its index, if any; cached per process."""
    _compared(folder(name))
    listed = {part: sha256(path) for part, path in files(folder(name)).items()}
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def verify(name: str) -> None:
    """Compares every file with the index; raises :class:`CheckpointError` for the first wrong file, or if no index
    lists the checkpoint."""
    place = folder(name)
    if not _compared(place):
        raise CheckpointError(f"no index lists the files of {place}: they cannot be verified.")


def _compared(place: Path) -> bool:
    """Compares the files of a folder with its index entry; False if it has none, as a training's output."""
    entry = entry_of(place)
    if "files" not in entry:
        return False
    compare(place, entry["files"], _remedy(place.name))
    if unknown := files(place).keys() - entry["files"].keys():
        raise CheckpointError(f"{place / min(unknown)} is not in the index: remove it, or add the folder again.")
    return True


def status() -> list[dict]:
    """For every indexed checkpoint: name, megabytes, licence, origin and state, verified now."""
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


def compare(place: Path, wanted: dict[str, dict], remedy: str) -> None:
    """Checks the files of a folder against ``{path: {sha256, bytes}}``; ``remedy`` is the remedy named in the error."""
    for part, facts in wanted.items():
        path = place / part
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: {remedy}.")
        if (found := sha256(path)) != facts["sha256"]:
            raise CheckpointError(
                f"{path} is damaged or altered ({path.stat().st_size} of {facts['bytes']} bytes; "
                f"its sha256 is {found} and must be {facts['sha256']}): {remedy}."
            )


def entry_of(place: Path) -> dict:
    """The index entry of a folder: by its name if it is in one of :func:`roots`, else from the index beside it."""
    if place.parent.resolve() in [root.resolve() for root in roots()]:
        return index().get(place.name, {})
    return _read(place.parent / "index.toml").get(place.name, {})


def verified(name: str) -> Path:
    """The folder of a checkpoint that is about to be loaded: compared with its index, and its licence told once."""
    digest(name)
    _log_licence(name)
    return folder(name)


def load(name: str, cls: type[M], part: str = "") -> M:
    """``cls.from_pretrained`` on a verified folder or a part of it; safetensors only."""
    model: Any = cls
    return model.from_pretrained(
        verified(name) / part, use_safetensors=True, low_cpu_mem_usage=False, local_files_only=True
    )


def save(model, place: Path) -> None:
    """Writes a diffusers model as ``config.json`` and safetensors, without the path it was loaded from."""
    model.save_pretrained(place, safe_serialization=True)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    if config.pop("_name_or_path", None) is not None:
        (place / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def add(name: str, *, licence: str, origin: str, non_commercial: bool = False, root: Path | None = None) -> None:
    """Writes a checkpoint's entry, with the hashes of its files, to the index beside its folder; ``licence`` is an SPDX
    expression; further terms may be in the entry as ``terms``."""
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


def _log_licence(name: str) -> None:
    entry = entry_of(folder(name))
    if entry.get("non_commercial"):
        _log_once(f"{name} is under {entry['licence']}: not for commercial use")


@cache
def _log_once(text: str) -> None:
    log.warning(text)


def _remedy(name: str) -> str:
    if index().get(name, {}).keys() & {"repo", "packages"}:
        return f"`affekt checkpoints pull {name}` downloads it"
    if "converter" in index().get(name, {}):
        return f"`affekt checkpoints convert {name} --from FOLDER` converts it from the upstream files"
    return f"`git restore checkpoints/{name}` restores it"


def _read(path: Path) -> dict[str, dict]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CheckpointError(f"{path} is not valid TOML ({error}): fix or restore it.") from None


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
