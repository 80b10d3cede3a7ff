"""One generator trained with several emotion conditioners, on the same data, seed and minutes, in one table."""

import json
from collections.abc import Sequence
from pathlib import Path

from gen import registry


def ablate(
    kind: str, conditioners: Sequence[str], data: Path, out: Path, minutes: float,
    training: dict[str, str], measuring: dict[str, str],
) -> Path:  # fmt: skip
    """Train and evaluate ``kind`` once per conditioner in ``OUT/NAME``; what is finished there is not done again.

    Writes ``OUT/ablation.md``: a row per promise of the evaluation, a column per conditioner. Raises UnknownName for a
    conditioner that is not registered, before anything is trained.
    """
    for name in conditioners:
        registry.get("conditioner", name)
    train, evaluate = registry.get("trainer", kind), registry.get("evaluator", kind)
    promises = {}
    for name in conditioners:
        folder = out / name
        if not (folder / "report.json").exists():
            train(data, folder, minutes, training | {"conditioner": name})
            evaluate(folder, {"data": str(data), "model": str(folder / "checkpoint")} | measuring)
        sections = json.loads((folder / "report.json").read_text())["sections"]
        promises[name] = {row["what"]: row for row in sections[0]["tables"][0]["rows"]}
    table = out / "ablation.md"
    table.write_text(_markdown(promises))
    return table


def _markdown(promises: dict[str, dict[str, dict]]) -> str:
    measures = list(dict.fromkeys(what for rows in promises.values() for what in rows))
    lines = [["", *promises], ["---"] * (len(promises) + 1)]
    lines += [[what, *(_cell(rows.get(what)) for rows in promises.values())] for what in measures]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(row: dict | None) -> str:
    measured = "" if row is None else row["measured"]
    if isinstance(measured, dict):
        measured = measured.get("value", measured.get("mean"))
    return f"{measured:.3g}" if isinstance(measured, float) else str(measured)
