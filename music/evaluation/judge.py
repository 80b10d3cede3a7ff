"""An emotion judge for piano: which quadrant of valence and arousal a listener would name.

Trained on EMOPIA training songs alone, and on nothing that a generator here was trained with, so that it can
measure generators from outside. Several small networks vote; each reads every note with its harmonic
surroundings (no absolute key) and a few measures of the whole piece.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from gen import checkpoints
from gen.evaluate.bootstrap import mean_of
from gen.evaluate.report import Estimate
from gen.network import ConfigMixin, ModelMixin, register_to_config
from music import score, tokens
from music.beats import track
from music.chords import estimate
from music.evaluation import metrics
from music.reading import note_features

NOTE_FEATURES = 44
PIECE_FEATURES = 25


class Verdict(NamedTuple):
    """Probabilities: quadrants Q1 to Q4 (n, 4), positive valence (n,), high arousal (n,)."""

    quadrant: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray


def piece_features(notes: np.ndarray) -> np.ndarray:
    """(25,) float32: density, loudness, register, mode, consonance, polyphony, durations, ranked chroma."""
    pitch, loud, held = notes[:, 2], notes[:, 3], np.log(notes[:, 1] - notes[:, 0] + 0.03)
    row = (
        np.log(metrics.note_density(notes)),
        np.log(metrics.onset_rate(notes)),
        loud.mean() / 20,
        loud.std() / 10,
        metrics.mode(notes) * 3,
        metrics.consonance(notes) * 5,
        metrics.register(notes) / 12,
        pitch.std() / 6,
        metrics.polyphony(notes) / 2,
        held.mean(),
        held.std(),
        np.quantile(pitch, 0.1) / 12,
        np.quantile(pitch, 0.9) / 12,
        *np.sort(metrics.chroma(notes)) * 10,
    )
    return np.array(row, dtype=np.float32)


class Member(nn.Module):
    """One voter: convolutions over the notes, attention pooling, the piece's measures, four logits."""

    def __init__(self, width: int, heads: int = 4, dropout: float = 0.3):
        super().__init__()
        self.embed = nn.Linear(NOTE_FEATURES, width)
        self.norm = nn.LayerNorm(width)
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation) for dilation in (1, 3)
        )
        self.dropout = nn.Dropout(dropout)
        self.attend = nn.Linear(width, heads)
        self.pooled = nn.LayerNorm(width * (heads + 1))
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(width * (heads + 1) + PIECE_FEATURES, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, 4),
        )

    def forward(self, notes: Tensor, mask: Tensor, piece: Tensor) -> Tensor:
        """notes (b, n, 44), mask (b, n) bool, piece (b, 25) standardised -> logits (b, 4)."""
        here = mask[..., None]
        x = self.dropout(F.gelu(self.norm(self.embed(notes))))
        for conv in self.convs:
            x = x + self.dropout(F.gelu(conv((x * here).transpose(1, 2)).transpose(1, 2)))
        weight = self.attend(x).masked_fill(~here, -torch.inf).softmax(dim=1)
        focus = torch.einsum("bnh,bnd->bhd", weight, x).flatten(1)
        mean = (x * here).sum(dim=1) / here.sum(dim=1)
        return self.head(torch.cat([self.pooled(torch.cat([focus, mean], dim=1)), piece], dim=1))


class Judge(ModelMixin, ConfigMixin):
    """Several :class:`Member` networks; their mean probability under one temperature is the verdict."""

    @register_to_config
    def __init__(self, members: int = 4, width: int = 64, dropout: float = 0.3):
        super().__init__()
        self.voters = nn.ModuleList(Member(width, dropout=dropout) for _ in range(members))
        self.register_buffer("centre", torch.zeros(PIECE_FEATURES))
        self.register_buffer("spread", torch.ones(PIECE_FEATURES))
        self.register_buffer("temperature", torch.ones(1))

    @classmethod
    def load(cls, name: str = "music-judge") -> "Judge":
        """The trained judge, in float32 and ready to be asked."""
        return checkpoints.load(name, cls).float().eval()

    @torch.inference_mode()
    def forward(self, pieces: list[np.ndarray]) -> Verdict:
        """Pieces of notes (n, 4) in seconds -> :class:`Verdict`."""
        read = [(note_features(notes), piece_features(notes)) for notes in pieces]
        batches = (self.collate(read[i : i + 16]) for i in range(0, len(read), 16))
        return verdict(torch.cat([self.probabilities(*batch) for batch in batches]))

    def probabilities(self, notes: Tensor, mask: Tensor, piece: Tensor) -> Tensor:
        """A collated batch -> calibrated quadrants (b, 4)."""
        mean = torch.stack([member(notes, mask, piece).softmax(dim=1) for member in self.voters]).mean(dim=0)
        return (mean.log() / self.temperature).softmax(dim=1)

    def collate(self, read: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor, Tensor]:
        """Features of notes and of pieces -> notes (b, n, 44), mask (b, n), standardised piece (b, 25)."""
        notes = pad_sequence([torch.from_numpy(note).float() for note, _ in read], batch_first=True)
        length = torch.tensor([len(note) for note, _ in read])
        mask = torch.arange(notes.shape[1]) < length[:, None]
        piece = torch.from_numpy(np.stack([piece for _, piece in read]))
        return notes, mask, (piece - self.centre) / self.spread


def verdict(quadrant: Tensor) -> Verdict:
    """(n, 4) probabilities of Q1 to Q4 -> :class:`Verdict` with their sums."""
    q = quadrant.numpy()
    return Verdict(q, q[:, 0] + q[:, 3], q[:, 0] + q[:, 1])


def on_bars(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A performance as the tokens keep it: tracked beats, sixteenths, binned velocities; notes and bar lines."""
    vocabulary, beats = tokens.Vocabulary.default(), track(notes)
    rows = tokens.encode(tokens.quantise(notes, beats, estimate(notes, beats)), vocabulary)
    grid = tokens.decode(rows, vocabulary)
    return score.to_notes(grid), score.bar_lines(grid)


def accuracy(told: Verdict, quadrant: np.ndarray, songs: np.ndarray) -> dict[str, Estimate]:
    """Accuracy with its 95 % interval (drawn by song) of quadrant (0..3), arousal and valence."""
    right = {
        "quadrant": told.quadrant.argmax(axis=1) == quadrant,
        "arousal": (told.arousal > 0.5) == (quadrant < 2),
        "valence": (told.valence > 0.5) == np.isin(quadrant, (0, 3)),
    }
    return {name: mean_of(hit, songs) for name, hit in right.items()}
