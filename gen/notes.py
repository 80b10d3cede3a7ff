"""What a user should know about a result: one sentence for whatever was dropped, reduced, resampled or not understood.

Code anywhere below a render calls :func:`note`; whoever runs the render collects the sentences, shows each one once and
records them in the manifest. Outside a collection a note goes to standard error through :mod:`warnings`.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["UserNote", "collect", "note", "quiet_libraries"]

class _Collection(list):
    """Sentences, how each is put, and who is told each when it is new."""

    edit: Callable[[str], str] | None = None
    tell: Callable[[str], None] | None = None


_collected: ContextVar[_Collection | None] = ContextVar("collected", default=None)


class UserNote(UserWarning):
    """A note that nobody collected."""


def note(sentence: str) -> None:
    """Say ``sentence`` once. It is one short sentence that names the input, what was done and, if known, the remedy."""
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
def collect(
    tell: Callable[[str], None] | None = None, edit: Callable[[str], str] | None = None
) -> Iterator[list[str]]:
    """The notes of the block, in order; the list fills while the block runs, and ``tell`` is called with each new one,
    as ``edit`` puts it.

    Collections do not nest: the inner one takes the notes. A thread started in the block is outside it, unless it runs
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
