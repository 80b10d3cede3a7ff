"""Draws a motion frame by frame, on as many threads as torch uses."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from talking_head.render.body import sway
from talking_head.render.portrait import Portrait

if TYPE_CHECKING:
    from talking_head.motion.speaker import Motion

MOST = 6  # threads: beyond them Python's own steps are what takes the time


def film(portrait: Portrait, motion: Motion, fps: float = 25) -> Iterator[np.ndarray]:
    """Yield frames (h, w, 3 or 4) uint8 in order, for a motion at ``fps``. Each thread draws whole frames."""
    threads = torch.get_num_threads()
    rows = iter(zip(*motion, sway(motion.turns, fps), strict=True))
    if threads == 1:
        yield from (portrait.frame(*row) for row in rows)
        return
    pool = ThreadPoolExecutor(min(threads, MOST), initializer=torch.set_num_threads, initargs=(1,))
    start = lambda row: pool.submit(portrait.frame, *row)
    try:
        ahead = deque(start(row) for row in islice(rows, 2 * MOST))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(start(row) for row in islice(rows, 1))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # a worker's setting also applies to new threads
