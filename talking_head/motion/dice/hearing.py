"""Speech features of the motion model, computed block by block, for a whole recording or a stream.

n frames at 25 per second, s features. A block uses 3 s of sound before it and 0.48 s after it.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from talking_head.motion.speech import CLOSED, ROWS, SpeechEncoder, spectrum

BLOCK, BEFORE, AFTER = 25, 75, 12  # frames


class Heard(NamedTuple):
    """n frames."""

    features: Tensor  # (n, s)
    closed: Tensor  # (n,) probability of closed lips
    rows: Tensor  # (4 n, 80) log-mel


@torch.inference_mode()
def hear(encoder: SpeechEncoder, rows: Iterable[Tensor], own: tuple[Tensor, int] | None = None) -> Iterator[Heard]:
    """Stream of rows (4 m, 80) -> blocks of features. ``own`` is the :func:`spectrum` of the recording; the default is
    that of the rows so far."""
    known, done = None, 0
    block = lambda stop: _block(encoder, known, done, stop, own or spectrum(known))
    for piece in rows:
        known = piece if known is None else torch.cat((known, piece))
        while len(known) // ROWS >= done + BLOCK + AFTER:
            yield block(done + BLOCK)
            done += BLOCK
    while known is not None and done < len(known) // ROWS:
        stop = min(done + BLOCK, len(known) // ROWS)
        yield block(stop)
        done = stop


def _block(encoder: SpeechEncoder, rows: Tensor, start: int, stop: int, own: tuple[Tensor, int]) -> Heard:
    first = max(0, start - BEFORE)
    seen = rows[first * ROWS : (stop + AFTER) * ROWS]
    features, logits = encoder(seen[None] + encoder.mean_shift(*own))
    part = slice(start - first, stop - first)
    return Heard(features[0, part], logits[0, part].softmax(-1)[:, CLOSED], rows[start * ROWS : stop * ROWS])


def whole(encoder: SpeechEncoder, rows: Tensor) -> Heard:
    """Features of all rows (4 n, 80) of a recording."""
    return Heard(*(torch.cat(parts) for parts in zip(*hear(encoder, [rows], spectrum(rows)), strict=True)))
