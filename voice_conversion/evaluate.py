"""``affekt evaluate voice --out DIR --set data=DATA``: what is heard in conversions of speakers never trained on.

Everything is brought to one loudness before it is measured. Real speech, the recordings themselves and copies through
the vocoder stand in the same tables. The judge learned from other speakers, and nothing that converts learned from it.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, DirectoryPath

from gen import checkpoints, registry
from gen.diffusion import MeanRevertingScheduler, draw, sample
from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track
from gen.evaluate.report import Estimate, Report
from gen.generator import Bar
from voice_conversion import corpus as recordings
from voice_conversion import features, findings
from voice_conversion.corpus import Clip, Corpus, levelled
from voice_conversion.dial import turns
from voice_conversion.emoreg.score import Voice
from voice_conversion.judge import EMOTIONS, Judge
from voice_conversion.pipeline import SPEAKER, VoiceGenerator
from voice_conversion.speaker import RATE, SpeakerEncoder
from voice_conversion.task import GUIDANCE, NEUTRAL

JUDGE = "voice-judge"
TARGETS = EMOTIONS[1:]
LEVELS = tuple(np.arange(0, 2.01, 0.25))


class Settings(BaseModel):
    """What ``--set`` may change."""

    model_config = ConfigDict(extra="forbid")
    data: DirectoryPath
    model: str = "voice-compact"
    judge: str = JUDGE
    files: int = 30  # recordings converted to each emotion
    sweep: int = 6  # of them at every intensity
    sentences: int = 12  # of other voices, for words and quality
    steps: int = 10
    guidance: float = GUIDANCE
    seed: int = 0


class Made(NamedTuple):
    """A conversion and what it was made of."""

    clip: Clip
    emotion: str
    level: float
    samples: np.ndarray
    heard: np.ndarray  # (k,) the judge's shares


class Bench:
    """The models and the recordings of an evaluation."""

    def __init__(self, settings: Settings, out: Path):
        self.settings = settings
        self.corpus: Corpus = recordings.build(settings.data, out / "corpus")
        self.generator: VoiceGenerator = registry.get("generator", "voice").from_pretrained(settings.model)
        self.judge = checkpoints.load(settings.judge, Judge).float().eval()
        self.known = checkpoints.load(SPEAKER, SpeakerEncoder).float().eval()
        self.test = [c for c in self.corpus.clips if c.part == "test"]
        self.acted = [c for c in self.test if c.group != "aligned"]
        self.random = np.random.default_rng(settings.seed)

    def sources(self, count: int) -> list[Clip]:
        """Neutral readings, speakers taking turns, half of them from RAVDESS."""
        neutral = [c for c in self.acted if c.emotion == "neutral"]
        halves = [[c for c in neutral if (c.group == "ravdess") == own] for own in (True, False)]
        parts = [turns(half, self.random)[: count // 2 + (count % 2) * own] for own, half in zip((1, 0), halves)]
        return [clip for part in parts for clip in part]

    def convert(self, clip: Clip, emotion: str, level: float = 1.0, **how) -> Made:
        curve = EmotionCurve.parse(f"{emotion} @ {level:g}")
        how = {"steps": self.settings.steps, "guidance": self.settings.guidance} | how
        made = self.generator.convert(self.corpus.samples(clip), curve, seed=self.settings.seed, **how)
        return Made(clip, emotion, level, made, self.judge.hear(made))

    @torch.inference_mode()
    def copy(self, samples: np.ndarray, drawn: bool = False) -> np.ndarray:
        """Through the network vocoder and back: the recording's mel, or one that the decoder has ``drawn`` from its
        average voice, pitch and speaker, as neutral.
        """
        samples, speaks = levelled(samples), self.generator
        hz = features.track(samples)
        noise = torch.Generator().manual_seed(self.settings.seed)
        mel, octave, voiced = features.mel(speaks.tensor(samples)), features.filled(hz), hz > 0
        told = speaks.tensor(octave), speaks.tensor(voiced)
        if drawn:
            decoder, mean = speaks.decoder, speaks.encoder(mel)
            tokens = decoder.emotion(**decoder.emotion.prepare([track(NEUTRAL, np.zeros(len(hz)))])).tokens
            voice = Voice(mean, *told, torch.from_numpy(self.vector(samples))[None], tokens)
            start = decoder.sde.start(draw(mean, noise), mean)
            scheduler = MeanRevertingScheduler(decoder.sde, mean, "pf")
            mel = sample(lambda x, t: decoder(x, t, voice), scheduler, start, self.settings.steps, generator=noise)
        return speaks.vocoder(mel, *told, generator=noise)[0].numpy()

    def vector(self, samples: np.ndarray) -> np.ndarray:
        import soxr

        return self.known.embed(soxr.resample(samples, features.RATE, RATE)).numpy()


def estimate(values, random: np.random.Generator, of: Callable = np.mean) -> Estimate:
    """A statistic of values and its 95 % interval by bootstrap over them."""
    values = np.asarray(values, float)
    draws = [of(values[random.integers(len(values), size=len(values))]) for _ in range(500)]
    return Estimate(float(of(values)), *map(float, np.quantile(draws, [0.025, 0.975])))


class VoiceEvaluator:
    """``affekt evaluate voice``."""

    def __init__(self, settings: Settings, out: Path):
        self.settings, self.out = settings, out
        self.report = Report(
            "Emotional voice conversion",
            f"`{settings.model}`, {settings.steps} steps, guidance {settings.guidance:g}; recordings of speakers never "
            f"trained on, judged by `{settings.judge}`, which learned from other speakers.",
        )

    def run(self) -> Report:
        measure(self.report, Bench(self.settings, self.out))
        return self.report

    def summary(self) -> list[Bar]:
        return self.report.bars


def measure(report: Report, bench: Bench) -> None:
    """All sections of the report."""
    chosen = bench.settings
    sources = bench.sources(chosen.files)
    began = time.perf_counter()
    made = [bench.convert(clip, emotion) for emotion in TARGETS for clip in sources]
    seconds = sum(len(m.samples) for m in made) / features.RATE
    speed = (time.perf_counter() - began) / seconds
    findings.emotion(report, bench, made)
    swept = sources[: chosen.sweep // 2] + sources[-(chosen.sweep - chosen.sweep // 2) :]
    halves = findings.intensity(report, bench, swept, made)
    findings.prosody(report, bench, made)
    findings.parallel(report, bench, made)
    findings.speaker(report, bench, made, halves)
    findings.sound(report, bench)
    report.section("Speed", "Pitch tracking, networks, vocoder and the judge, on this machine.")
    report.table("Seconds a second", ["what", "seconds", "< 0.5"], [["conversion", speed, speed < 0.5]])
    report.bar("conversion, seconds a second of sound", speed, at_most=0.5)
    findings.players(report, bench, made)
