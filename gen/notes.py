"""Notes to the user: one sentence for anything dropped, reduced, resampled or not understood.

Code below a render calls :func:`note`; the runner collects the notes, shows each once and records them in the manifest.
Outside :func:`collect`, a note is a warning on standard error (:mod:`warnings`).
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["UserNote", "collect", "note", "quiet_libraries"]


class _Collection(list):
    """Notes, the function that edits them, and the callback for new ones."""

    edit: Callable[[str], str] | None = None
    tell: Callable[[str], None] | None = None


_collected: ContextVar[_Collection | None] = ContextVar("collected", default=None)


class UserNote(UserWarning):
    """A note outside :func:`collect`."""


def note(sentence: str) -> None:
    """Records ``sentence`` once: one short sentence with the input, what was done and, if known, the remedy."""
    notes = _collected.get()
    if notes is None:
        warnings.warn(sentence, UserNote, stacklevel=2)
        return
    sentence = notes.edit(sentence) if notes.edit else sentence
    if sentence not in notes:
        notes.append(sentence)
        if notes.tell:
            notes.tell(sentence)


@contextmanager
def collect(tell: Callable[[str], None] | None = None, edit: Callable[[str], str] | None = None) -> Iterator[list[str]]:
    """Collects the notes of the block, in order; the list grows while the block runs. Calls ``tell`` with each new
    note, after ``edit``.

    Nested collections take the notes from the outer ones. A thread started in the block is outside it, unless it runs
    in a copy of the context (:func:`contextvars.copy_context`)."""
    notes = _Collection()
    notes.tell, notes.edit = tell, edit
    token = _collected.set(notes)
    try:
        yield notes
    finally:
        _collected.reset(token)


def quiet_libraries() -> None:
    """Silences log lines of libraries that no user can act on: HTTP requests, fonts, and a skipped xformers."""
    for chatty, level in (("httpx", logging.WARNING), ("matplotlib", logging.WARNING), ("xformers", logging.ERROR)):
        logging.getLogger(chatty).setLevel(level)
