"""One evaluation from text settings: measured, and written as ``report.json`` and ``report.html``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen import registry
from gen.generator import Bar, Evaluator
from gen.notes import collect
from gen.settings import settings_for

REPORT = "report.json"


def evaluate(kind: str, out: Path, given: Mapping[str, str]) -> list[Bar]:
    """Run the evaluator called ``kind``, write its report into ``out`` and return its summary.

    Raises InputError for settings that it does not have, before anything is measured.
    """
    evaluator = registry.get("evaluator", kind)
    return measured(evaluator, settings_for(evaluator, f"evaluate {kind}", given), out)


def measured(evaluator: type[Evaluator], settings: Any, out: Path) -> list[Bar]:
    """Run an evaluator, write its report with its summary on top into ``out``, and return the summary."""
    measuring = evaluator(settings, out)
    with collect():  # nothing need be said of the clips that are measured
        report = measuring.run()
    report.bars = measuring.summary()
    report.write(out)
    return report.bars


def summary_of(out: Path) -> list[Bar]:
    """The summary of an evaluation that was written into ``out``."""
    bars = json.loads((out / REPORT).read_text(encoding="utf-8"))["bars"]
    return [Bar(**bar | {"interval": tuple(bar["interval"]) if bar["interval"] else None}) for bar in bars]
