"""The content-addressed store of finished items, and how they reach the output folder.

``<root>/<first two of key>/<key>/`` holds the files of one item and ``item.json``, which lists them and
what was noted. A folder appears
there by one rename, after its files were read back and synced, so that being there means being complete.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import NamedTemporaryFile
from uuid import uuid4

from gen.errors import InputError, RenderError
from gen.notes import note
from gen.provenance import sidecar

RECORD = "item.json"
ABANDONED = 86400.0  # seconds after which a draft must be the remains of a killed run


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
        """All files of an item, the first output of the generator first."""
        return [self.entry(key) / name for name in self._record(key)["files"]]

    def notes(self, key: str) -> tuple[str, ...]:
        """What was noted while an item was made."""
        return tuple(self._record(key)["notes"])

    def _record(self, key: str) -> dict:
        return json.loads((self.entry(key) / RECORD).read_text(encoding="utf-8"))

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A private folder on the cache's file system, gone afterwards."""
        folder = self.root / "drafts" / uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # a committed one is no longer here

    def commit(self, draft: Path, key: str, outputs: Sequence[Path], notes: Sequence[str] = ()) -> None:
        """Make a draft the finished item ``key``; ``outputs`` are the generator's files, the main one first."""
        from gen.media import check

        if not outputs:
            raise RenderError("The generator wrote no file, which is a mistake in it: please report this.")
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
        """Remove what killed runs left behind long ago."""
        for path in (self.root / "drafts").glob("*"):
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)

    def publish(self, key: str, out: Path, name: str, clash: str = "own") -> list[Path]:
        """Put an item's files below ``out``, each at once; what is there already, unchanged, is left alone.

        Files of one stem, such as a score and its sound, become ``name.mid`` and ``name.wav``; several pieces
        become ``name/<stem>.mid``. Where another file has the name, ``clash`` says what happens: "own" replaces an
        earlier result, and says so, and raises ``InputError`` for any other file; "overwrite" replaces either;
        "number" takes the next free ``name-2``, ``name-3``.
        """
        sources = self.files(key)
        alone = len({_stem(path) for path in sources}) == 1
        for number in count(1):
            called = name if number == 1 else f"{name}-{number}"
            targets = [out / (called + _suffix(path)) if alone else out / called / path.name for path in sources]
            pairs = [pair for pair in zip(sources, targets) if not _same(*pair)]
            others = [target for _, target in pairs if target.exists() or target.is_symlink()]
            if not others or clash != "number":
                break
        if others and clash == "own":
            _spare(others, targets)
            note("a result of this name that was there already was replaced: `--on-clash number` keeps both")
        for source, target in pairs:
            _copy(source, target)
        return targets


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _suffix(path: Path) -> str:
    return path.name[len(_stem(path)) :]


def _spare(others: Sequence[Path], targets: Sequence[Path]) -> None:
    """Refuse to replace what no earlier run made: such a file has no manifest beside it, or another's."""
    own = {target for target in targets if _manifest(sidecar(target))}
    own |= {sidecar(target) for target in own}
    if targets[0] in own:  # what a run writes besides, such as subtitles, has no manifest
        own.update(targets)
    if strangers := [path for path in others if path not in own]:
        raise InputError(
            f"{strangers[0]} is there already and was not made here: choose another --out, or give --overwrite or "
            "--on-clash number"
        )


def _manifest(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "ai_generated" in found


def _same(source: Path, target: Path) -> bool:
    """Copies keep size and time of change, so equal ones need not be read."""
    if not target.is_file():
        return False
    a, b = source.stat(), target.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _copy(source: Path, target: Path) -> None:
    with hidden(target) as draft:
        shutil.copy2(source, draft)


@contextmanager
def hidden(target: Path) -> Iterator[Path]:
    """A hidden name beside ``target`` to write to, renamed when the block ends: the visible name is never half-written,
    and nothing stays of what failed. An ``OSError``, such as of a full disk, names the folder of ``target``."""
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
    """Raise ``InputError``, naming the ``option`` of the command, where nothing can be written into a folder."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=place, prefix=".affekt-"):
            pass
    except OSError as error:
        raise InputError(f"{place} cannot be written to ({error.strerror}): choose another {option}") from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
