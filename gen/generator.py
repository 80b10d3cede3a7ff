"""The contracts of what an art brings along, and functions that check them in anybody's test suite.

A :class:`Generator` renders tasks, a :class:`Trainer` makes its checkpoint, an :class:`Evaluator` measures it, a
:class:`Reader` reads its files for the emotion embedding. Each is known by a name in :mod:`gen.registry` (kinds
``generator``, ``trainer``, ``evaluator``, ``reader``). ``examples/my_generator.py`` is a whole generator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from gen.errors import InputError
from gen.settings import settings_for

if TYPE_CHECKING:
    import numpy as np

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
    """Renders tasks of one kind. The runner calls nothing else; Python users call :meth:`from_pretrained` too."""

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


class Readable(NamedTuple):
    """What a reader found in a file."""

    seconds: float
    part: Callable[[float, float], np.ndarray | None]  # from second to second: what the encoder of that modality takes


class Reader(Protocol):
    """A function that reads files of one modality for the emotion embedding: the registry's ``voice``, ``face`` and
    ``music``. A voice's part is sound (s,) at 16 kHz, a face's and music's rows (n, f); None where nothing is in it.
    """

    def __call__(self, path: Path) -> Readable:
        """Raises InputError where there is nothing to read."""
        ...


# ---------------------------------------------------------------- checks

EMOTIONS = ("neutral", "happy @ 1.4", "v=-0.6 a=0.7", "sad 0.5 + fear 0.5", "-anger @ 0.5")


def check_generator(cls: type[Generator], task: Task, seeded: bool = True) -> None:
    """Render ``task`` some times and raise ``AssertionError`` on the first promise that ``cls`` breaks.

    It reads emotions in words; its checkpoints are names; files are whole, lie in the folder they were asked for in and
    carry the manifest; progress goes from 0 to 1; the same task gives the same bytes, from a generator loaded again
    too; another emotion gives other bytes, and another seed (unless not ``seeded``).
    """
    from gen.emotion.spec import Emotion, EmotionCurve

    for text in EMOTIONS:
        told = cls.reading(Emotion.parse(text))
        assert isinstance(told, str) and told.strip(), f"reading({text!r}) is {told!r}"
    names = cls.checkpoints(task)
    assert all(isinstance(name, str) for name in names), f"checkpoints are {names!r}, not names"
    assert list(names) == list(cls.checkpoints(task)), "checkpoints differ from call to call"
    generator = cls.from_pretrained(*names, device="cpu")
    first = _rendered(generator, task)
    assert first == _rendered(generator, task), "the same task gives other bytes the second time"
    again = cls.from_pretrained(*names, device="cpu")
    assert first == _rendered(again, task), "the same task gives other bytes from a generator loaded again"
    if "emotion" in type(task).model_fields:
        texts = ("angry @ 1.2", "sad @ 1.2")
        one, other = (
            _rendered(generator, task.model_copy(update={"emotion": EmotionCurve.parse(text)})) for text in texts
        )
        assert one != other, "two emotions give the same bytes"
    if seeded:
        other = _rendered(generator, task.model_copy(update={"seed": task.seed + 1}))
        assert [*first.values()] != [*other.values()], "two seeds give the same bytes"


def _rendered(generator: Generator, task: Task) -> dict[str, bytes]:
    """The files of a task by name, looked at as the runner does."""
    from gen import media
    from gen.marks.verify import embedded

    shares: list[float] = []
    with TemporaryDirectory() as place:
        folder, facts = Path(place) / "files", {"ai_generated": True, "check": "generator"}
        folder.mkdir()
        paths = generator.render(task, folder, facts, lambda share, what: shares.append(share))
        assert paths, "no file was rendered"
        for path in paths:
            assert path.is_file() and path.parent == folder, f"{path} is not a file in the folder that was given"
            media.check(path)
            found = embedded(path)
            assert found and found["check"] == "generator", f"{path.name} does not carry the manifest"
        assert [*Path(place).iterdir()] == [folder], "files were left outside the folder that was given"
        files = {path.name: path.read_bytes() for path in paths}
    assert all(0 <= share <= 1 for share in shares), f"progress left 0..1: {shares}"
    assert shares == sorted(shares), f"progress went back: {shares}"
    return files


def check_evaluator(cls: type[Evaluator], given: Mapping[str, str]) -> list[Bar]:
    """Measure with the settings ``given`` and raise ``AssertionError`` on the first promise that ``cls`` breaks.

    An unknown setting is refused; the summary names each thing once, with a number, an interval around it, and whether
    its bar is met where there is one; the report can be written, and the summary read back from it. Returns it.
    """
    from gen.evaluate.run import measured, summary_of

    try:
        settings_for(cls, "check", {**given, "no such setting": "1"})
    except InputError:
        pass
    else:
        raise AssertionError("an unknown setting is not refused")
    with TemporaryDirectory() as place:
        bars = measured(cls, settings_for(cls, "check", given), Path(place))
        assert summary_of(Path(place)) == bars, "the summary differs when it is read back from the report"
        assert (Path(place) / "report.html").is_file(), "there is no page"
    assert bars, "the summary is empty"
    names = [bar.what for bar in bars]
    assert len(set(names)) == len(names), f"the summary names something twice: {names}"
    for bar in bars:
        assert bar.measured == bar.measured and abs(bar.measured) < float("inf"), f"{bar.what} is {bar.measured}"
        assert (bar.met is None) == (bar.bar == ""), f"{bar.what}: met is {bar.met} for the bar {bar.bar!r}"
        if bar.interval:
            low, high = bar.interval
            assert low <= bar.measured <= high, f"{bar.what}: {bar.measured} is outside its interval {bar.interval}"
    return bars
