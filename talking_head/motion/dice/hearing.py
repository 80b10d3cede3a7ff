"""What the motion model hears: features of EMOTE's speech encoder, worked out block by block, whole or as sound comes.

n frames at 25 per second, s features. A block of frames sees 3 s before it and 0.48 s after it, however the sound came.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talking_head.motion.speech import CLOSED, FRAME, ROWS, SpeechEncoder, log_mel, spectrum

BLOCK, BEFORE, AFTER = 25, 75, 12  # frames


class Heard(NamedTuple):
    """n frames."""

    features: Tensor  # (n, s)
    closed: Tensor  # (n,) probability that lips meet
    rows: Tensor  # (4 n, 80) log-mel


def rows_of(samples: Iterable[np.ndarray]) -> Iterator[Tensor]:
    """Pieces of mono sound at 16 kHz as they come -> log-mel rows, those of whole frames, as soon as they are sure."""
    kept, start = np.zeros(0, np.float32), 0  # one frame before what is to be read next
    for piece in samples:
        kept = np.concatenate((kept, np.float32(piece)))
        sure = (len(kept) - 320) // FRAME  # a row looks 200 samples past its end
        if sure > start:
            yield log_mel(kept)[start * ROWS : sure * ROWS]
            kept, start = kept[(sure - 1) * FRAME :], 1
    last = log_mel(kept)[start * ROWS :]
    if len(last):
        yield last


@torch.inference_mode()
def hear(encoder: SpeechEncoder, rows: Iterable[Tensor], own: tuple[Tensor, int] | None = None) -> Iterator[Heard]:
    """Rows (4 m, 80) as they come -> blocks of features. ``own`` is the recording's :func:`spectrum`; without it, that
    of what was heard so far."""
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
    features, logits = encoder(seen[None] + encoder.familiar(*own))
    part = slice(start - first, stop - first)
    return Heard(features[0, part], logits[0, part].softmax(-1)[:, CLOSED], rows[start * ROWS : stop * ROWS])


def whole(encoder: SpeechEncoder, rows: Tensor) -> Heard:
    """A recording's rows (4 n, 80) -> everything at once."""
    return Heard(*(torch.cat(parts) for parts in zip(*hear(encoder, [rows], spectrum(rows)), strict=True)))
