"""Outputs of Whisper base (:mod:`gen.whisper`) that the voice encoder is trained to predict. m frames of 20 ms, k = m /
5.
"""

import numpy as np

from gen.whisper import WIDTH

FRAMED = (3, 5)  # blocks whose frames are kept too
TOGETHER = 5  # frames averaged into one: 10 per second


def lesson(blocks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the blocks -> mean and deviation of each (6, 2, 512) and ten frames a second (k, 1024), float16."""
    pooled = np.stack([np.stack((rows.mean(0), rows.std(0))) for rows in blocks])
    count = len(blocks[0]) // TOGETHER
    own = [blocks[i][: count * TOGETHER].reshape(count, TOGETHER, WIDTH).mean(1) for i in FRAMED]
    return pooled.astype(np.float16), np.concatenate(own, 1).astype(np.float16)
