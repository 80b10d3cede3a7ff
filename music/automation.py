"""Automation curves: numbers that change over bars, written as "2.5", "+0.3", "0: 1.5, 8: +0.5"."""

import re
from typing import NamedTuple

import numpy as np

NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"


class Automation(NamedTuple):
    """Values at bars, linearly interpolated; ``relative`` values are added to the music's own."""

    bars: tuple[float, ...]
    values: tuple[float, ...]
    relative: bool

    def at(self, count: int, has: np.ndarray) -> np.ndarray:
        """(count,) target of each bar, for music with the values ``has`` (count,)."""
        found = np.interp(np.arange(count), self.bars, self.values)
        return has + found if self.relative else found


def automation(text: str, signed: bool = False) -> Automation:
    """Parses an automation curve. A sign makes its values relative, unless the numbers themselves are ``signed``.

    Raises ValueError with the correct form.
    """
    parts = [part.strip() for part in str(text).split(",") if part.strip()]
    points = []
    for place, part in enumerate(parts):
        found = re.fullmatch(rf"(?:(?:bar )?(\d+(?:\.\d+)?)\s*:\s*)?({NUMBER})", part)
        if not found or (found[1] is None and len(parts) > 1):
            raise ValueError(f'give a number, or numbers at bars such as "0: 1.5, 8: 3", not {text!r}')
        points.append((float(found[1] or place), float(found[2]), found[2][0] in "+-"))
    if not points:
        raise ValueError('give a number, or numbers at bars such as "0: 1.5, 8: 3"')
    bars, values, signs = zip(*sorted(points), strict=True)
    if not signed and len(set(signs)) > 1:
        raise ValueError(f"{text!r} mixes relative numbers (with a sign) and absolute ones: use one kind")
    return Automation(bars, values, not signed and signs[0])
