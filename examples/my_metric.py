"""A custom evaluator: how the velocity of the piano follows the requested arousal.

Run it with:  python examples/my_metric.py evaluate loudness --out report --set steps=5 bars=2
"""

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import spearmanr

from gen.emotion.spec import EmotionCurve
from gen.evaluate.report import Report
from gen.generator import Bar
from gen.registry import register
from music.pipeline import MusicGenerator


class Settings(BaseModel):
    """The ``--set`` options."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str = Field("muser-compact", description="checkpoint")
    steps: int = Field(9, ge=3, description="arousals from -0.8 to 0.8")
    bars: int = Field(4, ge=1, description="bars of each piece")


@register("evaluator", "loudness")
class LoudnessEvaluator:
    """Mean velocity of pieces against the requested arousal."""

    def __init__(self, settings: Settings, out: Path):
        self.settings = settings
        self.report = Report("Velocity and arousal", f"{settings.steps} pieces of {settings.bars} bars")

    def run(self) -> Report:
        asked = np.linspace(-0.8, 0.8, self.settings.steps)
        curves = [EmotionCurve.parse(f"v=0 a={arousal:.2f}") for arousal in asked]
        generator = MusicGenerator.from_pretrained(self.settings.model)
        pieces = generator.compose(curves, bars=self.settings.bars, seeds=[0] * len(curves))
        velocity = [float(piece.notes[:, 3].mean()) for piece in pieces]
        self.report.section("Each piece")
        self.report.table("Velocity", ["arousal", "velocity"], [[f"{a:.2f}", v] for a, v in zip(asked, velocity)])
        self.report.bar("velocity against arousal, Spearman", spearmanr(asked, velocity).statistic, at_least=0.8)
        return self.report

    def summary(self) -> list[Bar]:
        return self.report.bars


if __name__ == "__main__":
    from gen.cli import main

    raise SystemExit(main())
