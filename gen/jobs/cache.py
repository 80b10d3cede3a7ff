"""The content-addressed cache of finished items, and the copy of items into the output folder.

``<root>/<first two of key>/<key>/`` holds the files of one item and ``item.json``, which lists the files and the notes.
The folder is created by one rename after its files were verified and synced, so an existing folder is complete.
"""

import json
import os
import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from uuid import uuid4

from gen.errors import InputError, RenderError
from gen.notes import note
from gen.provenance import sidecar

RECORD = "item.json"
ABANDONED = 86400.0  # seconds after which a draft is taken to belong to a killed run


def default_root() -> Path:
    return Path(os.environ.get("AFFEKT_CACHE") or Path(".cache") / "affekt")


class Cache:
    """Finished items by key."""

    def __init__(self, root: Path):
        self.root = root.absolute()

    def entry(self, key: str) -> Path:
        return self.root / key[:2] / key

    def __contains__(self, key: str) -> bool:
        return self.entry(key).is_dir()

    def files(self, key: str) -> list[Path]:
        """All files of an item, the generator's main output first."""
        return [self.entry(key) / name for name in self._record(key)["files"]]

    def notes(self, key: str) -> tuple[str, ...]:
        """The notes recorded while an item was rendered."""
        return tuple(self._record(key)["notes"])

    def _record(self, key: str) -> dict[str, list[str]]:
        return json.loads((self.entry(key) / RECORD).read_text(encoding="utf-8"))

    @contextmanager
    def draft(self) -> Generator[Path]:
        """Yields a temporary folder on the cache's file system and deletes it afterwards."""
        folder = self.root / "drafts" / uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # a committed draft has been renamed

    def commit(self, draft: Path, key: str, outputs: Sequence[Path], notes: Sequence[str] = ()) -> None:
        """Stores a draft as the finished item ``key``; ``outputs`` are the generator's files, the main one first."""
        from gen.media import check

        if not outputs:
            raise RenderError("The generator wrote no file: please report this bug.")
        for path in outputs:
            check(path)
        others = sorted(path for path in draft.iterdir() if path not in outputs)
        names = [path.relative_to(draft).as_posix() for path in (*outputs, *others)]
        (draft / RECORD).write_text(json.dumps({"files": names, "notes": [*notes]}), encoding="utf-8")
        for path in (*draft.iterdir(), draft):
            _sync(path)
        entry = self.entry(key)
        entry.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.rename(entry)
        except OSError:
            if not entry.is_dir():  # otherwise another process has finished the same item
                raise
        _sync(entry.parent)

    def sweep(self) -> None:
        """Deletes old drafts that killed runs left behind."""
        for path in (self.root / "drafts").glob("*"):
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)

    def publish(self, key: str, out: Path, name: str, clash: str = "own") -> list[Path]:
        """Copies an item's files into ``out``, each atomically; unchanged files are left alone.

        Files of one stem, such as a score and its sound, become ``name.mid`` and ``name.wav``; several pieces
        become ``name/<stem>.mid``. ``clash`` decides what happens if another file has the name: "own" replaces an
        earlier result with a note and raises ``InputError`` for any other file; "overwrite" replaces either;
        "number" uses the next free ``name-2``, ``name-3``.
        """
        sources = self.files(key)
        alone = len({_stem(path) for path in sources}) == 1
        number = 1
        while True:
            called = name if number == 1 else f"{name}-{number}"
            targets = [out / (called + _suffix(path)) if alone else out / called / path.name for path in sources]
            pairs = [pair for pair in zip(sources, targets) if not _same(*pair)]
            others = [target for _, target in pairs if target.exists() or target.is_symlink()]
            if not others or clash != "number":
                break
            number += 1
        if others and clash == "own":
            _check_replaceable(others, targets)
            note("an earlier result of this name was replaced: `--on-clash number` keeps both")
        for source, target in pairs:
            _copy(source, target)
        return targets


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _suffix(path: Path) -> str:
    return path.name[len(_stem(path)) :]


def _check_replaceable(others: Sequence[Path], targets: Sequence[Path]) -> None:
    """Raises ``InputError`` if a file to replace was not written by an earlier run, that is, has no manifest beside
    it."""
    replaceable = {target for target in targets if _manifest(sidecar(target))}
    replaceable |= {sidecar(target) for target in replaceable}
    if targets[0] in replaceable:  # side files such as subtitles have no manifest
        replaceable.update(targets)
    if foreign := [path for path in others if path not in replaceable]:
        raise InputError(
            f"{foreign[0]} exists and was not rendered by Affekt: choose another --out, or give --overwrite or "
            "--on-clash number"
        )


def _manifest(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "ai_generated" in found


def _same(source: Path, target: Path) -> bool:
    """True if size and modification time are equal; copies keep both."""
    if not target.is_file():
        return False
    a, b = source.stat(), target.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _copy(source: Path, target: Path) -> None:
    with hidden(target) as draft:
        shutil.copy2(source, draft)


@contextmanager
def hidden(target: Path) -> Generator[Path]:
    """Yields a hidden path beside ``target``, renamed to ``target`` when the block ends, so that ``target`` is always
    complete; deletes it on failure. An ``OSError``, such as for a full disk, names the folder of ``target``."""
    draft = target.parent / f".affekt-{uuid4().hex}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target.parent)) from None
    finally:
        draft.unlink(missing_ok=True)


def writable(place: Path, option: str) -> None:
    """Raises ``InputError``, naming the command-line ``option``, if the folder ``place`` is not writable."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=place, prefix=".affekt-"):
            pass
    except OSError as error:
        raise InputError(f"{place} is not writable ({error.strerror}): choose another {option}") from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
