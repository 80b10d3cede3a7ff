"""Ablation of emotion conditioners: trains and evaluates generators on equal data, seed and budget; one table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from gen import registry
from gen.errors import InputError
from gen.evaluate.run import REPORT, evaluate, summary_of
from gen.generator import Bar
from gen.settings import has_setting, settings_for

MEASURED = "measured.json"  # beside a report: the settings of the evaluation


def ablate(
    kinds: Sequence[str],
    conditioners: Sequence[str],
    data: Path,
    out: Path,
    minutes: float | None,
    training: Mapping[str, str],
    measuring: Mapping[str, str],
) -> Path:
    """Trains and evaluates each of ``kinds`` once per conditioner in ``OUT/KIND/NAME``.

    Skips trainings that are complete and evaluations with the same settings. A setting ``kind.name`` applies to one
    kind, any other to all. Writes ``OUT/ablation.md`` and ``OUT/ablation.json``: a row per bar of the evaluations, a
    column per conditioner. Before training, raises UnknownName for an unregistered conditioner, trainer or evaluator,
    and InputError for settings that a kind lacks or that conflict.
    """
    for name in conditioners:
        registry.get("conditioner", name)
    plans = [_plan(kind, name, data, out, training, measuring) for kind in kinds for name in conditioners]
    found: dict[str, dict[str, Bar]] = {name: {} for name in conditioners}
    for kind, name, chosen, asked in plans:
        folder = out / kind / name
        if not (folder / "checkpoint").exists():
            registry.get("trainer", kind)(data, folder, minutes, chosen)
        record = folder / MEASURED
        if not (folder / REPORT).exists() or not record.exists() or json.loads(record.read_text()) != asked:
            evaluate(kind, folder, asked)
            record.write_text(json.dumps(asked) + "\n")
        found[name] |= {bar.what: bar for bar in summary_of(folder)}
    (out / "ablation.json").write_text(
        json.dumps({name: [bar._asdict() for bar in bars.values()] for name, bars in found.items()}, indent=1) + "\n"
    )
    table = out / "ablation.md"
    table.write_text(_markdown(found))
    return table


def _plan(kind: str, name: str, data: Path, out: Path, training: Mapping[str, str], measuring: Mapping[str, str]):
    """A kind, a conditioner, its training settings and its evaluation settings, checked."""
    trainer, evaluator = registry.get("trainer", kind), registry.get("evaluator", kind)
    for what, part, names in (("train", trainer, ["conditioner"]), ("evaluate", evaluator, ["data", "model"])):
        if lacks := [needed for needed in names if not has_setting(part, needed)]:
            raise InputError(f"{kind} cannot be ablated: `affekt {what} {kind}` has no setting {', '.join(lacks)}")
    asked = {"data": str(data), "model": str(out / kind / name / "checkpoint")} | _own(kind, measuring)
    settings_for(evaluator, f"evaluate {kind}", asked)
    return kind, name, settings_for(trainer, f"train {kind}", _own(kind, training) | {"conditioner": name}), asked


def _own(kind: str, given: Mapping[str, str]) -> dict[str, str]:
    """The settings for all kinds and for this one."""
    every = {name: value for name, value in given.items() if "." not in name}
    return every | {name.split(".", 1)[1]: value for name, value in given.items() if name.startswith(f"{kind}.")}


def _markdown(found: dict[str, dict[str, Bar]]) -> str:
    measures = {what: bar.bar for bars in found.values() for what, bar in bars.items()}
    lines = [["", *found, "bar"], ["---"] * (len(found) + 2)]
    lines += [[what, *(_cell(bars.get(what)) for bars in found.values()), bar] for what, bar in measures.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(bar: Bar | None) -> str:
    if bar is None:
        return ""
    return f"{bar.measured:.3g}" + (f" ({bar.interval[0]:.2g} to {bar.interval[1]:.2g})" if bar.interval else "")
