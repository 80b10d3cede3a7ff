"""``affekt evaluate dice --set data=DIR``: ``OUT/checkpoint`` against real motion that it has not seen."""

from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from gen.emotion.measures import interval
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.evaluate.report import Report, Spread
from talking_head.dice.motion.data import OVER_SPEECH, SOURCES, Clip, expressions, parted, prepared
from talking_head.dice.motion.generate import SCALES, DiceMotion, How

JAW = 17  # jawOpen
BROWS, HEAD = slice(41, 46), slice(52, 55)
STRENGTHS = (0.0, 1.0, 2.0, 3.0)  # of the emotion's guidance


class Settings(BaseModel):
    """What ``--set`` may change."""

    model_config = ConfigDict(extra="forbid")
    data: str = ""  # needed unless OUT holds the training's motion.npz
    clips: int = 12
    seeds: int = 8
    steps: int = 8


def motions(model: DiceMotion, clip: Clip, text: str, seeds: int, how: How) -> np.ndarray:
    """(seeds, n, 58) of a clip's sound, from its first frame as the face at rest."""
    rows, curve = torch.from_numpy(clip.rows), EmotionCurve.parse(text)
    return np.stack([np.concatenate(list(model.stream([rows], curve, clip.motion[0], seed, how)))
                     for seed in range(seeds)])  # fmt: skip


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of two courses; 0 where one stands still."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-6 and b.std() > 1e-6 else 0.0


def speech(report: Report, model: DiceMotion, clips: list[Clip], s: Settings) -> None:
    """Do lips follow the sound, and what differs between seeds?"""
    made = [motions(model, clip, "neutral", s.seeds, How(s.steps)) for clip in clips]
    own = np.array([np.mean([correlation(m[:, JAW], c.motion[:, JAW]) for m in ms]) for ms, c in zip(made, clips)])
    other = np.array([correlation(c.rows.mean(1), c.motion[:, JAW]) for c in clips])
    mean = lambda x: interval(lambda values: float(values.mean()), np.arange(len(x)), x)
    report.section("Speech", f"{len(clips)} held-out recordings of GRID, {s.seeds} seeds each, {s.steps} steps.")
    rows = [["this model", mean(own), bool(own.mean() >= 0.75)], ["loudness alone", mean(other), ""]]
    report.table("Jaw: correlation with the tracked one", ["source", "correlation", "at least 0.75"], rows)
    wide = lambda x, part: float(x[:, part].std(0).mean())
    table = []
    for name, part in (("jaw", slice(JAW, JAW + 1)), ("brows", BROWS), ("head, half radians", HEAD)):
        between = [ms[:, :, part].std(0).mean() for ms in made]
        within = [np.mean([wide(m, part) for m in ms]) for ms in made]
        real = [wide(c.motion, part) for c in clips]
        table.append([name, *(Spread(float(np.mean(x)), float(np.std(x))) for x in (between, within, real))])
    report.table("Standard deviations", ["of", "between seeds", "over time", "real, over time"], table)


def emotion(report: Report, model: DiceMotion, clips: list[Clip], directions: dict, s: Settings) -> None:
    """Does a stronger guidance by emotion show more of it, and leave the lips alone?"""
    report.section("Emotion", "How far the face moves along each emotion's own direction (1: as people show it while "
                   "they speak), and the jaw's correlation, as guidance by emotion rises.")  # fmt: skip
    calm, rows = [motions(model, clip, "neutral", 2, How(s.steps)) for clip in clips], []
    for strength in STRENGTHS:
        how, reach, jaws = How(s.steps, SCALES | {"emotion": strength}), [], []
        for kind, direction in directions.items():
            axis = (direction * OVER_SPEECH)[:52]
            for clip, still in zip(clips, calm):
                made = motions(model, clip, CANONICAL[kind], 2, how)
                reach.append((made - still).mean((0, 1))[:52] @ axis / (axis @ axis))
                jaws += [correlation(m[:, JAW], clip.motion[:, JAW]) for m in made]
        rows.append([f"{strength:g}", Spread(float(np.mean(reach)), float(np.std(reach))), float(np.mean(jaws))])
    report.table("Guidance by emotion", ["scale", "along the emotion", "jaw"], rows)


def evaluate(out: Path, settings: dict[str, str] | None = None) -> None:
    """Write ``report.json`` and ``report.html`` into ``out``."""
    s = Settings(**(settings or {}))
    model = DiceMotion.load(str(out / "checkpoint"))
    learnt, held = parted(prepared(Path(s.data), out, SOURCES))
    clips = [clip for clip in held if clip.source == "grid_s1"][: s.clips]
    report = Report("DICE-Talk's motion", "Face motion by diffusion, from sound and an emotion.")
    speech(report, model, clips, s)
    emotion(report, model, clips[: max(1, s.clips // 3)], expressions(learnt), s)
    report.write(out)
