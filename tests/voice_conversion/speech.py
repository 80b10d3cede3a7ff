"""Sounds that tests need: a voice made of harmonics, and the voice's models at their smallest."""

from functools import cache

import numpy as np
import soxr
import torch

from gen.emotion.calibration import Calibration
from voice_conversion import features
from voice_conversion.features import RATE
from voice_conversion.performance.bank import Bank, Performance, fitted, seen
from voice_conversion.performance.choose import Chooser
from voice_conversion.performance.phrase import CHANGED, ends, phrase
from voice_conversion.performance.scorer import Scorer
from voice_conversion.performance.warp import resampled
from voice_conversion.pipeline import VoiceGenerator
from voice_conversion.speaker import SpeakerEncoder

SHIFTS = {"happy": 0.4, "sad": -0.2, "anger": 0.6}  # octaves up
PACES = {"happy": -0.15, "sad": 0.2, "anger": 0.0}  # nepers longer


def voice(seconds=1.0, hz=140.0, seed=0, glide=0.2, rate=RATE):
    """(s,) a buzz with two formants that rises by ``glide`` octaves, syllables apart."""
    t = np.arange(int(seconds * rate)) / rate
    track = hz * 2 ** (glide * t / max(seconds, 1e-6))
    phase = 2 * np.pi * np.cumsum(track) / rate
    waves = sum(
        np.sin(k * phase) * (np.exp(-(((k * hz - 600) / 300) ** 2)) + 0.5 * np.exp(-(((k * hz - 1500) / 400) ** 2)))
        for k in range(1, int(4000 / hz))
    )
    syllables = np.clip(np.sin(2 * np.pi * 3 * t) + 0.6, 0, 1)
    noise = np.random.default_rng(seed).normal(0, 0.001, len(t))
    return (0.1 * waves * syllables + noise).astype(np.float32)


def median_of(samples, rate=RATE):
    """log2 Hz, the median over the voiced frames."""
    hz = features.track(features.cut(soxr.resample(samples, rate, RATE)))
    return float(np.median(np.log2(hz[hz > 0])))


def measured(samples):
    """The frames of a sound at 22,050 Hz."""
    samples = features.cut(samples)
    return phrase(features.mel(torch.from_numpy(samples)[None])[0].numpy(), features.track(samples))


@cache
def bank():
    """Three performers, one reading each, three emotions; what they change is known."""
    performances, readings, medians, random = [], [], {}, np.random.default_rng(0)
    for who, hz in (("low", 110.0), ("middle", 140.0), ("high", 220.0)):
        whole = measured(voice(1.4, hz, seed=len(readings)))
        own = whole.part(*ends(whole.level, whole.hz))
        medians[who] = float(np.log2(hz))
        readings.append(resampled(own.cepstra, len(own.hz) // 2).astype(np.float32))
        for emotion, shift in SHIFTS.items():
            n = len(own.hz)
            pitch, stretch = np.full(n, shift), np.full(n, PACES[emotion])
            change = np.zeros((n, CHANGED)) + random.normal(0, 0.05, CHANGED)
            map = fitted(seen(own, pitch, medians[who], stretch), change, np.ones(n))
            curves = pitch[::2].astype(np.float32), stretch[::2].astype(np.float32)
            facts = emotion, who, "made", "male", "words", len(readings) - 1, 1.0
            performances.append(Performance(*facts, *curves, map, np.zeros((len(curves[0]), CHANGED), np.float32)))
    means = {name: [SHIFTS[name], PACES[name], *[0.0] * CHANGED] for name in SHIFTS}
    return Bank(readings, performances, medians, means)


@cache
def chooser():
    torch.manual_seed(0)
    return Chooser(SpeakerEncoder(16, 1).eval(), Scorer().eval())


def generator():
    return VoiceGenerator(bank(), chooser(), Calibration.linear())
