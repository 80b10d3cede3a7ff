"""Pairs of neutral and emotional readings of the same words by the same person -> the bank of performances."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch

from voice_conversion import features
from voice_conversion.features import HOP, RATE
from voice_conversion.performance.bank import STEP, Bank, Performance, fitted, predicted, seen
from voice_conversion.performance.phrase import Phrase, basis, ends, phrase, smooth
from voice_conversion.performance.warp import align, resampled
from voice_conversion.psola import lay, places
from voice_conversion.training.corpus import Clip, Corpus

MANY = 30  # texts
HIGHEST = 1.8  # octaves from the median: a performance further away is an error of the pitch tracker
FREE = 0.1  # cost of leaving the straight line where both say the same
FINE = 1.0  # frames over which cepstral changes are smoothed
QUIET = 3.5  # nepers below the loud frames: quieter frames teach the map little


def kept(clips: list[Clip]) -> list[Clip]:
    """The clips that a small bank is made from: strong renditions, and every third of a corpus's many texts."""
    texts = {group: sorted({c.text for c in clips if c.group == group}) for group in {c.group for c in clips}}
    texts = {group: set(own[:: 3 if len(own) > MANY else 1]) for group, own in texts.items()}
    return [c for c in clips if c.text in texts[c.group] and (c.level >= 1 or c.emotion == "neutral")]


def pairs(clips: list[Clip]) -> list[tuple[Clip, Clip]]:
    """(neutral, emotional) of one speaker, text and, where there are several, repetition."""
    neutral = defaultdict(list)
    for clip in clips:
        if clip.emotion == "neutral":
            neutral[clip.speaker, clip.text].append(clip)
    found = []
    for clip in clips:
        own = neutral[clip.speaker, clip.text]
        if clip.emotion not in ("neutral", "calm", "bored") and own:
            take = lambda one: one.file.rsplit("-", 2)[1:2] if one.group == "ravdess" else None
            found.append((next((one for one in own if take(one) == take(clip)), own[0]), clip))
    return found


def canonical(emotion: str) -> str:
    """The canonical name of a corpus's word for an emotion."""
    return {"angry": "anger"}.get(emotion, emotion)


def trimmed(corpus: Corpus, clip: Clip) -> Phrase:
    rows = corpus.rows(clip)
    whole = phrase(corpus.mel[rows], corpus.hz[rows])
    return whole.part(*ends(whole.level, whole.hz))


def medians(corpus: Corpus, clips: list[Clip]) -> dict[str, float]:
    """log2 Hz of each speaker's neutral speech."""
    heard = defaultdict(list)
    for clip in clips:
        if clip.emotion == "neutral":
            hz = corpus.hz[corpus.rows(clip)]
            heard[clip.speaker].append(np.log2(hz[hz > 0]))
    return {speaker: float(np.median(np.concatenate(parts))) for speaker, parts in heard.items()}


def performed(
    own: Phrase, there: Phrase, median: float, samples: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neutral and emotional reading -> pitch (n,), stretch (n,) and cepstral changes (n, 20) along the neutral one, of
    which ``samples`` (n HOP,) are the sound.

    The changes are what is left to be changed when the neutral reading's periods have been laid out at the new pitch
    and pace, so that they make good for what that does to the sound.
    """
    at = align(own.cepstra, [there.cepstra], 1.5, FREE)[0] * (len(there.hz) - 1)
    take = lambda x: np.stack([np.interp(at, np.arange(len(x)), column) for column in x.reshape(len(x), -1).T], 1)
    pitch = smooth(take(there.octave)[:, 0], FINE) - median
    stretch = np.log(np.clip(smooth(np.gradient(at), 2.0), 0.25, 4.0))
    pace = np.exp(stretch)
    moved = lay(samples[None], RATE, own.hz, median + pitch, places(pace))
    left = features.mel(torch.from_numpy(moved))[0].numpy() @ basis()
    when = np.cumsum(pace) - pace / 2 - 0.5  # the frame of the result that each frame is heard at
    left = np.stack([np.interp(when, np.arange(len(left)), column) for column in left.T], 1)
    change = smooth(take(there.mel @ basis()) - left, FINE)
    return pitch, stretch, change


def coarse(x: np.ndarray) -> np.ndarray:
    """(n, ...) -> (ceil(n / STEP), ...) means."""
    short = -len(x) % STEP
    x = np.concatenate([x, np.repeat(x[-1:], short, 0)])
    return x.reshape(-1, STEP, *x.shape[1:]).mean(1).astype(np.float32)


def build(corpus: Corpus) -> Bank:
    """All pairs of a corpus as a bank, without the speakers that evaluations use."""
    clips = kept([clip for clip in corpus.clips if clip.part != "test"])
    middle, readings, known, found, means = medians(corpus, clips), [], {}, [], defaultdict(list)
    for neutral, clip in pairs(clips):
        rows = corpus.rows(neutral)
        whole = phrase(corpus.mel[rows], corpus.hz[rows])
        own, there = whole.part(*ends(whole.level, whole.hz)), trimmed(corpus, clip)
        if min(len(own.hz), len(there.hz)) < 30 or not 0.4 < len(there.hz) / len(own.hz) < 2.5:
            continue
        median = middle[clip.speaker]
        first, last = ends(whole.level, whole.hz)
        samples = corpus.samples(neutral)[first * HOP : last * HOP]
        pitch, stretch, change = performed(own, there, median, samples)
        if np.quantile(np.abs(pitch), 0.95) > HIGHEST:
            continue
        if neutral.start not in known:
            known[neutral.start] = len(readings)
            readings.append(resampled(own.cepstra, max(len(own.hz) // 2, 4)).astype(np.float32))
        loud = own.level > -QUIET
        means[canonical(clip.emotion)].append(
            [pitch.mean() + median - own.octave.mean(), stretch.mean(), *change[loud].mean(0)]
        )
        weight = np.interp(own.level, (-QUIET - 2, -QUIET + 1), (0.02, 1.0))
        what = seen(own, pitch, median, stretch)
        map = fitted(what, change, weight)
        found.append(
            Performance(
                canonical(clip.emotion),
                clip.speaker,
                clip.group,
                clip.sex,
                clip.text,
                known[neutral.start],
                clip.level,
                coarse(pitch),
                coarse(stretch),
                map,
                coarse(change - predicted(map, what)),
            )
        )
    return Bank(readings, found, middle, {name: np.mean(rows, 0).tolist() for name, rows in means.items()})
