"""A piece of music as it sounds and as compound words."""

from typing import NamedTuple

import numpy as np

from music.names import Key
from music.score import bar_lines, to_notes
from music.tokens import BAR, BEAT, Grid, violation


class Piece(NamedTuple):
    """A piece as it sounds, and as compound words (T, 7): their nearest tempo and lengths where it has finer ones."""

    tokens: np.ndarray
    grid: Grid
    key: Key | None = None

    @property
    def notes(self) -> np.ndarray:
        """(n, 4): start s, end s, pitch, velocity."""
        return to_notes(self.grid)

    @property
    def bars(self) -> np.ndarray:
        """(bars,) seconds at which the bars begin."""
        return bar_lines(self.grid)

    def valid(self) -> bool:
        """True if the rows follow the grammar, every bar has notes, and the last row ends the last bar."""
        bars = np.flatnonzero(self.tokens[:, BEAT] == BAR)
        return violation(self.tokens) is None and bool(np.all(np.diff(np.append(bars, len(self.tokens))) > 1))
