"""What the score network learns from: stretches of speech with the emotion that it was spoken in.

A speaker is told by recordings of his other than the one to learn, so that his vector says nothing of the emotion.
"""

from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from gen.emotion.spec import Emotion, EmotionCurve
from gen.emotion.track import track
from voice_conversion import features, speaker
from voice_conversion.average_voice import AverageVoice
from voice_conversion.corpus import Corpus
from voice_conversion.emoreg.score import Score, Voice

DROP = 0.1  # share of items without their emotion, for guidance
OTHERS = 4  # recordings that tell who speaks
SHARES = {"ravdess": 0.35, "emodb": 0.12, "nemo": 0.33, "aligned": 0.20, "own": 1.0}


@torch.inference_mode()
def average_voices(corpus: Corpus, model: AverageVoice, path: Path) -> np.ndarray:
    """(n, 80) float16 what the encoder makes of all frames; kept in ``path``."""
    if not path.is_file():
        found = np.empty(corpus.mel.shape, np.float16)
        for clip in corpus.clips:
            rows = corpus.rows(clip)
            mel = torch.from_numpy(corpus.mel[rows].astype(np.float32))[None]
            with torch.autocast("cpu", torch.bfloat16):
                found[rows] = model(mel)[0].numpy()
        np.save(path, found)
    return np.load(path, mmap_mode="r")


def speakers(corpus: Corpus, model: speaker.SpeakerEncoder, path: Path, each: int = 40) -> np.ndarray:
    """(clips, 256) a vector for ``each`` recordings of a speaker, zeros for the others; kept in ``path``."""
    if not path.is_file():
        found, random = np.zeros((len(corpus.clips), speaker.SIZE), np.float32), np.random.default_rng(0)
        of_speaker = defaultdict(list)
        for index, clip in enumerate(corpus.clips):
            of_speaker[clip.speaker].append(index)
        for known in of_speaker.values():
            picked = random.permutation(known)[:each]
            sounds = (soxr.resample(corpus.samples(corpus.clips[i]), features.RATE, speaker.RATE) for i in picked)
            with torch.inference_mode():
                found[picked] = model(torch.cat([speaker.prepare(sound)[:1] for sound in sounds])).numpy()
        np.save(path, found)
    return np.load(path)


@cache
def curve_of(emotion: str, level: float) -> EmotionCurve:
    """The emotion that a recording was acted in, at its level."""
    return EmotionCurve.constant(Emotion.parse(emotion).model_copy(update={"intensity": level}))


class EmotionalCrops:
    """Random stretches of a part's clips, each corpus, speaker and emotion drawn evenly."""

    def __init__(self, corpus: Corpus, means: np.ndarray, vectors: np.ndarray, part: str, size: int = 128,
                 seed: int = 0):  # fmt: skip
        self.corpus, self.means, self.vectors, self.size = corpus, means, vectors, size
        self.random = np.random.default_rng(seed)
        self.of_speaker: dict[str, list[int]] = defaultdict(list)
        cells: dict[str, dict[tuple, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, clip in enumerate(corpus.clips):
            if clip.part == part:
                if vectors[index].any():
                    self.of_speaker[clip.speaker].append(index)
                cells[clip.group][clip.speaker, clip.emotion, clip.level].append(index)
        self.groups = [(SHARES[name], list(cells[name].values())) for name in cells]

    def batch(self, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, list[EmotionCurve]]:
        """Mel, average voice (b, n, 80), log2 Hz, voiced (b, n), speaker (b, 256), mask (b, n), curves."""
        shares = np.array([share for share, _ in self.groups])
        rows, curves = [], []
        for which in self.random.choice(len(self.groups), count, p=shares / shares.sum()):
            cells = self.groups[which][1]
            cell = cells[self.random.integers(len(cells))]
            index = cell[self.random.integers(len(cell))]
            rows.append(self._crop(index))
            curves.append(curve_of(self.corpus.clips[index].emotion, self.corpus.clips[index].level))
        return (*(torch.from_numpy(np.stack(part)) for part in zip(*rows)), curves)

    def _crop(self, index: int) -> tuple[np.ndarray, ...]:
        clip, size = self.corpus.clips[index], self.size
        first = int(self.random.integers(max(clip.frames - size, 0) + 1))
        part = slice(clip.start + first, clip.start + min(first + size, clip.frames))
        octave = features.filled(np.asarray(self.corpus.hz[self.corpus.rows(clip)]))[first : first + size]
        gain = self.random.normal(0, 0.15)
        mel = np.maximum(self.corpus.mel[part].astype(np.float32) + gain, np.log(features.FLOOR))
        arrays = mel, self.means[part].astype(np.float32), octave, self.corpus.hz[part] > 0
        short = size - len(mel)
        padded = [np.pad(a.astype(np.float32), ((0, short), *[(0, 0)] * (a.ndim - 1)), mode="edge") for a in arrays]
        known = self.random.choice(self.of_speaker[clip.speaker], OTHERS)
        vector = self.vectors[known].mean(0)
        return (*padded, (vector / np.linalg.norm(vector)).astype(np.float32), np.arange(size) < len(mel))

    def voice(self, model: Score, count: int, drop: float = DROP) -> tuple[Tensor, Voice, Tensor]:
        """Mel (b, n, 80), what the network is told, mask (b, n)."""
        mel, mean, octave, voiced, vector, mask, curves = self.batch(count)
        dropped = torch.from_numpy(self.random.random(count) < drop)
        tokens = model.emotion(drop=dropped, **model.emotion.prepare([track(curve, [0.0]) for curve in curves])).tokens
        return mel, Voice(mean, octave, voiced, vector, tokens.expand(-1, self.size, -1)), mask


@torch.no_grad()
def validate(model: Score, crops: EmotionalCrops, batches: int = 8) -> dict:
    """The loss on speakers that are not trained on, with their emotion and with the null in its place."""
    found = {}
    for name, drop in (("valid", 0.0), ("valid_untold", 1.0)):
        crops.random = np.random.default_rng(0)
        generator = torch.Generator().manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            losses = [model.loss(*crops.voice(model, 16, drop), generator=generator) for _ in range(batches)]
        found[name] = round(float(torch.stack(losses).mean()), 4)
    return found


def loss(model: Score, crops: EmotionalCrops, batch: int = 24) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of the score on random crops."""
    velocity = model.loss(*crops.voice(model, batch))
    return velocity, {"velocity": velocity}
