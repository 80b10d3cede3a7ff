"""One generator trained with several emotion conditioners, on the same data, seed and minutes, in one table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from gen import registry
from gen.errors import InputError
from gen.evaluate.run import REPORT, evaluate, summary_of
from gen.generator import Bar
from gen.settings import has_setting, settings_for


def ablate(
    kind: str, conditioners: Sequence[str], data: Path, out: Path, minutes: float,
    training: Mapping[str, str], measuring: Mapping[str, str],
) -> Path:  # fmt: skip
    """Train and evaluate ``kind`` once per conditioner in ``OUT/NAME``; what is finished there is not done again.

    Writes ``OUT/ablation.md`` and ``OUT/ablation.json``: a row per bar of the evaluation, a column per conditioner.
    Before anything is trained, raises UnknownName for a conditioner, trainer or evaluator that is not registered, and
    InputError for settings that either does not have, or where the two do not fit together.
    """
    trainer, evaluator = registry.get("trainer", kind), registry.get("evaluator", kind)
    for what, part, names in (("train", trainer, ["conditioner"]), ("evaluate", evaluator, ["data", "model"])):
        if lacks := [name for name in names if not has_setting(part, name)]:
            raise InputError(f"{kind} cannot be ablated: `affekt {what} {kind}` has no setting {', '.join(lacks)}")
    for name in conditioners:
        registry.get("conditioner", name)
    settings = {name: dict(training) | {"conditioner": name} for name in conditioners}
    asked = {name: {"data": str(data), "model": str(out / name / "checkpoint")} | measuring for name in conditioners}
    chosen = {name: settings_for(trainer, f"train {kind}", given) for name, given in settings.items()}
    for given in asked.values():
        settings_for(evaluator, f"evaluate {kind}", given)
    found = {}
    for name in conditioners:
        folder = out / name
        if not (folder / REPORT).exists():
            trainer(data, folder, minutes, chosen[name])
            evaluate(kind, folder, asked[name])
        found[name] = summary_of(folder)
    (out / "ablation.json").write_text(
        json.dumps({name: [bar._asdict() for bar in bars] for name, bars in found.items()}, indent=1) + "\n"
    )
    table = out / "ablation.md"
    table.write_text(_markdown({name: {bar.what: bar for bar in bars} for name, bars in found.items()}))
    return table


def _markdown(found: dict[str, dict[str, Bar]]) -> str:
    measures = {what: bar.bar for bars in found.values() for what, bar in bars.items()}
    lines = [["", *found, "bar"], ["---"] * (len(found) + 2)]
    lines += [[what, *(_cell(bars.get(what)) for bars in found.values()), bar] for what, bar in measures.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(bar: Bar | None) -> str:
    if bar is None:
        return ""
    return f"{bar.measured:.3g}" + (f" ({bar.interval[0]:.2g} to {bar.interval[1]:.2g})" if bar.interval else "")
