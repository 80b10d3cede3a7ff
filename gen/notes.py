"""What a user should know about a result: one sentence for whatever was dropped, reduced, resampled or not understood.

Code anywhere below a render calls :func:`note`; whoever runs the render collects the sentences, shows each one once and
records them in the manifest. Outside a collection a note goes to standard error through :mod:`warnings`.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["UserNote", "collect", "note"]

_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


class UserNote(UserWarning):
    """A note that nobody collected."""


def note(sentence: str) -> None:
    """Say ``sentence`` once. It is one short sentence that names the input, what was done and, if known, the remedy."""
    notes = _collected.get()
    if notes is None:
        warnings.warn(sentence, UserNote, stacklevel=2)
    elif sentence not in notes:
        notes.append(sentence)


@contextmanager
def collect() -> Iterator[list[str]]:
    """The notes of the block, in order; the list fills while the block runs. Collections do not nest: the inner one
    takes the notes."""
    notes: list[str] = []
    token = _collected.set(notes)
    try:
        yield notes
    finally:
        _collected.reset(token)
