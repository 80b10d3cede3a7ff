"""Tables of external recognisers' results for the films of :mod:`talking_head.evaluation.films`.

Beside each manifest lies what a judge wrote of it: ``films.json`` and ``held.json``. Their ``files`` are rows with
``portrait``, ``emotion``, ``intensity``, ``seen_as`` (by the mean of the recognisers), ``seen_as_NAME`` of each, ``p``
(mean probability of the emotion that was asked for) and ``identity_distance``.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gen.evaluate.bootstrap import mean_of
from gen.evaluate.report import Estimate, Report

SPEAKING, HELD = "films", "held"
TITLES = {SPEAKING: "speaking", HELD: "held in silence"}
BARS = {SPEAKING: 0.65, HELD: 0.75}  # share of six emotions at intensity 1
SIX = ("happy", "sad", "angry", "fear", "disgust", "surprise")  # no recogniser has contempt
REAL = "intervals over portraits; real acted clips .67 (n 21) to .73 (n 33), chance .14"
FAR = "real people, strong emotion: mean .39, worst .58"


def seen(report: Report, folder: Path) -> None:
    """Add tables and bars of all results in ``folder``."""
    for kind, title in TITLES.items():
        path = folder / f"{kind}.json"
        if path.exists():
            rows = [row for row in json.loads(path.read_text(encoding="utf-8"))["files"] if "p" in row]
            read(report, kind, title, rows)


def read(report: Report, kind: str, title: str, rows: list[dict]) -> None:
    """Tables of one manifest's rows."""
    judges = ["seen_as", *sorted(name for name in rows[0] if name.startswith("seen_as_"))]
    shown = []
    for value in sorted({row["intensity"] for row in rows}):
        own = [row for row in rows if row["intensity"] == value]
        for name, members in {"six emotions": SIX, "neutral": ("neutral",), **{name: (name,) for name in SIX}}.items():
            if found := [row for row in own if row["emotion"] in members]:
                right = [over_people(found, lambda row, key=key: row[key] == row["emotion"]) for key in judges]
                shown.append([f"{name} at {value:g}", *right, over_people(found, lambda row: row["p"]), len(found)])
                if (name, value) == ("six emotions", 1):
                    report.bar(f"{title}: six emotions recognised at intensity 1", right[0], at_least=BARS[kind])
    names = [name.removeprefix("seen_as_") for name in judges[1:]]
    report.table(f"What recognisers read, {title}", ["asked", "right, mean of all", *names, "p", "films"], shown, REAL)
    far = [row["identity_distance"] for row in rows if row["intensity"] == 1]
    report.table(
        f"Distance of the face descriptor to the portrait, {title}, intensity 1",
        ["what", "value"],
        [["mean", float(np.mean(far))], ["worst film", float(np.max(far))]],
        FAR,
    )


def over_people(rows: list[dict], value: Callable[[dict], float]) -> Estimate:
    """The mean of ``value`` over films, its interval over portraits."""
    return mean_of([value(row) for row in rows], np.array([row["portrait"] for row in rows]))
