"""Trains the voice encoder on emotion labels and by distillation from Whisper base.

The encoder's vector predicts the principal directions of the pooled blocks of Whisper base's encoder, and its frames
predict two blocks over time. Unlabelled recordings are used for distillation only. Whisper is not needed after training
(:mod:`apps.embedding.teacher`).

b batch, n rows, m frames. Rows of a batch are augmented by :func:`varied`; rooms, lines and noise are in the versions
of each recording made by :mod:`apps.embedding.speech`.
"""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from apps.embedding.batches import CENTRES, POINTS
from apps.embedding.speech import READING, Speech
from gen.emotion.embedding import features
from gen.emotion.embedding.network import TERMS
from gen.emotion.embedding.voice import VoiceEncoder
from gen.training import Run

OTHER = len(TERMS)  # class of sounds without emotional speech: music, singing, noise
LONGEST = 128  # rows of a training crop
SHORTEST = 60
EVEN = 0.998  # decay of the moving average of the weights
DRAWN = {"ravdess": (5, 4), "emodb": (2, 5), "nemo": (4, 5)}  # speakers in a batch, recordings of each (one neutral)
UNLABELLED = {"aligned": 8, "grid": 1, "facegood": 1, "outlier": 5}
READ = 0.3  # weight of read speech, which is labelled neutral
SPREAD = 0.45  # width of a label's neighbourhood in valence-arousal-dominance


class Settings(NamedTuple):
    """Hyperparameters; the last ones are loss weights."""

    steps: int = 1800
    rate: float = 2e-3
    decay: float = 0.05
    width: int = 192
    deep: int = 3
    out: int = 192
    dropout: float = 0.1
    seed: int = 0
    mixed: float = 0.3  # share of voices mixed with another one (mixup)
    pooled: float = 1.0
    frames: float = 0.5
    pair: float = 0.7
    soft: float = 0.6  # share of the target that comes from a head on the teacher's features


def labels() -> Tensor:
    """Target of each class (11, 11): .9 for the class itself, the rest for neighbours in valence-arousal-dominance."""
    target = torch.zeros(OTHER + 1, OTHER + 1)
    target[:OTHER, :OTHER] = 0.9 * torch.eye(OTHER) + 0.06 * near(torch.from_numpy(POINTS)) + 0.03 / OTHER
    target[:, OTHER] += 0.01
    target[OTHER] = 0.02 / OTHER
    target[OTHER, OTHER] = 0.98
    return target


def near(points: Tensor) -> Tensor:
    """Shares of the other points (k, k) by proximity, for points (k, 3)."""
    found = torch.exp(-torch.cdist(points, points).square() / (2 * SPREAD**2)).fill_diagonal_(0)
    return found / found.sum(1, keepdim=True)


class Student(nn.Module):
    """The encoder with its training heads."""

    def __init__(self, chosen: Settings, pooled: int, framed: int):
        super().__init__()
        self.encoder = VoiceEncoder(chosen.width, chosen.out, chosen.dropout, chosen.deep)
        head = lambda size, out: nn.Sequential(
            nn.LayerNorm(size), nn.Dropout(0.2), nn.Linear(size, 128), nn.GELU(), nn.Dropout(0.2), nn.Linear(128, out)
        )
        self.alone, self.pair = head(chosen.out, OTHER + 1), head(2 * chosen.out, OTHER + 1)
        self.pooled, self.frames = nn.Linear(chosen.out, pooled), nn.Linear(chosen.width, framed)

    def against(self, h: Tensor, reference: Tensor) -> Tensor:
        return self.pair(torch.cat((h, h - reference), -1))


class Batch(NamedTuple):
    rows: Tensor  # (b n f)
    mask: Tensor  # (b n)
    target: Tensor  # (b 11)
    weight: Tensor  # (b,)
    paired: Tensor  # (b 11) target with a reference
    reference: Tensor  # (b b) weights of the batch items in each voice's reference; a row of zeros without one
    pooled: Tensor  # (b p)
    taught: Tensor  # (b,) bool
    at: Tensor  # (b m) position of each frame in the teacher's frames
    index: list[int]


class Batches:
    def __init__(self, speech: Speech, keep: np.ndarray, chosen: Settings):
        self.speech, self.chosen, self.random = speech, chosen, np.random.default_rng(chosen.seed)
        self.label = labels()
        self.people: dict = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
        for i in np.flatnonzero(keep):
            take = speech.takes[i]
            self.people[take.group][take.person][take.term].append(i)
        self.sound = {
            name: _sound(speech, [i for own in terms.values() for i in own])
            for group in DRAWN
            for name, terms in self.people[group].items()
        }

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and reciprocal of the standard deviation of the rows of labelled voices."""
        rows = np.concatenate(
            [
                self.speech.rows(i)
                for group in DRAWN
                for own in self.people[group].values()
                for term in own.values()
                for i in term[::4]
            ]
        ).astype(np.float32)
        return torch.from_numpy(rows.mean(0)), torch.from_numpy(1 / (rows.std(0) + 0.05))

    def draw(self) -> tuple[list[int], Tensor]:
        rng, drawn, reference = self.random, [], []
        pick = lambda own: int(rng.choice(own))
        for group, (speakers, count) in DRAWN.items():
            names = [*self.people[group]]
            if not names:
                continue
            for k in rng.choice(len(names), speakers, replace=len(names) < speakers):
                terms = self.people[group][names[k]]
                kinds = [k for k in terms if k != 0]
                first = len(drawn)
                drawn += [pick(terms[0])] + [pick(terms[kinds[rng.integers(len(kinds))]]) for _ in range(count - 1)]
                for j in range(count):
                    weight = np.zeros(200, np.float32)
                    others = [first + o for o in range(count) if o != j and drawn[first + o] != drawn[first + j]]
                    if j and rng.random() < 0.6:
                        others = [first]
                    if others:
                        weight[others] = 1 / len(others)
                    reference.append(weight)
        for group, count in UNLABELLED.items():
            own = [i for terms in self.people[group].values() for term in terms.values() for i in term]
            if own:
                drawn += [pick(own) for _ in range(count)]
        reference += [np.zeros(200, np.float32)] * (len(drawn) - len(reference))
        return drawn, torch.from_numpy(np.stack(reference)[:, : len(drawn)])

    def next(self) -> Batch:
        rng, speech = self.random, self.speech
        drawn, reference = self.draw()
        rows = np.full((len(drawn), LONGEST, features.VOICE), -1, np.float32)
        rows[..., features.BANDS + 1 :] = 0
        mask, at = np.zeros((len(drawn), LONGEST), bool), np.zeros((len(drawn), LONGEST // 4), np.float32)
        others = [*self.sound]
        for k, i in enumerate(drawn):
            take, version = speech.takes[i], int(rng.integers(speech.versions)) if rng.random() < 0.75 else 0
            own, speed = speech.rows(i, version).astype(np.float32), speech.speed[version][i]
            pace = np.exp(rng.uniform(-0.15, 0.15)) if rng.random() < 0.5 else 1.0
            size = int(min(len(own) / pace, LONGEST) * (rng.uniform(0.6, 1) if rng.random() < 0.6 else 1))
            size = min(max(size, SHORTEST), LONGEST, max(1, int(len(own) / pace)))
            start = rng.uniform(0, max(1e-6, len(own) - size * pace))
            where = np.clip((start + pace * np.arange(size)).astype(int), 0, len(own) - 1)
            own = own[where]
            if take.person in self.sound and rng.random() < 0.3:
                shift = self.sound[others[rng.integers(len(others))]] - self.sound[take.person]
                bands = own[:, : features.BANDS]
                own[:, : features.BANDS] = np.maximum(bands + shift[:-1] * (2 * (bands + 1)).clip(0, 1), -1)
                own[:, features.BANDS + 1] += shift[-1] * (own[:, -1] > 0.5)
            rows[k, :size], mask[k, :size] = own, True
            at[k] = (start + pace * (4 * np.arange(LONGEST // 4) + 1)) * (features.HOP / features.RATE) * speed
        weight = torch.tensor([READ if speech.takes[i].group in READING else 1.0 for i in drawn])
        target = self.label[[speech.takes[i].term for i in drawn]]
        taught = torch.tensor([speech.taught[i] for i in drawn])
        share = torch.where(taught, torch.where(weight < 1, 1.0, self.chosen.soft), 0.0)[:, None]
        share = share if self.chosen.soft else 0 * share
        soft = (torch.from_numpy(own[drawn]) for own in (speech.alone, speech.pair))
        alone, paired = (torch.lerp(target, own, share) for own in soft)
        return Batch(
            torch.from_numpy(rows),
            torch.from_numpy(mask),
            alone,
            weight,
            paired,
            reference,
            torch.from_numpy(speech.pooled[drawn]),
            taught,
            torch.from_numpy(at),
            drawn,
        )


def _sound(speech: Speech, own: list[int]) -> np.ndarray:
    """Mean spectrum of a speaker's active frames and mean pitch of the voiced ones (65,)."""
    rows = np.concatenate([speech.rows(i) for i in own[::3]]).astype(np.float32)
    loud = rows[:, features.BANDS] >= np.median(rows[:, features.BANDS])
    voiced = rows[:, -1] > 0.5
    pitch = rows[voiced, features.BANDS + 1].mean() if voiced.any() else 0.0
    return np.append(rows[loud, : features.BANDS].mean(0), pitch).astype(np.float32)


def varied(rows: Tensor, mask: Tensor) -> Tensor:
    """Augments rows (b n f): formants up to 12 % lower or higher, microphones and lines; masks bands and stretches of
    time (SpecAugment, Park et al., Interspeech 2019).
    """
    b, n, _ = rows.shape
    bands, band = features.BANDS, torch.arange(features.BANDS)
    mel, rest = rows[..., :bands], rows[..., bands:].clone()
    formants = torch.exp((torch.rand(b) * 2 - 1) * 0.12) * (torch.rand(b) < 0.7)
    formants = torch.where(formants == 0, torch.ones(b), formants)
    centres = torch.from_numpy(CENTRES).float()
    spots = [np.interp(CENTRES / f, CENTRES, np.arange(bands)) for f in formants.numpy()]
    spot = torch.from_numpy(np.stack(spots)).float()
    low = spot.long().clamp(max=bands - 2)
    share = (spot - low)[:, None]
    take = lambda index: mel.gather(2, index[:, None].expand(-1, n, -1))
    mel = take(low) * (1 - share) + take(low + 1) * share
    lift = (1.2 * formants.log2() + torch.randn(b) * 0.1)[:, None]
    rest[..., 1] += lift * (rest[..., 3] > 0.5)
    waves = torch.cos(torch.rand(b, 3, 1) * 6.3 + torch.linspace(0, 1, bands) * torch.rand(b, 3, 1) * 9)
    mel = mel + (torch.randn(b, 3, 1) * 0.08 * waves).sum(1)[:, None]
    floor = torch.where(torch.rand(b, 1, 1) < 0.5, torch.rand(b, 1, 1) * 0.5 - 1.0, -torch.ones(b, 1, 1))
    mel = torch.maximum(mel, floor + 0.04 * torch.randn(b, n, 1) * (floor > -1))
    line = (torch.rand(b, 1) < 0.15) & ((centres < 300) | (centres > 3400))
    for size in (10, 8):
        first = torch.randint(0, bands, (b, 1))
        line |= (band >= first) & (band < first + torch.randint(0, size, (b, 1)))
    mel = mel.masked_fill(line[:, None], -1)
    gone = torch.zeros(b, n, dtype=torch.bool)
    at = torch.arange(n)
    for _ in range(2):
        first = torch.randint(0, n, (b, 1))
        gone |= (at >= first) & (at < first + torch.randint(0, 14, (b, 1)))
    mel = mel.masked_fill(gone[..., None], -1)
    rest[..., 1:] *= (torch.rand(b, 1, 1) > 0.1) & ~gone[..., None]
    return torch.cat((mel.clamp(-1, 1.4), rest), -1)


def loss(model: Student, batches: Batches) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted losses of one batch, their sum first."""
    chosen, batch = batches.chosen, batches.next()
    rows, mask = varied(batch.rows, batch.mask), batch.mask
    b = len(rows)
    other, share = torch.randperm(b), torch.ones(b)
    mixed = torch.rand(b) < chosen.mixed
    share[mixed] = torch.distributions.Beta(0.4, 0.4).sample((int(mixed.sum()),))
    share = torch.maximum(share, 1 - share)
    rows = share[:, None, None] * rows + (1 - share)[:, None, None] * rows[other]
    mask = mask | (mask[other] & (share < 1)[:, None])
    blend = lambda own: share[:, None] * own + (1 - share)[:, None] * own[other]
    alone, paired = blend(batch.target), blend(batch.paired)
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        frames, h = model.encoder(rows, mask)
        guess = model.frames(frames)
    h, guess = h.float(), guess.float()
    weight = batch.weight / batch.weight.mean()
    cross = lambda logits, target: -(weight[:, None] * target * logits.log_softmax(-1)).sum(-1)
    found = {"alone": cross(model.alone(h), alone).mean()}
    plain = (share == 1) | (share > 0.7)
    known = (batch.reference.sum(1) > 0) & plain
    base = batch.reference @ h
    found["pair"] = chosen.pair * cross(model.against(h, base), paired)[known].mean()
    pure = batch.taught & (share > 0.8)
    if chosen.pooled and pure.any():
        found["pooled"] = chosen.pooled * (model.pooled(h[pure]) - batch.pooled[pure]).square().mean()
    if chosen.frames and pure.any():
        wanted, there = batches.speech.framed(batch.index, batch.at)
        there &= batch.mask[:, ::4] & pure[:, None]
        found["frames"] = chosen.frames * (guess - wanted)[there].square().mean()
    return sum(found.values()), found


def student(
    speech: Speech, keep: np.ndarray, chosen: Settings, out: Path, name: str, begin: Student | None = None
) -> Student:
    """A student trained on the recordings of ``keep`` (n,) bool, initialised from ``begin`` if given."""
    torch.manual_seed(chosen.seed)
    batches, model = Batches(speech, keep, chosen), Student(chosen, speech.pooled.shape[1], speech.frames.shape[1])
    centre, scale = batches.moments()
    model.encoder.centre.copy_(centre)
    model.encoder.scale.copy_(scale)
    if begin:
        model.load_state_dict(begin.state_dict())
    run = Run(
        name,
        model,
        out,
        None,
        chosen.rate,
        steps=chosen.steps,
        clip=2.0,
        decay=chosen.decay,
        precision=None,
        average=EVEN,
        settings=chosen._asdict(),
        random=batches.random,
    )
    run.train(lambda: loss(model, batches))
    return model.eval()


@torch.no_grad()
def crops(speech: Speech, index: list[int], seed: int) -> list[np.ndarray]:
    """Rows of a random version of each recording, cropped and augmented once as in training."""
    torch.manual_seed(seed)
    rng, found = np.random.default_rng(seed), []
    for start in range(0, len(index), 64):
        own = [speech.rows(i, int(rng.integers(speech.versions))) for i in index[start : start + 64]]
        sizes = [int(np.ceil(min(len(row), 250) * rng.uniform(0.6, 1))) for row in own]
        rows = torch.zeros(len(own), max(sizes), features.VOICE)
        for k, (row, size) in enumerate(zip(own, sizes)):
            first = rng.integers(len(row) - size + 1)
            rows[k, :size] = torch.from_numpy(row[first : first + size].astype(np.float32))
        mask = torch.arange(rows.shape[1]) < torch.tensor(sizes)[:, None]
        found += [row[:size].numpy() for row, size in zip(varied(rows, mask), sizes)]
    return found


@torch.no_grad()
def encode(encoder: VoiceEncoder, rows: list[np.ndarray], size: int = 48, longest: int = 400) -> Tensor:
    """The vectors (n, out) of recordings."""
    order, found = sorted(range(len(rows)), key=lambda i: len(rows[i])), [torch.empty(0)] * len(rows)
    for start in range(0, len(order), size):
        own = [rows[i][:longest] for i in order[start : start + size]]
        padded = torch.zeros(len(own), max(map(len, own)), own[0].shape[1])
        for k, row in enumerate(own):
            padded[k, : len(row)] = torch.from_numpy(row.astype(np.float32))
        mask = torch.arange(padded.shape[1]) < torch.tensor([len(r) for r in own])[:, None]
        for i, row in zip(order[start : start + size], encoder(padded, mask)[1]):
            found[i] = row
    return torch.stack(found)
