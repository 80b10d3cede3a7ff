"""Training data of the refiner (:class:`voice_conversion.emoreg.refine.Refiner`): a speaker's neutral reading at the
pitch and pace of his own rendition in an emotion, the sound that other performers would lay on it, and the rendition.

n frames of the reading, m of the rendition; a row is two frames of the rendition (43 a second).
"""

from __future__ import annotations

import copy
import logging
from typing import NamedTuple

import numpy as np
import torch

from gen import checkpoints
from gen.diffusion import uniform_times
from gen.emotion.spec import CANONICAL, EMBEDDING
from gen.emotion.track import plain
from voice_conversion import features
from voice_conversion.emoreg.refine import Refiner
from voice_conversion.features import BANDS, HOP, RATE
from voice_conversion.performance.bank import Bank
from voice_conversion.performance.lay import contours
from voice_conversion.performance.phrase import CHANGED, Phrase, basis, ends, phrase, smooth
from voice_conversion.performance.warp import align, sampled
from voice_conversion.psola import lay
from voice_conversion.training.bank import canonical, coarse, medians, pairs, trimmed
from voice_conversion.training.corpus import Clip, Corpus

log = logging.getLogger(__name__)
OTHERS = 3  # performers whose sound is laid on each reading
FREE = 0.1  # cost of leaving the straight line where both say the same
FINE = 1.0  # frames over which a rendition's own contours are smoothed
CROP, BATCH = 96, 24  # frames, items
SHARES = {"ravdess": 0.5, "emodb": 0.15, "nemo": 0.35}  # of the pairs drawn
TIMES = 2  # how often each pair is taken, with other performers and another lift
NOTHING = 0.7  # how often nothing is laid on
LOST = 0.1  # how often the emotion is not told
RATE_OF, DECAY, EVEN = 1.5e-3, 0.02, 0.996
TRACT = np.linspace(0.88, 1.12, 13)  # by how much formants are moved, so that few speakers sound like more
ROOM, BENT, UNSURE = 1.5, 8, 0.08  # size (nepers) and order of a random channel, deviation of the pitch's height


class Pairs(NamedTuple):
    """Frames of all pairs end to end."""

    moved: np.ndarray  # (rows, 80) mel of the reading at the rendition's pitch and pace, or a part of that pitch
    laid: np.ndarray  # (rows, OTHERS, 20) cepstral changes that other performers would make
    told: np.ndarray  # (rows, 3) octaves above the speaker's median, voiced or not, logarithm of the stretch
    real: np.ndarray  # (rows, 20) cepstral changes that make it the rendition
    starts: np.ndarray  # (p + 1,) first row of each pair
    emotion: np.ndarray  # (p,) of CANONICAL
    level: np.ndarray  # (p,) how strong
    group: np.ndarray  # (p,) name of the corpus


def build(corpus: Corpus, bank: Bank, clips: list[Clip], seed: int = 0, whole: float = 0.5) -> Pairs:
    """The pairs among ``clips``, with the sound of performances of the bank that are not the speaker's own.

    A share ``whole`` has the rendition's pitch; in the others both are lowered by a part of what it is higher by."""
    random, middle, rows, facts = np.random.default_rng(seed), medians(corpus, clips), [], []
    found = [(neutral, clip) for neutral, clip in pairs(clips)]
    calm = [c for c in clips if c.emotion == "neutral"]
    for clip in calm:  # another reading that is neutral, too
        again = [c for c in calm if (c.speaker, c.text) == (clip.speaker, clip.text) and c.file != clip.file]
        found += [(again[0], clip)] if again else []
    for i, (neutral, clip) in enumerate(found * TIMES):
        emotion = canonical(clip.emotion)
        others = [
            k
            for k, p in enumerate(bank.performances)
            if p.emotion == emotion
            and p.speaker != clip.speaker
            and abs(bank.medians[p.speaker] - middle[clip.speaker]) < 0.8
        ]
        which = random.permutation(others)[:OTHERS]
        lift = 1.0 if random.random() < whole else float(random.random())
        row = pair(corpus, bank, neutral, clip, middle[clip.speaker], list(which), lift)
        if row is not None:
            rows.append(row)
            facts.append((CANONICAL.index(emotion), clip.level if emotion != "neutral" else 0.0, clip.group))
        if i % 200 == 199:
            log.info("%d of %d pairs", i + 1, TIMES * len(found))
    arrays = [np.concatenate(part) for part in zip(*rows)]
    starts = np.cumsum([0] + [len(row[0]) for row in rows])
    emotion, level, group = zip(*facts)
    return Pairs(*arrays, starts, np.array(emotion), np.array(level, np.float32), np.array(group))


def pair(corpus: Corpus, bank: Bank, neutral: Clip, clip: Clip, median: float, which: list[int], lift: float):
    """Rows of Pairs' first four arrays for one pair, which keep a share ``lift`` of how much higher the rendition is;
    None where its parts do not fit."""
    every = corpus.rows(neutral)
    whole = phrase(corpus.mel[every], corpus.hz[every])
    first, last = ends(whole.level, whole.hz)
    own, there = whole.part(first, last), trimmed(corpus, clip)
    n, m = len(own.hz), len(there.hz)
    if min(n, m) < 30 or not 0.4 < m / n < 2.5:
        return None
    back = align(own.cepstra, [there.cepstra], 1.5, FREE)[0] * (m - 1)
    at = np.interp(np.arange(m), back + 1e-6 * np.arange(n), np.arange(n))
    voiced = there.hz > 0
    lower = (1 - lift) * float(np.median(there.octave[voiced] if voiced.any() else there.octave) - median)
    octave = np.interp(back, np.arange(m), smooth(there.octave, FINE)) - lower
    samples = corpus.samples(neutral)[first * HOP : last * HOP]
    moved = lay(samples[None], RATE, own.hz, octave, at)
    mel = features.mel(torch.from_numpy(features.cut(moved[0]))[None])[0].numpy()[:m]
    if np.quantile(np.abs(octave - median), 0.95) > 1.8 or len(mel) < m:
        return None
    real = there.mel if lift == 1 else lowered(corpus, clip, there, lower)
    stretch = np.log(np.clip(smooth(np.gradient(back), 2.0), 0.25, 4.0))
    change = smooth((real - mel) @ basis(), FINE)
    laid = [sampled(one.change, at) for one in (contours(bank, which, own, median) if which else [])]
    laid += [np.zeros((m, CHANGED))] * (OTHERS - len(laid))
    told = np.stack([sampled(octave, at) - median, sampled((own.hz > 0).astype(float), at), sampled(stretch, at)], 1)
    return tuple(coarse(x).astype(np.float16) for x in (mel, np.stack(laid, 1), told, change))


def lowered(corpus: Corpus, clip: Clip, there: Phrase, lower: float) -> np.ndarray:
    """The mel (m, 80) of a rendition whose pitch is lowered by some octaves."""
    whole = phrase(corpus.mel[corpus.rows(clip)], corpus.hz[corpus.rows(clip)])
    first, last = ends(whole.level, whole.hz)
    samples = corpus.samples(clip)[first * HOP : last * HOP]
    moved = lay(samples[None], RATE, there.hz, there.octave - lower, np.arange(last - first, dtype=float))
    return features.mel(torch.from_numpy(features.cut(moved[0]))[None])[0].numpy()[: last - first]


def _tracts() -> tuple[np.ndarray, np.ndarray]:
    """(13, 80, 80) what moves the formants of mels, and (13, 20, 20) of cepstral changes."""
    bands = np.arange(BANDS)
    mels = np.stack([np.stack([np.interp(bands * size, bands, row) for row in np.eye(BANDS)]) for size in TRACT])
    return mels.astype(np.float32), (basis().T @ mels @ basis()).astype(np.float32)


class Crops:
    """Random stretches of pairs."""

    def __init__(self, found: Pairs, seed: int = 0):
        self.pairs, self.random = found, np.random.default_rng(seed)
        chance = np.zeros(len(found.emotion))
        for group, share in SHARES.items():
            own = found.group == group
            weight = np.where(found.emotion[own] == 0, 0.3, np.where(found.level[own] < 1, 0.6, 1.0))
            chance[own] = share * weight / weight.sum() if own.any() else 0
        self.chance = chance / chance.sum()
        self.tracts = _tracts()

    def batch(self, size: int = BATCH) -> tuple[dict[str, torch.Tensor], np.ndarray, np.ndarray]:
        """Real changes, mean, moved, told, mask, each (b n ...), emotions (b,) of CANONICAL and how strong (b,)."""
        p, made = self.pairs, {"real": [], "mean": [], "moved": [], "told": [], "mask": []}
        which = self.random.choice(len(p.emotion), size, p=self.chance)
        for i in which:
            first, last = p.starts[i], p.starts[i + 1]
            low = first + self.random.integers(max(last - first - CROP, 0) + 1)
            rows = slice(low, min(low + CROP, last))
            moved, real, told = (x[rows].astype(np.float32) for x in (p.moved, p.real, p.told))
            mean = p.laid[rows, self.random.integers(OTHERS)].astype(np.float32) * (self.random.random() > NOTHING)
            size = self.random.integers(len(TRACT))
            bands, cepstra = (part[size] for part in self.tracts)
            room = basis()[:, :BENT] @ self.random.normal(0, ROOM, BENT).astype(np.float32)
            moved, mean, real = moved @ bands + room, mean @ cepstra, real @ cepstra
            told = told + np.float32([self.random.normal(0, UNSURE), 0, 0])
            mask = np.ones((len(moved), 1), np.float32)
            for name, x in {"real": real, "mean": mean, "moved": moved, "told": told, "mask": mask}.items():
                made[name].append(np.pad(x, ((0, CROP - len(x)), (0, 0))))
        return {n: torch.from_numpy(np.stack(x)) for n, x in made.items()}, p.emotion[which], p.level[which]


def loss(model: Refiner, crops: Crops, size: int = BATCH, drop: float = LOST) -> torch.Tensor:
    """The refiner's loss on a batch."""
    given, emotion, level = crops.batch(size)
    tracks = [plain(np.eye(len(CANONICAL), dtype=np.float32)[[e]], np.float32([i])) for e, i in zip(emotion, level)]
    dropped = torch.rand(size) < drop
    tokens = model.emotion(drop=dropped, **model.emotion.prepare(tracks)).tokens
    t = model.sde.edge + (1 - 2 * model.sde.edge) * uniform_times(given["real"], None)
    return model.loss(
        t=t,
        emotion=tokens,
        real=given["real"] / model.scale,
        mean=given["mean"] / model.scale,
        moved=given["moved"],
        told=given["told"],
        mask=given["mask"],
    )


def taught(found: Pairs, steps: int, seed: int) -> Refiner:
    """The refiner, as the moving average of its weights."""
    torch.manual_seed(seed)
    model, crops = Refiner(priors=str(checkpoints.folder(EMBEDDING) / "priors.safetensors")), Crops(found, seed)
    model.scale.copy_(torch.from_numpy(np.asarray(found.real, np.float32).std(0)))
    kept = copy.deepcopy(model)
    best = torch.optim.AdamW(model.parameters(), RATE_OF, betas=(0.9, 0.98), weight_decay=DECAY)
    plan = torch.optim.lr_scheduler.OneCycleLR(best, RATE_OF, steps, pct_start=0.05)
    for step in range(steps):
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(model, crops)
        best.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        best.step()
        plan.step()
        with torch.no_grad():
            for mean, own in zip(kept.parameters(), model.parameters()):
                mean.lerp_(own, 1 - min(EVEN, (step + 1) / (step + 10)))
        if step % 100 == 99:
            log.info("step %d, loss %.3f", step + 1, float(value))
    return kept.eval()
