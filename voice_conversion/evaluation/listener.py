"""Two recognisers of emotion, the project's own judges of voices and the scorer's teachers: one on Whisper base's
blocks, and one on functionals of cepstra, loudness, pitch and timing, which shares no features with it.

A recording is heard as the means and deviations of five blocks of Whisper's encoder and as 14 numbers of prosody, at
one loudness, alone and against a neutral recording of the same speaker. Whisper's weights come by ``affekt checkpoints
pull whisper-base``; the head is trained by :mod:`voice_conversion.training.listener` on the speakers that evaluations
do not use.

s samples, n recordings, f = 5134 or 473 features, p = 128 directions of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
import torch
from scipy.special import softmax

from gen import checkpoints
from gen.whisper import Whisper
from voice_conversion import features
from voice_conversion.evaluation.functionals import functionals
from voice_conversion.features import FFT, HOP, RATE

WHISPER = "whisper-base"
HEAD, PLAIN = "listener.safetensors", "functionals.safetensors"  # files of the heads
BLOCKS = range(1, 6)
HEARD = 16_000  # Hz
LOUD = 0.06  # RMS of the loud frames
QUIET = 4.0  # nepers below the loudest frames: what is quieter at the ends is cut off
PROSODY = 14


def prosody(samples: np.ndarray) -> np.ndarray:
    """(s,) at 22,050 Hz -> (14,): pitch in semitones above 100 Hz (median, range, deviation, slope, quickness), level
    in nepers (deviation, range, quickness), share that is voiced, voiced stretches a second, tilt, brightness, centre
    of the spectrum, logarithm of the seconds."""
    hz = features.track(samples)
    power = features.magnitudes(torch.from_numpy(samples)[None])[0].square().numpy()
    level = 0.5 * np.log(power.sum(1) + 1e-8)
    active, voiced = level > level.max() - 3.5, hz > 0
    pitch, step = 12 * np.log2(np.maximum(hz, 1) / 100), HOP / RATE
    found = np.zeros(PROSODY)
    if voiced.sum() > 5:
        own, both = pitch[voiced], voiced[1:] & voiced[:-1]
        low, high = np.quantile(own, (0.05, 0.95))
        when = np.flatnonzero(voiced) * step
        slope = np.polyfit(when - when.mean(), own, 1)[0] if np.ptp(when) > 0.2 else 0.0
        quick = np.abs(np.diff(pitch))[both].mean() / step if both.any() else 0.0
        found[:5] = np.median(own), high - low, own.std(), slope, quick
    bins, spectrum = (
        np.arange(FFT // 2 + 1) * RATE / FFT,
        power[active & voiced if voiced.sum() > 5 else active].mean(0),
    )
    band = lambda low, high: 0.5 * np.log(spectrum[(bins >= low) & (bins < high)].sum() + 1e-9)
    low, high = np.quantile(level[active], (0.1, 0.9))
    seconds = len(samples) / RATE
    starts = (voiced[1:] & ~voiced[:-1]).sum() / seconds
    found[5:] = (
        level[active].std(),
        high - low,
        np.abs(np.diff(level)).mean(),
        voiced.mean(),
        starts,
        band(50, 1000) - band(1000, 4000),
        band(4000, 8000) - band(50, 4000),
        (spectrum * bins).sum() / (spectrum.sum() + 1e-9) / 1000,
        np.log(seconds + 0.1),
    )
    return found


def trimmed(samples: np.ndarray) -> np.ndarray:
    """(s,) at 22,050 Hz without the silence at its ends, at one loudness, whole frames."""
    samples = features.cut(np.asarray(samples, np.float32))
    loud = np.sqrt(np.square(samples.reshape(-1, HOP)).mean(1)) + 1e-9
    active = np.flatnonzero(loud > loud.max() * np.exp(-QUIET))
    samples = samples[active[0] * HOP : (active[-1] + 1) * HOP]
    level = features.loudness(samples)
    return features.cut((samples * (LOUD / level)).clip(-1, 1) if level > 1e-6 else samples)


class Listener:
    """Whisper's encoder and a head; see the module."""

    def __init__(self, whisper: Whisper, head: dict[str, np.ndarray]):
        self.whisper, self.head = whisper, head

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls, model: Path, whisper: str = WHISPER) -> Listener:
        """From the voice's checkpoint folder; raises where Whisper's weights are not there."""
        place = checkpoints.folder(whisper)
        return cls(Whisper(place / "model.bin"), _read(model / HEAD))

    def features(self, samples: np.ndarray, rate: int = RATE) -> np.ndarray:
        """(s,) -> (f,)"""
        own = trimmed(samples if rate == RATE else soxr.resample(np.asarray(samples, np.float32), rate, RATE))
        blocks = self.whisper(soxr.resample(own, RATE, HEARD))
        pooled = [part for i in BLOCKS for part in (blocks[i].mean(0), blocks[i].std(0))]
        return np.concatenate([*pooled, prosody(own)]).astype(np.float32)

    def reference(self, samples: np.ndarray, rate: int = RATE) -> np.ndarray:
        """Features of a speaker's neutral speech: (s,) -> (f,)"""
        return self.features(samples, rate)

    def shares(self, recordings: Sequence[np.ndarray], reference: np.ndarray, rate: int = RATE) -> np.ndarray:
        """Recordings (s,) against a reference -> shares (n, 7) over the recogniser's SEVEN."""
        return self.read(np.stack([self.features(own, rate) for own in recordings]), reference)

    def read(self, heard: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Features (n, f) and those of neutral speech of the same speakers, (f,) or (n, f) -> (n, 7)."""
        own, other = self.projected(heard), self.projected(np.atleast_2d(reference))
        pair = np.concatenate([own, own - other], 1)
        return (softmax(self._net("alone", own), 1) + 2 * softmax(self._net("pair", pair), 1)) / 3

    def projected(self, heard: np.ndarray) -> np.ndarray:
        """Features (n, f) -> their main directions (n, p), each of unit variance over what was trained on."""
        return ((heard - self.head["mean"]) / self.head["scale"]) @ (self.head["project"] * self.head["sizes"])

    def _net(self, name: str, x: np.ndarray) -> np.ndarray:
        """Logits (n, 7), the mean of several networks with one hidden layer each."""
        into, bias, out, last = (self.head[f"{name}.{part}"] for part in ("in", "in_bias", "out", "out_bias"))
        return (np.maximum(x @ into + bias, 0) @ out + last).mean(0)


class PlainListener(Listener):
    """A head on functionals, without Whisper."""

    def __init__(self, head: dict[str, np.ndarray]):
        super().__init__(None, head)

    @classmethod
    def load(cls, model: Path) -> PlainListener:
        """From the voice's checkpoint folder."""
        return cls(_read(model / PLAIN))

    def features(self, samples: np.ndarray, rate: int = RATE) -> np.ndarray:
        """(s,) -> (f,)"""
        own = trimmed(samples if rate == RATE else soxr.resample(np.asarray(samples, np.float32), rate, RATE))
        return functionals(soxr.resample(own, RATE, HEARD))


class Together(NamedTuple):
    """Several recognisers as one: the mean of what they hear."""

    ears: tuple

    def reference(self, samples: np.ndarray, rate: int = RATE) -> list:
        return [ear.reference(samples, rate) for ear in self.ears]

    def shares(self, recordings: Sequence[np.ndarray], reference: list, rate: int = RATE) -> np.ndarray:
        return np.mean([ear.shares(recordings, own, rate) for ear, own in zip(self.ears, reference)], 0)


def judges(model: Path, whisper: str = WHISPER) -> Together:
    """The project's own judges, from the folder of their heads."""
    return Together((Listener.load(model, whisper), PlainListener.load(model)))


def _read(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return {name: x.astype(np.float32) for name, x in load_file(path).items()}
