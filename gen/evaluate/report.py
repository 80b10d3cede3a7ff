"""The report of an evaluation: ``report.json`` for programs and a self-contained ``report.html``.

Both start with the bars: target, measured value, and whether the target is met.

A table cell is text, a number, an :class:`Estimate` with its interval, a :class:`Spread`, or a bool, shown as met or
missed.
"""

import base64
import html
import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen.generator import Bar

COLOURS = ("#e8833a", "#c8324b", "#4063a8", "#3f9a78", "#8a63b8", "#8f8f8f")
STYLE = {
    "figure.dpi": 110,
    "savefig.bbox": "tight",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
}
CSS = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #222;
  background: #fff; max-width: 62rem; margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; padding-top: .8rem; border-top: 1px solid #ddd; }
p { max-width: 46rem; margin: .5rem 0; }
.lead { color: #555; }
code { font: .88em ui-monospace, "DejaVu Sans Mono", monospace;
  background: #f4f4f2; padding: .1em .35em; border-radius: 3px; }
figure { margin: 1.2rem 0 1.6rem; overflow-x: auto; }
figcaption { font-size: .88rem; color: #555; margin-top: .3rem; max-width: 46rem; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .2rem 0 .45rem; }
th, td { padding: .28rem 1.1rem .28rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid #eee; }
th { border-bottom: 1.5px solid #888; font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
td small { color: #777; padding-left: .35em; }
.met { color: #1c7a4d; font-weight: 600; } .missed { color: #b3261e; font-weight: 600; }
.players { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }
.players audio { width: 100%; }
.players figure { margin: .4rem 0; }
"""


class Estimate(NamedTuple):
    """A number and its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Spread(NamedTuple):
    """A mean and its standard deviation."""

    mean: float
    std: float


Cell = str | int | float | bool | Estimate | Spread


class Report:
    """Collects bars, and sections in reading order; :meth:`write` writes the two files."""

    def __init__(self, title: str, lead: str):
        self.title, self.lead = title, lead
        self.bars: list[Bar] = []
        self.sections: list[dict] = []
        self._body: list[str] = []

    def bar(
        self,
        what: str,
        measured: float | Estimate,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Adds a measure to the bars; without a limit it has no target."""
        value = measured.value if isinstance(measured, Estimate) else measured
        interval = (float(measured.low), float(measured.high)) if isinstance(measured, Estimate) else None
        met = (
            None
            if at_least is None and at_most is None
            else bool((at_least is None or value >= at_least) and (at_most is None or value <= at_most))
        )
        limits = [f"{sign} {limit:.3g}" for sign, limit in ((">=", at_least), ("<=", at_most)) if limit is not None]
        self.bars.append(Bar(what, float(value), interval, " and ".join(limits), met))

    def section(self, title: str, text: str = "") -> None:
        """Starts a section. Backticks in ``text`` mark code."""
        self.sections.append({"title": title, "text": text, "tables": [], "figures": []})
        self._body.append(f"<h2>{_prose(title)}</h2>" + (f"<p>{_prose(text)}</p>" if text else ""))

    def _bars(self) -> str:
        """The bars as a table."""
        rows = [
            [
                bar.what,
                Estimate(bar.measured, *bar.interval) if bar.interval else bar.measured,
                bar.bar,
                "" if bar.met is None else bar.met,
            ]
            for bar in self.bars
        ]
        return _table("Bars", ["what", "measured", "bar", ""], rows) if rows else ""

    def table(self, name: str, columns: list[str], rows: list[list[Cell]], note: str = "") -> None:
        """Adds rows of cells under ``columns``; the first column names the row."""
        kept = [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]
        self.sections[-1]["tables"].append({"name": name, "note": note, "rows": kept})
        self._body.append(_table(name, columns, rows, note))

    def figure(self, figure, caption: str) -> None:
        """Adds a matplotlib figure (preferably not from pyplot, which keeps a reference)."""
        image = io.BytesIO()
        figure.savefig(image, format="png", metadata={"Software": None})
        self.picture(image.getvalue(), caption)

    def picture(self, png: bytes, caption: str) -> None:
        """Adds a PNG picture."""
        self.sections[-1]["figures"].append(caption)
        source, text = _embed(png, "image/png"), _prose(caption)
        self._body.append(f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>')

    def players(self, sounds: list[tuple[str, np.ndarray, int]]) -> None:
        """Adds audio players: (caption, samples (n,) or (n, channels), rate), stored as Ogg Vorbis."""
        import soundfile

        cells = []
        for caption, samples, rate in sounds:
            file = io.BytesIO()
            soundfile.write(file, samples, rate, format="OGG", subtype="VORBIS")
            source = _embed(file.getvalue(), "audio/ogg")
            cells.append(
                f'<figure><audio controls src="{source}"></audio><figcaption>{_prose(caption)}</figcaption></figure>'
            )
        self._body.append(f'<div class="players">{"".join(cells)}</div>')

    def write(self, out: Path) -> None:
        """Writes ``report.json`` and ``report.html`` to the folder ``out``."""
        out.mkdir(parents=True, exist_ok=True)
        bars = [bar._asdict() for bar in self.bars]
        facts = {"title": self.title, "lead": self.lead, "bars": bars, "sections": self.sections}
        (out / "report.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title><style>{CSS}</style>"
            f'<h1>{_prose(self.title)}</h1><p class="lead">{_prose(self.lead)}</p>'
            f"{self._bars()}{''.join(self._body)}</html>\n"
        )
        (out / "report.html").write_text(page, encoding="utf-8")


def _table(name: str, columns: list[str], rows: list[list[Cell]], note: str = "") -> str:
    head = "".join(f"<th>{_prose(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{show(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<figcaption>{_prose(note)}</figcaption>" if note else ""
    return (
        f"<figure><table><caption>{_prose(name)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{caption}</figure>"
    )


def show(cell: Cell) -> str:
    """A cell as HTML: three significant digits, the interval small beside the number."""
    if isinstance(cell, Estimate):
        return f"{_number(cell.value)}<small>{_number(cell.low)} to {_number(cell.high)}</small>"
    if isinstance(cell, Spread):
        return f"{_number(cell.mean)}<small>± {_number(cell.std)}</small>"
    if isinstance(cell, (bool, np.bool_)):
        return '<span class="met">met</span>' if cell else '<span class="missed">missed</span>'
    return _prose(cell) if isinstance(cell, str) else _number(cell)


def _number(value: float) -> str:
    """About three significant digits: 0.684, 23.1, 1083."""
    if isinstance(value, (int, np.integer)) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.{3 if abs(value) < 1 else 2 if abs(value) < 10 else 1}f}"


def _plain(cell: Cell):
    """A cell as JSON: floats rounded to six decimals, estimates and spreads as mappings."""
    if isinstance(cell, (Estimate, Spread)):
        return {name: round(float(value), 6) for name, value in cell._asdict().items()}
    if isinstance(cell, (bool, np.bool_)):
        return bool(cell)
    if isinstance(cell, (int, np.integer)):
        return int(cell)
    return cell if isinstance(cell, str) else round(float(cell), 6)


def _prose(text: str) -> str:
    """Escaped text in which `backticks` become code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _embed(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
