"""The folders of a studio: uploads, which end with it, and results, which stay; and how a browser names their files."""

import atexit
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from gradio.utils import get_upload_folder

from gen.errors import InputError

PREFIX = "affekt-studio-"
A_DAY = 86400.0  # seconds after which the uploads of a studio that cannot be asked for are old


def temporary() -> Path:
    """A new folder for uploads, gone when this process ends; those that killed studios left behind are removed."""
    for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not _in_use(old):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def end_in_order() -> None:
    """Let the signals that end a process end it as Ctrl-C does, so that its uploads are removed."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(0))


def _in_use(folder: Path) -> bool:
    number = folder.name.removeprefix(PREFIX).split("-")[0]
    if os.name != "posix" or not number.isdigit():
        return time.time() - folder.stat().st_mtime < A_DAY
    try:
        os.kill(int(number), 0)  # asks only whether the process is there
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def uploads() -> Path:
    """The folder that uploads are in and that files are served from."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def uploaded(path: object) -> Path:
    """The file of that path, if it was uploaded or put among the uploads. Raises ``InputError``."""
    found = Path(str(path)).resolve()
    if not found.is_relative_to(uploads().resolve()) or not found.is_file():
        raise InputError("Please upload the file again: a path is not opened.")
    return found


def fresh(name: str) -> Path:
    """A path among the uploads for a new file of this name."""
    folder = uploads() / uuid4().hex
    folder.mkdir()
    return folder / Path(name).name


def served(path: Path, name: str = "") -> Path:
    """A copy of a file of ours, such as an example, among the uploads, made once."""
    copy = uploads() / "examples" / (name or path.name)
    if not copy.is_file():
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
    return copy


def address(path: Path | str) -> str:
    """The URL of a file on the page."""
    return f"gradio_api/file={quote(str(path))}"
