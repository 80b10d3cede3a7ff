"""Compares conditioners on the voice's refiner, as :mod:`apps.embedding.conditioners` does on others: only the
conditioner is trained, for the same number of steps and from the same seed.

    affekt ablate voice-conditioner --data DIR --out OUT --conditioners none,label,vad,gaussian,bank,direction \
        --measure listener=FOLDER

Conversions of the speakers that are left aside for development, read by the project's own judges, whose heads ``affekt
train voice`` writes to FOLDER. One performance is drawn for each, the same for every conditioner, without any choice:
the conditioner decides only how the speaker's sound changes.
"""

from pathlib import Path

import numpy as np
import torch

from apps.embedding.conditioners import Measuring, Training, configuration, reach
from gen import checkpoints, media, registry
from gen.emotion.spec import EmotionCurve
from gen.evaluate.bootstrap import mean_of
from gen.evaluate.report import Report
from gen.generator import Bar
from gen.training import Run
from voice_conversion.emoreg.refine import Refiner
from voice_conversion.evaluation.listener import judges
from voice_conversion.evaluation.measures import plain
from voice_conversion.evaluation.report import TARGETS, opinion
from voice_conversion.performance.bank import Bank
from voice_conversion.pipeline import DEFAULT, VoiceGenerator
from voice_conversion.training import corpus, refiner
from voice_conversion.training.corpus import ASIDE

CORPUS = "ravdess"  # whose speakers teach, and whose others are converted


def train(data: Path, out: Path, minutes: float | None, settings: Training) -> None:
    """Trains a conditioner for the shipped refiner; writes ``OUT/checkpoint``."""
    path = out.parent / "pairs.npz"
    if not path.is_file():
        recordings, bank = corpus.build(data, out.parent / "corpus"), Bank.load(checkpoints.folder(DEFAULT))
        known = [clip for clip in recordings.clips if clip.group == CORPUS and clip.part != "test"]
        own = [clip for clip in known if clip.speaker not in ASIDE]
        others = bank._replace(performances=[p for p in bank.performances if p.speaker not in ASIDE])
        np.savez(path, **refiner.build(recordings, others, own, settings.seed)._asdict())
    with np.load(path, allow_pickle=False) as file:
        crops = refiner.Crops(refiner.Pairs(**file), settings.seed)
    torch.manual_seed(settings.seed)
    model = Refiner.load(checkpoints.folder(DEFAULT)).train().requires_grad_(False)
    name = settings.conditioner
    model.emotion = registry.build("conditioner", dim=model.config.cond, **configuration(name)).train()
    facts = settings._asdict()
    run = Run("conditioner", model.emotion, out, minutes, settings.rate, steps=settings.refiner, settings=facts)
    run.train(lambda: (refiner.loss(model, crops), {}))
    checkpoints.save(model.emotion.eval(), out / "checkpoint")
    (out / "checkpoint" / "name.txt").write_text(name, encoding="utf-8")


class VoiceConditioner:
    """``affekt evaluate voice-conditioner``."""

    def __init__(self, settings: Measuring, out: Path):
        self.chosen = settings
        self.report = Report("A conditioner of the voice", "Conversions, heard by the project's own judges.")

    def run(self) -> Report:
        chosen, report, place = self.chosen, self.report, Path(self.chosen.model)
        generator = VoiceGenerator.from_pretrained()
        kind = registry.get("conditioner", (place / "name.txt").read_text(encoding="utf-8"))
        generator.refiner.emotion = conditioner = checkpoints.load(str(place), kind).eval()
        judge, bank, found = judges(Path(chosen.listener)), generator.bank, []
        for path, text in readings(Path(chosen.data), chosen.people):
            samples, rate = media.read_audio(path)
            known = judge.reference(plain(samples, rate))
            generator.bank = bank._replace(performances=[p for p in bank.performances if p.text != text])
            for emotion in TARGETS:
                made = generator.convert(samples, rate, EmotionCurve.parse(emotion), candidates=1)
                found.append(opinion(judge, made, rate, known, emotion))
        share, right = np.array(found).T
        report.section("Conversions", f"{len(found)} conversions at intensity 1, one performance each.")
        report.bar("voice: emotions recognised by the project's own judges", mean_of(right))
        report.bar("voice: probability of the emotion", mean_of(share))
        report.bar("voice: clips against words", reach(conditioner))
        report.bar("voice: parameters", float(sum(p.numel() for p in conditioner.parameters())))
        return report

    def summary(self) -> list[Bar]:
        return self.report.bars


def readings(data: Path, people: int) -> list[tuple[Path, str]]:
    """A neutral reading of each sentence by each of ``people`` speakers left aside, and the sentence."""
    rows = [row for row in corpus.labels(data) if row["set"] == CORPUS and row["emotion"] == "neutral"]
    chosen = sorted({row["speaker"] for row in rows} & ASIDE)[:people]
    own = [row for row in rows if row["speaker"] in chosen]
    found = {(row["speaker"], corpus.text_of(row)): data / corpus.SPEECH / row["file"] for row in own}
    return [(path, text) for (_, text), path in sorted(found.items())]
