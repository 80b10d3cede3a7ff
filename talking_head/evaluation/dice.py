"""``affekt evaluate dice --set data=DIR``: a motion model compared with held-out real motion and with EMOTE."""

import time
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, DirectoryPath

from gen import checkpoints
from gen.emotion.spec import EmotionCurve
from gen.evaluate.bootstrap import mean_of
from gen.evaluate.report import Report
from gen.generator import Bar
from talking_head.evaluation import talk as portraits
from talking_head.face.basis import FaceBasis
from talking_head.face.points import ARKIT
from talking_head.face.tracker import FaceTracker
from talking_head.motion.dice.speaker import DiceSpeaker
from talking_head.motion.emote.model import Emote
from talking_head.motion.expression import SPEECH
from talking_head.motion.speech import RATE, SpeechEncoder
from talking_head.pipeline import TalkGenerator
from talking_head.training import corpus, lips
from talking_head.training.dice_data import Clip, listened

BROWS = np.array([name.startswith("brow") for name in ARKIT])
JAW, LIPS = 0.75, 0.85  # the least jaw correlation, and share of p, b, m with lips that meet


class Settings(BaseModel):
    """Options of ``--set``."""

    model_config = ConfigDict(extra="forbid")
    data: DirectoryPath  # the folder that holds face/ and speech/
    model: str = ""  # a checkpoint; OUT/checkpoint where it is, else dice-compact
    emote: str = "emote-compact"
    clips: int = 24
    seeds: int = 8
    steps: int = 8
    lines: int = 30  # of aligned speech, for closed lips
    portraits: int = 4  # of the contact sheet; 0 for none
    files: str = ""  # folder of films, their manifests, and the judges' results
    people: int = 12  # portraits of the films
    sound: str = ""  # what they say
    seconds: float = 0  # taken of it; 0 for all
    size: int = 320  # pixels of a film's side
    fps: int = 25  # frames of a film a second; recognisers look at five


class Evaluation:
    """A model, held-out clips and its motions for them."""

    def __init__(self, out: Path, s: Settings):
        basis, self.s = FaceBasis.load(), s
        name = s.model or (str(out / "checkpoint") if (out / "checkpoint").is_dir() else "dice-compact")
        self.speaker = DiceSpeaker.load([name], basis)
        self.generator = TalkGenerator(FaceTracker.load(), basis, self.speaker)
        self.known = corpus.held_out(Path(s.data))
        held = [c for c in self.known if c.source in ("grid", "other")]
        self.clips = listened(held, Path(s.data), self.speaker.motion.speech)
        self.ears = checkpoints.load(s.emote, SpeechEncoder, "speech").float().eval()
        self.emote = checkpoints.load(s.emote, Emote, "emote").float().eval()

    def of(self, source: str) -> list[Clip]:
        return [c for c in self.clips if c.source == source][: self.s.clips]

    def draw(self, clip: Clip, seed: int = 0) -> np.ndarray:
        """Motion (n, 55) sampled by the network."""
        return self.speaker.motion.whole(torch.from_numpy(clip.features[:, 0]), seed, self.s.steps)

    def emotes(self, clip: Clip) -> np.ndarray:
        """Coefficients (n, 52) of EMOTE."""
        return lips.predict(self.ears, self.emote, next(c.rows for c in self.known if c.name == clip.name))


def agreed(made: np.ndarray, clip: Clip, part: str = "jaw") -> float:
    return lips.correlation(lips.part_of(made, part), lips.part_of(clip.motion, part))


def speech(report: Report, e: Evaluation, drawn: dict[str, list[np.ndarray]]) -> None:
    """Agreement of lips and sound."""
    drawn_as = f"{e.s.seeds} seeds each (2 of speakers never seen), {e.s.steps} steps"
    report.section(
        "Speech",
        f"Recordings that nothing was trained on, {drawn_as}. The mean of the seeds "
        "is what they agree on; EMOTE hears the same and always says the same.",
    )
    rows = []
    for source, title in (("grid", "GRID, held-out clips"), ("other", "speakers never seen")):
        others = {c.name: e.emotes(c) for c in e.of(source)}
        for part in ("jaw", "close", "pucker", "roll"):
            own = [np.mean([agreed(m, c, part) for m in drawn[c.name]]) for c in e.of(source)]
            mean = [agreed(np.mean(drawn[c.name], 0), c, part) for c in e.of(source)]
            other = [agreed(others[c.name], c, part) for c in e.of(source)]
            met = bool(np.mean(own) >= JAW) if (source, part) == ("grid", "jaw") else ""
            rows.append([title, part, *map(mean_of, (own, mean, other)), met])
            if part == "jaw":
                bar = JAW if source == "grid" else None
                report.bar(f"jaw, {title}: correlation with the tracked one", rows[-1][2], at_least=bar)
    report.table(
        "Correlation with the tracked lips",
        ["material", "part", "this model", "mean of its seeds", "EMOTE", f"jaw at least {JAW}"],
        rows,
    )
    rows = portraits.closure_rows(e.generator, e.known, e.s.lines)
    report.bar("lips that meet on p, b, m, least of all emotions", min(row[1].value for row in rows), at_least=LIPS)
    report.table(
        "Lips that meet on p, b, m",
        ["emotion", "share", "sounds", f"at least {LIPS}"],
        [[*row, bool(row[1].value >= LIPS)] for row in rows],
        "voices that no training heard",
    )


def seeds(report: Report, e: Evaluation, drawn: dict[str, list[np.ndarray]]) -> None:
    """Variation between seeds, compared with real clips."""
    report.section("Seeds", f"{e.s.seeds} of each clip, as the network draws them.")
    clips, rows = e.of("grid"), []
    pairs = [
        lips.correlation(lips.part_of(a, "jaw"), lips.part_of(b, "jaw"))
        for c in clips
        for i, a in enumerate(drawn[c.name])
        for b in drawn[c.name][:i]
    ]
    for name, part in (
        ("brows", np.flatnonzero(BROWS)),
        ("head, radians", np.arange(52, 55)),
        ("lips in speech", np.flatnonzero(SPEECH)),
    ):
        between = np.mean([np.std(drawn[c.name], 0)[:, part].mean() for c in clips])
        own = np.mean([m[:, part].std(0).mean() for c in clips for m in drawn[c.name]])
        real = np.mean([c.motion[:, part].std(0).mean() for c in clips])
        rows.append([name, *(round(float(v), 4) for v in (between, own, real)), round(float(own / real), 2)])
    report.table(
        "Standard deviations",
        ["of", "between seeds", "over time", "real, over time", "share of real"],
        rows,
        f"jaws of two seeds correlate by {np.mean(pairs):.2f}",
    )


def speed(report: Report, e: Evaluation, seconds: float = 20.0) -> None:
    samples = (0.1 * np.random.default_rng(0).normal(size=int(seconds * RATE))).astype(np.float32)
    e.speaker.speak(samples[:RATE], EmotionCurve.parse("happy"))
    began = time.perf_counter()
    e.speaker.speak(samples, EmotionCurve.parse("happy"), steps=e.s.steps)
    quick = seconds / (time.perf_counter() - began)
    report.bar("sound to motion, times real time", quick, at_least=10)
    report.section("Speed", f"{seconds:g} s of sound, {e.s.steps} steps, {torch.get_num_threads()} thread(s).")
    report.table("Sound to motion", ["what", "times real time", "more than 10"], [["this machine", quick, quick > 10]])


class DiceEvaluator:
    """``affekt evaluate dice``."""

    def __init__(self, settings: Settings, out: Path):
        self.settings, self.out = settings, out
        self.report = Report("DICE-Talk's motion", "Face motion by diffusion, from sound and an emotion.")

    def run(self) -> Report:
        measure(self.report, Evaluation(self.out, self.settings))
        return self.report

    def summary(self) -> list[Bar]:
        return self.report.bars


def measure(report: Report, e: Evaluation) -> None:
    """All sections of the report."""
    drawn = {c.name: [e.draw(c, seed=seed) for seed in range(e.s.seeds)] for c in e.of("grid")}
    drawn |= {c.name: [e.draw(c, seed=seed) for seed in range(2)] for c in e.of("other")}
    speech(report, e, drawn)
    seeds(report, e, drawn)
    speed(report, e)
    portraits.expressions(report, e.generator, e.s)
