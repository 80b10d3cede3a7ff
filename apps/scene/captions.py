"""Captions: the timing of each phrase of a text, and their drawing."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from html import escape
from typing import NamedTuple

import numpy as np

LINE, LINES = 34, 2  # characters per line, lines per caption
LETTERS = 0.052  # text height relative to the picture's height
MARGIN = 0.07  # bottom margin relative to the height
LINGER = 0.35  # seconds that a caption stays after its words
JOINER = "\u2060"


class Caption(NamedTuple):
    """A text, and its start and end in seconds."""

    start: float
    end: float
    text: str


def captions(text: str, active: np.ndarray, frame: float) -> list[Caption]:
    """Captions of a text over speech that is active where ``active`` (frames of ``frame`` seconds) is true.

    There is no alignment: each phrase gets a share of the speech proportional to its number of letters.
    """
    phrases = phrased(text)
    letters = np.cumsum([0, *(len(re.sub(r"\W", "", phrase)) or 1 for phrase in phrases)])
    spoken = np.concatenate(([0], np.cumsum(active)))
    places = np.searchsorted(spoken, letters / letters[-1] * spoken[-1])
    begins = [int(place) + int(np.argmax(active[place:])) if active[place:].any() else int(place) for place in places]
    found = []
    for phrase, start, end, after in zip(phrases, begins, places[1:], [*begins[1:-1], len(active)]):
        stop = min(end * frame + LINGER, after * frame)
        found.append(Caption(round(start * frame, 3), round(float(stop), 3), phrase))
    return found


def phrased(text: str) -> list[str]:
    """Splits a text into parts that fit on the screen: sentences, clauses, and runs of words if those are too long."""
    parts: list[str] = []
    for clause in re.findall(r"[^.!?;:,—]+[.!?;:,—]*[\"'”’)]*\s*|[.!?;:,—]+\s*", " ".join(text.split())):
        clause = clause.strip()
        joined = f"{parts[-1]} {clause}" if parts else clause
        fits = parts and len(joined) <= LINE * LINES and not re.search(r"[.!?][\"'”’)]*$", parts[-1])
        if fits:
            parts[-1] = joined
        else:
            parts += _halved(clause)
    return parts


def _halved(clause: str) -> list[str]:
    if len(clause) <= LINE * LINES or " " not in clause:
        return [clause]
    return [part for half in _middle(clause) for part in _halved(half)]


def _middle(text: str) -> tuple[str, str]:
    """Splits a text at the space nearest to its middle."""
    gap = min((match.start() for match in re.finditer(" ", text)), key=lambda gap: abs(gap - len(text) / 2))
    return text[:gap], text[gap + 1 :]


def srt(found: Iterable[Caption]) -> str:
    """The captions as a SubRip file. Players interpret <i> and {\\an8} as styles and have no escape for them, so an
    invisible joiner is inserted."""
    plain = lambda text: re.sub(r"<(?=[a-zA-Z/])|\{(?=\\)", r"\g<0>" + JOINER, text)
    rows = (f"{i}\n{_clock(c.start)} --> {_clock(c.end)}\n{plain(c.text)}\n" for i, c in enumerate(found, start=1))
    return "\n".join(rows)


def vtt(found: Iterable[Caption]) -> str:
    """The captions as a WebVTT file."""
    rows = (f"{_clock(c.start, '.')} --> {_clock(c.end, '.')}\n{escape(c.text, quote=False)}\n" for c in found)
    return "\n".join(("WEBVTT\n", *rows))


def _clock(seconds: float, point: str = ",") -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}{point}{whole % 1000:03}"


def captioned(frames: Iterable[np.ndarray], found: list[Caption], fps: float) -> Iterator[np.ndarray]:
    """Frames (h, w, 3) uint8 with the current captions drawn on them."""
    for number, pixels in enumerate(frames):
        here = next((c for c in found if c.start <= number / fps < c.end), None)
        yield pixels if here is None else _over(pixels, here.text)


def _over(pixels: np.ndarray, text: str) -> np.ndarray:
    ink, shade = _drawn(text, *pixels.shape[:2])
    return (pixels * (1 - shade) * (1 - ink) + 255 * ink).round().astype(np.uint8)


@lru_cache(maxsize=4)
def _drawn(text: str, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(h, w, 1) opacity of the letters, and opacity of the shadow behind them."""
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    size, lines = round(LETTERS * height), _lines(text)
    font = ImageFont.load_default(size)
    while size > 8 and max(font.getlength(line) for line in lines) > 0.92 * width:
        size -= 1
        font = ImageFont.load_default(size)
    layers = [Image.new("L", (width, height)) for _ in range(2)]
    top = height * (1 - MARGIN) - 1.25 * size * len(lines)
    for row, line in enumerate(lines):
        at = (width / 2, top + 1.25 * size * row)
        ImageDraw.Draw(layers[0]).text(at, line, fill=255, font=font, anchor="ma")
        ImageDraw.Draw(layers[1]).text(at, line, fill=255, font=font, anchor="ma", stroke_width=max(2, size // 6))
    layers[1] = layers[1].filter(ImageFilter.GaussianBlur(size / 7))
    ink, shade = (np.asarray(layer, np.float32)[..., None] / 255 for layer in layers)
    return ink, np.minimum(1.3 * shade, 0.8)


def _lines(text: str) -> list[str]:
    """One line, or two of about equal length."""
    return [text] if len(text) <= LINE or " " not in text else [*_middle(text)]
