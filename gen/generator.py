"""The contracts of a domain package's parts, and functions that check them in test suites.

A :class:`Generator` renders tasks, a :class:`Trainer` trains its checkpoint, an :class:`Evaluator` measures it, a
:class:`Reader` reads its files for the emotion embedding. Each is registered by name in :mod:`gen.registry` (kinds
``generator``, ``trainer``, ``evaluator``, ``reader``). ``examples/my_generator.py`` is a complete generator.
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

Progress = Callable[[float, str], None]  # fraction completed, 0..1, and the current step


class Bar(NamedTuple):
    """One row of an evaluation's summary."""

    what: str
    measured: float
    interval: tuple[float, float] | None = None  # 95 % confidence interval
    bar: str = ""  # target such as ">= 0.6"; empty if there is none
    met: bool | None = None


class Generator(Protocol):
    """Renders tasks of one kind. The runner calls only these methods; Python users call :meth:`from_pretrained` too."""

    @staticmethod
    def checkpoints(task: Task) -> Sequence[str]:
        """The checkpoints that a task needs, by name or path; the generator's own first."""
        ...

    @classmethod
    def from_pretrained(cls, name: str | Path, *others: str | Path, device: str = "cpu") -> Self:
        """Loads the generator. Raises CheckpointError if weights are missing or altered."""
        ...

    @staticmethod
    def reading(emotion: Emotion) -> str:
        """The generator's interpretation of an emotion, in words."""
        ...

    def render(self, task: Task, folder: Path, manifest: dict, progress: Progress) -> list[Path]:
        """Writes the files of a task to ``folder``, each with the ``manifest`` embedded (:mod:`gen.media`)."""
        ...


class Trainer(Protocol):
    """A function that trains and writes ``OUT/checkpoint``; called again with the same arguments, it resumes.

    The annotation of ``settings`` is the class of the ``--set`` options, a pydantic model or a NamedTuple, filled by
    :func:`gen.settings.settings_of`. A field ``conditioner`` allows ``affekt ablate``.
    """

    def __call__(self, data: Path, out: Path, minutes: float | None, settings: Any) -> None: ...


class Evaluator(Protocol):
    """A class whose instances evaluate; the annotation of ``settings`` is the class of the ``--set`` options.

    Fields ``model`` (a checkpoint) and ``data`` (a folder) allow ``affekt ablate``.
    """

    def __init__(self, settings: Any, out: Path): ...

    def run(self) -> Report:
        """Runs the evaluation; may write further files to ``out``."""
        ...

    def summary(self) -> list[Bar]:
        """The main results, after :meth:`run`; used by ablations, cards and reports."""
        ...


class Readable(NamedTuple):
    """The content of a file for the emotion embedding."""

    seconds: float
    part: Callable[[float, float], np.ndarray | None]  # (start, end) in seconds -> input of the modality's encoder


class Reader(Protocol):
    """A function that reads files of one modality for the emotion embedding: ``voice``, ``face`` or ``music`` in the
    registry. A voice's part is sound (s,) at 16 kHz, a face's and music's rows (n, f); None if it is empty.
    """

    def __call__(self, path: Path) -> Readable:
        """Reads a file; raises InputError if it has no usable content."""
        ...


# ---------------------------------------------------------------- checks

EMOTIONS = ("neutral", "happy @ 1.4", "v=-0.6 a=0.7", "sad 0.5 + fear 0.5", "-anger @ 0.5")


def check_generator(cls: type[Generator], task: Task, seeded: bool = True) -> None:
    """Renders ``task`` several times and raises ``AssertionError`` for the first violated property.

    It describes emotions in words; its checkpoints are names; files are complete, are in the given folder and carry the
    manifest; progress increases from 0 to 1; equal tasks give equal bytes, also from a reloaded generator; different
    emotions give different bytes, and so do different seeds (unless not ``seeded``).
    """
    from gen.emotion.spec import Emotion, EmotionCurve

    for text in EMOTIONS:
        reading = cls.reading(Emotion.parse(text))
        assert isinstance(reading, str) and reading.strip(), f"reading({text!r}) is {reading!r}"
    names = cls.checkpoints(task)
    assert all(isinstance(name, str) for name in names), f"checkpoints are {names!r}, not names"
    assert list(names) == list(cls.checkpoints(task)), "checkpoints differ from call to call"
    generator = cls.from_pretrained(*names, device="cpu")
    first = _rendered(generator, task)
    assert first == _rendered(generator, task), "the same task gives different bytes the second time"
    again = cls.from_pretrained(*names, device="cpu")
    assert first == _rendered(again, task), "the same task gives different bytes from a reloaded generator"
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
    """The files of a task by name, checked as the runner does."""
    from gen import media
    from gen.marks.verify import embedded

    shares: list[float] = []
    with TemporaryDirectory() as place:
        folder, facts = Path(place) / "files", {"ai_generated": True, "check": "generator"}
        folder.mkdir()
        paths = generator.render(task, folder, facts, lambda share, what: shares.append(share))
        assert paths, "no file was rendered"
        for path in paths:
            assert path.is_file() and path.parent == folder, f"{path} is not a file in the given folder"
            media.check(path)
            found = embedded(path)
            assert found and found["check"] == "generator", f"{path.name} has no manifest"
        assert [*Path(place).iterdir()] == [folder], "files were written outside the given folder"
        files = {path.name: path.read_bytes() for path in paths}
    assert all(0 <= share <= 1 for share in shares), f"progress is outside 0..1: {shares}"
    assert shares == sorted(shares), f"progress decreased: {shares}"
    return files


def check_evaluator(cls: type[Evaluator], given: Mapping[str, str]) -> list[Bar]:
    """Evaluates with the settings ``given`` and raises ``AssertionError`` for the first violated property.

    Unknown settings are refused; the summary names each result once, with a number, an interval around it, and whether
    its target is met, if any; the report can be written, and its summary read back. Returns the summary.
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
        assert (Path(place) / "report.html").is_file(), "there is no report.html"
    assert bars, "the summary is empty"
    names = [bar.what for bar in bars]
    assert len(set(names)) == len(names), f"the summary has duplicate names: {names}"
    for bar in bars:
        assert bar.measured == bar.measured and abs(bar.measured) < float("inf"), f"{bar.what} is {bar.measured}"
        assert (bar.met is None) == (bar.bar == ""), f"{bar.what}: met is {bar.met} for the bar {bar.bar!r}"
        if bar.interval:
            low, high = bar.interval
            assert low <= bar.measured <= high, f"{bar.what}: {bar.measured} is outside its interval {bar.interval}"
    return bars
