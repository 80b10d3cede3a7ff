"""Reader of recordings for the emotion embedding (``affekt.reader``): the stretches in which a voice is heard."""

from pathlib import Path

import numpy as np

from gen.emotion.embedding import features
from gen.generator import Readable
from gen.media import read_audio
from gen.notes import collect

LEAST = 0.3  # seconds with a voice in them
VOICED = 0.05  # share of rows with a pitch that makes a voice


def read(path: Path) -> Readable:
    """Stretches (s,) of one channel at 16 kHz."""
    with collect():  # it is only listened to
        samples, rate = read_audio(path, features.RATE)
    loud = max(np.quantile(np.square(samples[::7]), 0.99) * features.ACTIVE, features.SILENCE)

    def part(start: float, end: float) -> np.ndarray | None:
        own = samples[int(start * rate) : int(end * rate)]
        if len(own) < LEAST * rate or np.square(own).mean() < loud:
            return None
        rows = features.voice(own)
        heard = (rows[:, -1] > 0.5).mean() >= VOICED and len(rows) >= LEAST * features.VOICE_RATE
        return own if heard else None

    return Readable(len(samples) / rate, part)
