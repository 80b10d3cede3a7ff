"""``affekt train music-judge``: the judge of :mod:`music.evaluation.judge`, on EMOPIA's training songs alone."""

import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen import checkpoints
from music.evaluation.judge import Judge, Member, accuracy, on_bars, piece_features
from music.reading import note_features
from music.score import read_notes
from music.training.emopia import emopia, vary


class Settings(NamedTuple):
    """The ``--set`` options."""

    members: int = 5
    width: int = 64
    dropout: float = 0.3
    epochs: int = 20
    copies: int = 9
    batch: int = 32
    rate: float = 2e-3
    seed: int = 0


def loss(logits: Tensor, quadrant: Tensor) -> Tensor:
    """Cross-entropy of the quadrant (b,) plus the mean of those of valence and arousal, smoothed by 0.1."""
    p = logits.softmax(dim=1).clamp(1e-5, 1 - 1e-5)
    signs = torch.stack([p[:, 0] + p[:, 3], p[:, 0] + p[:, 1]], dim=1)
    wanted = torch.stack([(quadrant == 0) | (quadrant == 3), quadrant < 2], dim=1)
    both = F.binary_cross_entropy(signs.clamp(max=1 - 1e-5), wanted * 0.9 + 0.05)
    return F.cross_entropy(logits, quadrant, label_smoothing=0.1) + both


def fit(member: Member, judge: Judge, copies: list[list], quadrant: Tensor, settings: Settings) -> None:
    """Train one voter on varied copies (pieces, copies) of the training clips."""
    rng = np.random.default_rng(settings.seed)
    steps = len(copies) // settings.batch
    optimizer = torch.optim.AdamW(member.parameters(), settings.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.rate, settings.epochs * steps + 1)
    member.train()
    for _ in range(settings.epochs):
        for chosen in rng.permutation(len(copies))[: steps * settings.batch].reshape(steps, settings.batch):
            read = [crop(*copies[i][rng.integers(settings.copies)], rng) for i in chosen]
            optimizer.zero_grad()
            loss(member(*judge.collate(read)), quadrant[chosen]).backward()
            nn.utils.clip_grad_norm_(member.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    member.eval()


def crop(notes: np.ndarray, piece: np.ndarray, rng: np.random.Generator, longest: int = 256):
    """At most ``longest`` neighbouring notes; the piece's measures stay those of the whole."""
    begin = rng.integers(max(len(notes) - longest, 0) + 1)
    return notes[begin : begin + longest], piece


def calibrate(judge: Judge, pieces: list[np.ndarray], quadrant: np.ndarray) -> None:
    """Set the temperature under which clips the voters never saw are most likely (Guo et al. 2017)."""
    raw = torch.from_numpy(judge(pieces).quadrant).log()
    grid = torch.linspace(0.3, 2.0, 86)
    cost = [F.cross_entropy(raw / t, torch.from_numpy(quadrant)) for t in grid]
    judge.temperature.fill_(grid[torch.stack(cost).argmin()])


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Fit the judge on EMOPIA's training songs, calibrate it on the validation songs, save it to ``out``.

    ``data`` holds ``emopia/``; no further voter is begun after ``minutes``. Accuracies on validation and test songs
    go into ``report.json``.
    """
    begun = time.monotonic()
    torch.manual_seed(settings.seed)
    clips = emopia(data)
    quadrant, songs, part = (
        np.array(column) for column in zip(*((c.quadrant - 1, c.song, c.part) for c in clips), strict=True)
    )
    pieces = [read_notes(clip.path) for clip in clips]
    judge, copies = prepare([pieces[i] for i in np.flatnonzero(part == "train")], settings)
    target = torch.from_numpy(quadrant[part == "train"])
    for index, member in enumerate(judge.voters):
        fit(member, judge, copies, target, settings._replace(seed=settings.seed + index))
        if minutes is not None and time.monotonic() - begun > 60 * minutes:
            break
    judge.register_to_config(members=index + 1)
    judge.voters = judge.voters[: index + 1]
    report = {"minutes": (time.monotonic() - begun) / 60, "members": index + 1}
    for name in ("valid", "test"):
        held = [pieces[i] for i in np.flatnonzero(part == name)]
        if name == "valid":
            calibrate(judge, held, quadrant[part == name])
        report[name] = accuracy(judge(held), quadrant[part == name], songs[part == name])
    out.mkdir(parents=True, exist_ok=True)
    checkpoints.save(judge.half(), out)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")


def prepare(pieces: list[np.ndarray], settings: Settings) -> tuple[Judge, list[list]]:
    """A new judge with the scale of the pieces' measures, and the features of varied copies of each piece.

    A third of the copies begins from what the tokens keep of the piece.
    """
    rng = np.random.default_rng(settings.seed)
    sources = [(notes, notes, on_bars(notes)[0]) for notes in pieces]
    varied = [[vary(source[k % 3], rng) for k in range(settings.copies)] for source in sources]
    copies = [[(note_features(notes), piece_features(notes)) for notes in row] for row in varied]
    judge = Judge(settings.members, settings.width, settings.dropout)
    measures = np.stack([piece for row in copies for _, piece in row])
    judge.centre.copy_(torch.from_numpy(measures.mean(axis=0)))
    judge.spread.copy_(torch.from_numpy(measures.std(axis=0) + 1e-3))
    return judge, copies
