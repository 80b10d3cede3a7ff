"""The small recogniser that chooses (:class:`voice_conversion.performance.scorer.Scorer`), taught on renderings.

Performances are laid on neutral readings of training speakers at several strengths, a recogniser on Whisper's blocks
(:mod:`voice_conversion.evaluation.listener`) says what it hears, and the encoder of the embedding's voices
learns to say the same (Hinton et al., Distilling the knowledge in a neural network, 2015), beside the real recordings
with their labels. Speakers of the evaluation take no part.

c lessons, n rows of 20 ms.
"""

from __future__ import annotations

import copy
import logging
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from gen.emotion.embedding.network import collate
from gen.emotion.embedding.recogniser import SEVEN, Recogniser
from voice_conversion.evaluation.listener import Together
from voice_conversion.features import HOP, RATE
from voice_conversion.performance.bank import Bank
from voice_conversion.performance.lay import changed, contours
from voice_conversion.performance.recording import heard, sounding
from voice_conversion.performance.scorer import Scorer, rows
from voice_conversion.training.corpus import Clip, Corpus

log = logging.getLogger(__name__)
STRENGTHS = (1.0, 1.0, 1.0, 0.7, 1.3)
LIFTS, MOVEMENTS = (0.0, 1.0), (0.5, 1.5)  # ranges of what is taken of a performance's pitch
RESTS = (1.0, 1.0, 0.5, 0.0)  # of what a performance's map leaves over, so that smooth renderings are known, too
NEAR, LENGTH = 0.6, np.log(2)  # octaves and nepers that performer and reader may be apart
TOGETHER = 8  # performances on a reading
BATCH, LONGEST, RATE_OF, DECAY, EVEN = 24, 140, 6e-4, 0.03, 0.995
REAL = 0.25  # share of a batch that is real recordings
SOFT = 0.1  # of a real recording's target that is spread over all emotions


class Lessons(NamedTuple):
    """Rows (n 68) of renderings, and what a teacher hears in them."""

    rows: list[np.ndarray]
    shares: np.ndarray  # (c, 7)
    reference: np.ndarray  # (c,) which of ``plain``
    plain: list[np.ndarray]  # rows of the readings
    which: np.ndarray  # (c,) the performances

    def save(self, path: Path) -> None:
        parts = {name: np.concatenate(getattr(self, name)).astype(np.float16) for name in ("rows", "plain")}
        sizes = {f"{name}_sizes": [len(own) for own in getattr(self, name)] for name in ("rows", "plain")}
        np.savez(path, **parts, **sizes, shares=self.shares, reference=self.reference, which=self.which)

    @classmethod
    def load(cls, path: Path) -> Lessons:
        with np.load(path) as file:
            split = lambda name: np.split(file[name].astype(np.float32), np.cumsum(file[f"{name}_sizes"])[:-1])
            return cls(split("rows"), file["shares"], file["reference"], split("plain"), file["which"])


def lessons(bank: Bank, corpus: Corpus, listener: Together, clips: list[Clip], count: int, seed: int) -> Lessons:
    """``count`` renderings on neutral readings among ``clips``, none of the reader's own performances or words."""
    random, found = np.random.default_rng(seed), Lessons([], np.zeros((0, 7)), np.zeros(0, int), [], np.zeros(0, int))
    people = defaultdict(list)
    for clip in clips:
        if clip.emotion == "neutral":
            people[clip.speaker].append(clip)
    weight = np.array([2.0 if own[0].group == "ravdess" else 1.0 for own in people.values()])
    names, shares, reference, chosen = [*people], [], [], []
    while len(found.rows) < count:
        own = people[names[random.choice(len(names), p=weight / weight.sum())]]
        clip = own[random.integers(len(own))]
        recording = heard(corpus.samples(clip)[None], RATE)
        first, last = recording.spans[0][0], recording.spans[-1][1]
        phrase, sound = recording.whole.part(first, last), recording.plain[None, first * HOP : last * HOP]
        fits = [
            i
            for i, p in enumerate(bank.performances)
            if p.speaker != clip.speaker
            and p.text != clip.text
            and abs(bank.medians[p.speaker] - recording.median) < NEAR
            and abs(np.log(len(bank.readings[p.reading]) * bank.step / len(phrase.hz))) < LENGTH
        ]
        if len(fits) < TOGETHER:
            continue
        kinds = np.array([bank.performances[i].emotion for i in fits])
        chance = 1 / np.array([(kinds == kind).sum() for kind in kinds])
        which = random.choice(fits, TOGETHER, replace=False, p=chance / chance.sum())
        changes = []
        for i in which:
            rest = random.choice(RESTS) * bank.performances[i].rest
            share = [random.uniform(*LIFTS), random.uniform(*MOVEMENTS)]
            one = bank._replace(
                performances=[bank.performances[i]._replace(rest=rest)], shares={bank.performances[i].emotion: share}
            )
            laid = contours(one, [0], phrase, recording.median)[0]
            changes.append(changed(phrase, recording.median, laid, random.choice(STRENGTHS)))
        waves = [sounding(sound, RATE, phrase.hz, change)[0] for change in changes]
        shares.append(listener.shares(waves, listener.reference(recording.plain)))
        reference += [len(found.plain)] * len(waves)
        chosen += list(which)
        found.plain.append(rows(recording.plain, RATE).numpy())
        found.rows.extend(rows(wave, RATE).numpy() for wave in waves)
        log.info("%d of %d renderings heard", len(found.rows), count)
    return found._replace(shares=np.concatenate(shares), reference=np.array(reference), which=np.array(chosen))


def real(corpus: Corpus, clips: list[Clip], names: list[str], seed: int) -> Lessons:
    """The recordings themselves, whose emotions have ``names``, each against a neutral one of the same speaker."""
    random, plain, found = np.random.default_rng(seed), [], []
    first: dict[str, list[int]] = defaultdict(list)
    for clip in clips:
        if clip.emotion == "neutral":
            first[clip.speaker].append(len(plain))
            plain.append(rows(corpus.samples(clip), RATE).numpy())
    shares, reference = [], []
    for clip, name in zip(clips, names):
        if name in SEVEN and first[clip.speaker]:
            found.append(rows(corpus.samples(clip), RATE).numpy())
            shares.append((1 - SOFT) * np.eye(7)[SEVEN.index(name)] + SOFT / 7)
            reference.append(first[clip.speaker][random.integers(len(first[clip.speaker]))])
    return Lessons(found, np.array(shares), np.array(reference), plain, np.full(len(found), -1))


def taught(rendered: Lessons, recorded: Lessons, steps: int, seed: int) -> Scorer:
    """The scorer; its encoder starts as the embedding's."""
    torch.manual_seed(seed)
    random, encoder = np.random.default_rng(seed), Recogniser.load().model.voice
    scorer = Scorer()
    scorer.encoder.load_state_dict(encoder.state_dict())
    scorer.train()
    kept = copy.deepcopy(scorer)
    best = torch.optim.AdamW(scorer.parameters(), RATE_OF, weight_decay=DECAY)
    plan = torch.optim.lr_scheduler.OneCycleLR(best, RATE_OF, steps, pct_start=0.1)
    for step in range(steps):
        given, references, target = [], [], []
        for source, size in ((recorded, round(REAL * BATCH)), (rendered, BATCH - round(REAL * BATCH))):
            for i in random.integers(len(source.rows), size=size):
                given.append(cut(source.rows[i], random))
                references.append(cut(source.plain[source.reference[i]], random))
                target.append(source.shares[i])
        vectors = scorer.encoder(*collate([torch.from_numpy(own) for own in (*given, *references)]))[1]
        logits = scorer(vectors[: len(given)], vectors[len(given) :])
        loss = F.cross_entropy(logits, torch.tensor(np.array(target), dtype=torch.float32))
        best.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
        best.step()
        plan.step()
        with torch.no_grad():
            for mean, own in zip(kept.parameters(), scorer.parameters()):
                mean.lerp_(own, 1 - min(EVEN, (step + 1) / (step + 10)))
        if step % 50 == 49:
            log.info("step %d, loss %.3f", step + 1, float(loss))
    return kept.eval()


def cut(own: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A crop (n, 68) of at most LONGEST rows."""
    start = random.integers(max(len(own) - LONGEST, 0) + 1)
    return own[start : start + LONGEST]
