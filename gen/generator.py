"""The contracts of what an art brings along, and functions that check them in anybody's test suite.

A :class:`Generator` renders tasks, a :class:`Trainer` makes its checkpoint, an :class:`Evaluator` measures it. Each is
known by a name in :mod:`gen.registry` (kinds ``generator``, ``trainer``, ``evaluator``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from gen.emotion.spec import Emotion
    from gen.evaluate.report import Report
    from gen.jobs.schema import Task

Progress = Callable[[float, str], None]  # share that is done, 0..1, and what is being done


class Bar(NamedTuple):
    """One line of an evaluation's summary."""

    what: str
    measured: float
    interval: tuple[float, float] | None = None  # of 95 %
    bar: str = ""  # such as ">= 0.6"; empty where nothing is aimed at
    met: bool | None = None


class Generator(Protocol):
    """Renders tasks of one kind."""

    @staticmethod
    def checkpoints(task: Task) -> Sequence[str]:
        """The checkpoints that a task needs, by name or path; the generator's own first."""
        ...

    @classmethod
    def from_pretrained(cls, name: str | Path, *others: str | Path, device: str = "cpu") -> Self:
        """The generator with trained weights. Raises CheckpointError where they are not here or altered."""
        ...

    @staticmethod
    def reading(emotion: Emotion) -> str:
        """What the generator makes of an emotion, in words."""
        ...

    def render(self, task: Task, folder: Path, manifest: dict, progress: Progress) -> list[Path]:
        """Write the files of a task into ``folder``, each with the ``manifest`` in it (:mod:`gen.media`)."""
        ...


class Trainer(Protocol):
    """A function that trains and writes ``OUT/checkpoint``; again with the same arguments it goes on.

    The annotation of ``settings`` is the class of what ``--set`` may change, a pydantic model or a NamedTuple;
    :func:`gen.settings.settings_of` fills it. A field ``conditioner`` makes the trainer fit for ``affekt ablate``.
    """

    def __call__(self, data: Path, out: Path, minutes: float | None, settings: Any) -> None: ...


@runtime_checkable
class Evaluator(Protocol):
    """A class whose instances measure; the annotation of ``settings`` is the class of what ``--set`` may change.

    A field ``model`` (a checkpoint) and a field ``data`` (a folder) make it fit for ``affekt ablate``.
    """

    def __init__(self, settings: Any, out: Path): ...

    def run(self) -> Report:
        """Measure everything; further files may go to ``out``."""
        ...

    def summary(self) -> list[Bar]:
        """What counts most, after :meth:`run`: ablations, cards and reports are made of it."""
        ...
