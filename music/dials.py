"""Numbers that change over bars, as users write them: "2.5", "+0.3", "0: 1.5, 8: +0.5"."""

import re
from typing import NamedTuple

import numpy as np

NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"


class Dial(NamedTuple):
    """Values at bars, straight between them; ``relative`` ones are added to what the music has."""

    bars: tuple[float, ...]
    values: tuple[float, ...]
    relative: bool

    def at(self, count: int, has: np.ndarray) -> np.ndarray:
        """(count,) what is wanted in each bar of music that ``has`` (count,)."""
        found = np.interp(np.arange(count), self.bars, self.values)
        return has + found if self.relative else found


def dial(text: str, signed: bool = False) -> Dial:
    """Parse a dial. A sign makes its values relative, unless numbers here are ``signed`` themselves.

    Raises ValueError with how it is written.
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
        raise ValueError(f"{text!r} mixes numbers with a sign, which are added, and numbers without: write one kind")
    return Dial(bars, values, not signed and signs[0])
