"""Runs an evaluation from text settings and writes ``report.json`` and ``report.html``."""

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
    """Runs the evaluator ``kind``, writes its report to ``out`` and returns its summary.

    Raises InputError for unknown settings before the evaluation.
    """
    evaluator = registry.get("evaluator", kind)
    return measured(evaluator, settings_for(evaluator, f"evaluate {kind}", given), out)


def measured(evaluator: type[Evaluator], settings: Any, out: Path) -> list[Bar]:
    """Runs an evaluator, writes its report with the summary on top to ``out``, and returns the summary."""
    measuring = evaluator(settings, out)
    with collect():  # no notes about the evaluated clips
        report = measuring.run()
    report.bars = measuring.summary()
    report.write(out)
    return report.bars


def summary_of(out: Path) -> list[Bar]:
    """Reads the summary of the evaluation in ``out``."""
    bars = json.loads((out / REPORT).read_text(encoding="utf-8"))["bars"]
    return [Bar(**bar | {"interval": tuple(bar["interval"]) if bar["interval"] else None}) for bar in bars]
