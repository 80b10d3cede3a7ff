"""The words without who says them and how: a mel spectrum in which each phoneme sounds as it does on average.

``dictionary`` gives the average voice of each phoneme (DiffVC, ICLR 2022, sec. 3.1; EmoReg, AAAI 2025, fig. 3),
``AverageVoice`` is the network that hears it in any recording. Without an aligner, units that a network learned to
tell apart stand for phonemes (:func:`learned_units`).
Shapes: b batch, n frames, p phonemes.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.network import ConfigMixin, ModelMixin, register_to_config
from voice_conversion import features
from voice_conversion.corpus import Corpus
from voice_conversion.features import BANDS
from voice_conversion.layers import Block, Frames

GRID = 0.1  # neper: instances are rounded to it before their mode is taken


def dictionary(mel: np.ndarray, phone: np.ndarray, count: int) -> np.ndarray:
    """(n, 80) frames and the phone of each (n,), -1 for unknown -> (count, 80).

    Of every instance the median in each band, of every phone the most frequent of them.
    """
    ends = np.flatnonzero(np.diff(phone)) + 1
    spans = zip(np.concatenate(([0], ends)), np.concatenate((ends, [len(phone)])))
    instances: list[list[np.ndarray]] = [[] for _ in range(count)]
    for first, last in spans:
        if phone[first] >= 0:
            instances[phone[first]].append(np.median(mel[first:last].astype(np.float32), axis=0))
    table = np.full((count, BANDS), np.log(features.FLOOR), np.float32)
    for index, rows in enumerate(instances):
        if rows:
            table[index] = _mode(np.rint(np.stack(rows) / GRID).astype(int)) * GRID
    return table


def _mode(rows: np.ndarray) -> np.ndarray:
    """(m, 80) integers -> (80,): the most frequent value of each column, smoothed over its two neighbours."""
    low, found = rows.min(), []
    for column in (rows - rows.min()).T:
        counts = np.convolve(np.bincount(column, minlength=3), [1, 2, 1], "same")
        found.append(counts.argmax() + low)
    return np.array(found, np.float32)


def learned_units(hidden: Tensor, count: int = 100, steps: int = 30, seed: int = 0) -> Tensor:
    """Frames' hidden vectors (n, d) -> (count, d) centres by k-means; the nearest one is a frame's unit."""
    generator = torch.Generator().manual_seed(seed)
    centres = hidden[torch.randint(len(hidden), (1,), generator=generator)]
    while len(centres) < count:  # likelier the farther from those there are (k-means++, 2007)
        share = torch.cdist(hidden, centres).min(1).values.square()
        centres = torch.cat((centres, hidden[torch.multinomial(share, 1, generator=generator)]))
    for _ in range(steps):
        nearest = unit_of(hidden, centres)
        total = torch.zeros_like(centres).index_add_(0, nearest, hidden)
        size = torch.bincount(nearest, minlength=count)
        lost = size == 0
        centres = total / size.clamp_min(1)[:, None]
        centres[lost] = hidden[torch.randint(len(hidden), (int(lost.sum()),), generator=generator)]
    return centres


def unit_of(hidden: Tensor, centres: Tensor) -> Tensor:
    """(n, d) -> (n,) the nearest of the centres."""
    return torch.cdist(hidden, centres).argmin(1)


class AverageVoice(ModelMixin, ConfigMixin):
    """Mel (b, n, 80) -> average voice (b, n, 80)."""

    @register_to_config
    def __init__(self, phones: int, dim: int = 192, depth: int = 5, kernel: int = 5, dropout: float = 0.1):
        super().__init__()
        self.into = Frames(BANDS, dim, kernel)
        self.blocks = nn.ModuleList(Block(dim, kernel, 1 + i % 3, dropout) for i in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.guide = nn.Linear(dim, phones)
        self.out = nn.Linear(dim, BANDS)
        self.register_buffer("table", torch.zeros(phones, BANDS))  # the dictionary

    def hidden(self, mel: Tensor) -> Tensor:
        """(b, n, d); a recording's own mean spectrum says more of room and microphone than of words."""
        x = self.into(((mel + 5) / 3).to(self.into.weight.dtype))
        for block in self.blocks:
            x = block(x)
        return self.norm(x).to(x.dtype)

    def forward(self, mel: Tensor) -> Tensor:
        return self.out(self.hidden(mel)).float() - 5

    def loss(self, mel: Tensor, phone: Tensor) -> tuple[Tensor, dict]:
        """Squared error to the average voice of the phones (b, n), and their likelihood as a guide."""
        hidden, known = self.hidden(mel), phone >= 0
        target = self.table[phone.clamp_min(0)]
        error = ((self.out(hidden).float() - 5 - target).square().mean(-1) * known).sum() / known.sum()
        guide = F.cross_entropy(self.guide(hidden).float().transpose(1, 2), phone, ignore_index=-1)
        right = ((self.guide(hidden).argmax(-1) == phone) & known).sum() / known.sum()
        return error + 0.3 * guide, {"error": error.detach(), "guide": guide.detach(), "right": right}


class SpokenCrops:
    """Random stretches with phone labels; seen through another vocal tract, microphone and level each time."""

    def __init__(self, corpus: Corpus, phone: np.ndarray, part: str, size: int = 128, seed: int = 0,
                 vary: bool = True):  # fmt: skip
        self.corpus, self.phone, self.size, self.vary = corpus, phone, size, vary
        self.random = np.random.default_rng(seed)
        self.clips = [c for c in corpus.clips if c.part == part and c.frames > size and phone[c.start] >= 0]

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Mel (b, n, 80) and phones (b, n)."""
        mels, phones = [], []
        for index in self.random.integers(len(self.clips), size=count):
            clip = self.clips[index]
            first = clip.start + int(self.random.integers(clip.frames - self.size))
            part = slice(first, first + self.size)
            mels.append(self.corpus.mel[part].astype(np.float32))
            phones.append(self.phone[part].astype(np.int64))
        mel = torch.from_numpy(np.stack(mels))
        return (self.varied(mel) if self.vary else mel), torch.from_numpy(np.stack(phones))

    def varied(self, mel: Tensor) -> Tensor:
        """The same words otherwise: bands shifted by up to a fifth, a random tone, level and floor of noise."""
        b, at = len(mel), torch.arange(BANDS, dtype=torch.float32)
        draw = lambda scale, *shape: torch.from_numpy(self.random.normal(0, scale, (b, *shape)).astype(np.float32))
        place = (at * (1 + draw(0.07, 1).clamp(-0.2, 0.2))).clamp(0, BANDS - 1.001)
        low = place.floor().long()
        share = (place - low)[:, None]
        gather = lambda index: mel.gather(2, index[:, None].expand(-1, mel.shape[1], -1))
        moved = gather(low) * (1 - share) + gather(low + 1) * share
        tone = F.interpolate(draw(0.8, 1, 6), size=BANDS, mode="linear", align_corners=True)
        floor = torch.from_numpy(self.random.uniform(-11, -6.5, (b, 1, 1)).astype(np.float32))
        return torch.logaddexp(moved + tone + draw(0.4, 1, 1), floor)


@torch.inference_mode()
def unit_labels(corpus: Corpus, model: AverageVoice, count: int, clips: int = 800, seed: int = 0) -> np.ndarray:
    """(n,) the learned unit of each frame of some clips, -1 elsewhere: what stands for phones without an aligner.

    The units are clusters of what an encoder, perhaps of another language, hears in training and validation clips.
    """
    random, phone = np.random.default_rng(seed), np.full(len(corpus.phone), -1, np.int16)
    own = [clip for clip in corpus.clips if clip.part != "test"]
    picked = [own[i] for i in random.permutation(len(own))[:clips]]
    heard = []
    for clip in picked:
        mel = torch.from_numpy(corpus.mel[corpus.rows(clip)].astype(np.float32))[None]
        heard.append(model.hidden(mel)[0].float())
    whole = torch.cat(heard)
    some = whole[torch.from_numpy(random.permutation(len(whole))[:40_000])]
    centres = learned_units(some, count, seed=seed)
    for clip, hidden in zip(picked, heard):
        phone[corpus.rows(clip)] = unit_of(hidden, centres).numpy()
    return phone
