import base64
import json
from html.parser import HTMLParser

import numpy as np
import pytest

from gen.evaluate.report import STYLE, Estimate, Report, Spread, show


class Reader(HTMLParser):
    """Open tags, texts, and the sources of media."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.sources = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag not in ("img", "meta"):
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name == "src"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def written(tmp_path):
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    report = Report("A <title>", "made by `affekt evaluate`")
    report.section("Numbers", "text & more")
    rows = [
        ["real", Estimate(0.684, 0.61, 0.7512), 12, True],
        ["made", np.float64(23.456), np.int64(3), np.bool_(False)],
    ]
    report.table("Table", ["what", "value", "n", "bar"], rows, "a note")
    with rc_context(STYLE):
        figure = Figure()
        figure.subplots().plot([0, 1])
        report.figure(figure, "a line")
    report.players([("a tone", 0.1 * np.sin(np.arange(4800) / 10), 48000)])
    report.write(tmp_path / "out")
    return tmp_path / "out"


def test_json_keeps_the_numbers(written):
    section = json.loads((written / "report.json").read_text())["sections"][0]
    assert (section["title"], section["figures"]) == ("Numbers", ["a line"])
    estimate = {"value": 0.684, "low": 0.61, "high": 0.7512}
    assert section["tables"][0]["rows"] == [
        {"what": "real", "value": estimate, "n": 12, "bar": True},
        {"what": "made", "value": 23.456, "n": 3, "bar": False},
    ]


def test_page_is_closed_escaped_and_self_contained(written):
    page = Reader((written / "report.html").read_text())
    assert page.open == []
    assert {"A <title>", "text & more", "affekt evaluate", "met", "missed", "a note"} <= set(page.text)
    kinds = [source.split(";")[0] for source in page.sources]
    assert kinds == ["data:image/png", "data:audio/ogg"]
    png, ogg = (base64.b64decode(source.split(",")[1]) for source in page.sources)
    assert (png[:4], ogg[:4]) == (b"\x89PNG", b"OggS")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (0.68412, "0.684"),
        (Spread(23.44, 4.5), "23.4<small>± 4.50</small>"),
        (-3.14159, "-3.14"),
        (23.456, "23.5"),
        (1083.4, "1083"),
        (7, "7"),
        ("a<b", "a&lt;b"),
    ],
)
def test_digits(cell, text):
    assert show(cell) == text


def test_a_row_that_does_not_fit_its_columns_is_refused():
    report = Report("t", "l")
    report.section("s")
    with pytest.raises(ValueError, match="zip"):
        report.table("t", ["a", "b"], [["only one"]])
