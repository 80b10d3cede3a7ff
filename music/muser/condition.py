"""The emotion element of MusER: one of four quadrants, looked up in a table (AAAI 2024, sec. 3.1)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gen.emotion import lexicon
from gen.emotion.conditioner import EmotionConditioner
from gen.emotion.track import EmotionTrack
from gen.network import register_to_config
from gen.registry import register


@register("conditioner", "quadrant")
class QuadrantConditioner(EmotionConditioner):
    """Four learned vectors, weighed by the share of each quadrant in the point that intensity scales."""

    @register_to_config
    def __init__(self, dim: int):
        super().__init__(dim)
        self.table = nn.Parameter(torch.randn(4, dim) * dim**-0.5)

    def prepare(self, tracks: Sequence[EmotionTrack]) -> dict[str, Tensor]:
        """-> quadrants (b, n, 4), each row summing to 1."""
        points = np.stack([track.vad * track.intensity[:, None] for track in tracks])
        return {"quadrants": torch.from_numpy(lexicon.quadrants(points).astype(np.float32))}

    def embed(self, quadrants: Tensor) -> tuple[Tensor, float]:
        return quadrants @ self.table, 0.0


def at_bar(tokens: Tensor, bar: Tensor) -> Tensor:
    """Conditions per bar (b, bars, c) -> per step (b, n, c), by each step's bar (b, n)."""
    return tokens.gather(1, bar[..., None].expand(-1, -1, tokens.shape[2]))
