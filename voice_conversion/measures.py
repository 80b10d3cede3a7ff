"""What a converted recording is measured by: against the same words really spoken so, and against itself before.

n, m frames. The last two need packages that are not among the dependencies; without them they give None.
"""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from voice_conversion import features

CEPSTRA = 24


class Against(NamedTuple):
    """How far a recording is from another rendition of its words."""

    mcd: float  # dB, mel cepstral distortion along the best alignment
    pitch: float  # semitones, root mean square where both have a voice
    seconds: float  # difference in length, absolute


def cepstra(mel: np.ndarray) -> np.ndarray:
    """(n, 80) -> (n, 24) mel cepstrum without its level."""
    from scipy.fft import dct

    return dct(mel.astype(np.float64), norm="ortho", axis=1)[:, 1 : CEPSTRA + 1] / np.sqrt(features.BANDS / 2)


def align(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, d) and (m, d) -> indices into both along the path of least distance (dynamic time warping)."""
    cost = np.sqrt(np.square(one[:, None] - other[None]).sum(-1))
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0
    for k in range(n + m - 1):  # one anti-diagonal after the other
        i = np.arange(max(0, k - m + 1), min(n, k + 1))
        j = k - i
        total[i + 1, j + 1] = cost[i, j] + np.minimum(np.minimum(total[i, j], total[i, j + 1]), total[i + 1, j])
    i, j, path = n, m, []
    while i and j:
        path.append((i - 1, j - 1))
        before = (total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])
        step = int(np.argmin(before))
        i, j = i - (step != 2), j - (step != 1)
    first, second = np.array(path[::-1]).T
    return first, second


def against(one: np.ndarray, other: np.ndarray) -> Against:
    """Two recordings of the same words, at one loudness, 22,050 Hz."""
    import torch

    mels = [features.mel(torch.from_numpy(features.cut(x))[None])[0].numpy() for x in (one, other)]
    tracks = [features.track(features.cut(x)) for x in (one, other)]
    rows = [cepstra(mel) for mel in mels]
    i, j = align(*rows)
    distance = np.sqrt(2 * np.square(rows[0][i] - rows[1][j]).sum(1)).mean() * 10 / np.log(10)
    both = (tracks[0][i] > 0) & (tracks[1][j] > 0)
    apart = 12 * np.log2(tracks[0][i][both] / tracks[1][j][both]) if both.any() else np.full(1, np.nan)
    seconds = abs(len(tracks[0]) - len(tracks[1])) * features.HOP / features.RATE
    return Against(float(distance), float(np.sqrt(np.square(apart).mean())), float(seconds))


def kendall(values: Sequence[float]) -> float:
    """How consistently values rise: the share of pairs in order less that of pairs out of order."""
    values = np.asarray(values)
    i, j = np.triu_indices(len(values), 1)
    return float(np.sign(values[j] - values[i]).mean())


def words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.lower().replace("’", "'"))


def word_errors(said: str, heard: str) -> int:
    """Words put in, left out or exchanged."""
    one, other = words(said), words(heard)
    row = list(range(len(other) + 1))
    for i, word in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, word2 in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != word2))
    return row[-1]


def recogniser():
    """(s,) at 22,050 Hz -> English words heard, or None where PocketSphinx is not installed."""
    if find_spec("pocketsphinx") is None:
        return None
    import soxr
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=16000, loglevel="FATAL")

    def hear(samples: np.ndarray) -> str:
        sound = (soxr.resample(samples, features.RATE, 16000).clip(-1, 1) * 32767).astype(np.int16)
        decoder.start_utt()
        decoder.process_raw(np.pad(sound, 4000).tobytes(), full_utt=True)
        decoder.end_utt()
        return decoder.hyp().hypstr if decoder.hyp() else ""

    return hear


def quality():
    """(s,) at 22,050 Hz -> predicted opinion score 1..5, or None where Distill-MOS is not installed."""
    if find_spec("distillmos") is None:
        return None
    import soxr
    import torch
    from distillmos import ConvTransformerSQAModel

    model = ConvTransformerSQAModel().eval()

    def score(samples: np.ndarray) -> float:
        sound = soxr.resample(samples, features.RATE, 16000).astype(np.float32)
        with torch.inference_mode():
            return float(model(torch.from_numpy(sound)[None]).mean())

    return score
