"""``affekt train voice --stage encoder|decoder|vocoder|dial``: each stage resumes in OUT, which keeps the features.

``--finetune DIR`` takes a folder of one person's recordings and adapts the shipped networks to it.
"""

import logging
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from gen import checkpoints
from gen.emotion.calibration import FILE, Calibration
from gen.emotion.spec import CANONICAL, EMBEDDING
from gen.training import Run
from voice_conversion import corpus as recordings
from voice_conversion import vocoder_training
from voice_conversion.average_voice import AverageVoice, SpokenCrops, dictionary, unit_labels
from voice_conversion.corpus import Corpus
from voice_conversion.dial import TRIED, heard, turns
from voice_conversion.emoreg import training
from voice_conversion.emoreg.score import Score
from voice_conversion.judge import Judge
from voice_conversion.pipeline import VoiceGenerator
from voice_conversion.prosody import Prosody, shifts
from voice_conversion.speaker import SpeakerEncoder
from voice_conversion.vocoder import Vocoder
from voice_conversion.vocoder_training import Crops

log = logging.getLogger(__name__)
AVERAGE = 0.999  # of the moving average of weights that is kept at a step
MINUTES = {"encoder": 8.0, "decoder": 30.0, "vocoder": 30.0, "dial": 0.0, "finetune": 5.0}


class Settings(BaseModel):
    """What ``--set`` may change."""

    model_config = ConfigDict(extra="forbid")
    stage: Literal["encoder", "decoder", "vocoder", "dial", "finetune"]
    seed: int = 0
    conditioner: str = "direction"
    speaker: str = "speaker-encoder"  # checkpoint
    start: str = "voice-compact"  # checkpoint that fine-tuning begins with, and that learned units are heard by
    judge: str = "voice-judge"  # that the dial is fitted with
    files: int = 6  # recordings that the dial is fitted on
    units: int = 0  # learned units in the place of phones, for recordings without an alignment


def encoder(corpus: Corpus, out: Path, minutes: float, settings: Settings) -> None:
    """The average voice of the training voices' phonemes, or of learned units, and the network that hears it."""
    phone, count = np.asarray(corpus.phone), settings.units or len(corpus.phones)
    if settings.units:
        hear = checkpoints.load(settings.start, AverageVoice, "encoder").float().eval()
        phone = unit_labels(corpus, hear, count, seed=settings.seed)
    model = AverageVoice(count)
    known = [c for c in corpus.clips if c.part == "train" and phone[c.start] >= 0]
    train = np.concatenate([np.arange(c.start, c.start + c.frames) for c in known])
    model.table.copy_(torch.from_numpy(dictionary(corpus.mel[train], phone[train], count)))
    crops = SpokenCrops(corpus, phone, "train", seed=settings.seed)

    def validate(model: AverageVoice) -> dict:
        with torch.no_grad():
            values = model.loss(*SpokenCrops(corpus, phone, "valid", vary=False).batch(64))[1]
        return {f"valid_{name}": round(float(value), 4) for name, value in values.items()}

    run = Run("encoder", model, out, minutes, 2e-3, average=AVERAGE)
    run.train(lambda: model.loss(*crops.batch(32)))
    run.record(**validate(model.eval()))
    model.half().save_pretrained(out / "checkpoint" / "encoder")


def decoder(corpus: Corpus, out: Path, minutes: float, settings: Settings) -> None:
    """The score network, on the encoder that is in ``OUT/checkpoint``; and the ratios of prosody. Encoder and vocoder
    are those of ``start`` where this training has none, so that decoders can be compared.
    """
    place = out / "checkpoint"
    for part in ("encoder", "vocoder"):
        if not (place / part).is_dir():
            shutil.copytree(checkpoints.folder(settings.start) / part, place / part)
    hear = checkpoints.load(str(place), AverageVoice, "encoder").float().eval()
    means = training.average_voices(corpus, hear, out / "corpus" / "mean.npy")
    known = checkpoints.load(settings.speaker, SpeakerEncoder).float().eval()
    vectors = training.speakers(corpus, known, out / "corpus" / "speaker.npy")
    priors = {"priors": str(checkpoints.folder(EMBEDDING))} if settings.conditioner == "direction" else {}
    model = Score(conditioner=settings.conditioner, conditioner_config=priors)
    crops = training.EmotionalCrops(corpus, means, vectors, "train", seed=settings.seed)
    valid = training.EmotionalCrops(corpus, means, vectors, "valid")
    run = Run("decoder", model, out, minutes, 1e-3, average=AVERAGE)
    run.train(lambda: training.loss(model, crops))
    run.record(**training.validate(model.eval(), valid))
    model.half().save_pretrained(place / "decoder")
    acted = [clip for clip in corpus.clips if clip.part == "train" and clip.group != "aligned"]
    Prosody.fit(shifts(corpus, acted)).save(place / "prosody.json")


def vocoder(corpus: Corpus, out: Path, minutes: float, settings: Settings) -> None:
    model, crops = Vocoder(), Crops(corpus, "train", settings.seed)
    run = Run("vocoder", model, out, minutes, 1.5e-3, precision=None, average=AVERAGE)
    run.train(lambda: vocoder_training.loss(model, crops))
    run.record(**vocoder_training.validate(model.eval(), Crops(corpus, "valid")))
    model.half().save_pretrained(out / "checkpoint" / "vocoder")


def dial(corpus: Corpus, out: Path, minutes: float, settings: Settings) -> None:
    """What intensity means, heard in ``files`` neutral readings of validation speakers; minutes do not matter."""
    place = out / "checkpoint"
    (place / FILE).unlink(missing_ok=True)
    speaks = VoiceGenerator.from_pretrained(place)
    judge = checkpoints.load(settings.judge, Judge).float().eval()
    valid = [c for c in corpus.clips if c.part == "valid" and c.group != "aligned" and c.emotion == "neutral"]
    shares = heard(corpus, turns(valid, np.random.default_rng(settings.seed))[: settings.files], speaks, judge)
    log.info("heard at strengths %s: %s", TRIED, shares.round(3).tolist())
    Calibration.fit(TRIED, dict.fromkeys(CANONICAL[1:], shares)).save(place)


def finetune(corpus: Corpus, out: Path, minutes: float, settings: Settings) -> None:
    """The shipped networks on one person's recordings: half the minutes each for decoder and vocoder.

    How an emotion is told stays as it was, since nothing in such recordings teaches it.
    """
    start, place = checkpoints.folder(settings.start), out / "checkpoint"
    shutil.copytree(start, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.md", "report.*"))
    hear = checkpoints.load(settings.start, AverageVoice, "encoder").float().eval()
    known = checkpoints.load(settings.speaker, SpeakerEncoder).float().eval()
    means = training.average_voices(corpus, hear, out / "corpus" / "mean.npy")
    vectors = training.speakers(corpus, known, out / "corpus" / "speaker.npy")
    model = checkpoints.load(settings.start, Score, "decoder").float()
    for part in (model.emotion, model.modulate):
        part.requires_grad_(False)
    crops = training.EmotionalCrops(corpus, means, vectors, "train", seed=settings.seed)
    Run("decoder", model, out, minutes / 2, 1e-4, average=AVERAGE).train(lambda: training.loss(model, crops, 8))
    model.half().save_pretrained(place / "decoder")
    model = checkpoints.load(settings.start, Vocoder, "vocoder").float()
    own = Crops(corpus, "train", settings.seed)
    run = Run("vocoder", model, out, minutes / 2, 2e-4, precision=None, average=AVERAGE)
    run.train(lambda: vocoder_training.loss(model, own, 4))
    model.half().save_pretrained(place / "vocoder")


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Train one stage for ``minutes`` and write its part of the checkpoint to ``OUT/checkpoint``."""
    torch.manual_seed(settings.seed)
    read = recordings.own if settings.stage == "finetune" else recordings.build
    corpus = read(Path(data), out / "corpus")
    stages = {"encoder": encoder, "decoder": decoder, "vocoder": vocoder, "dial": dial, "finetune": finetune}
    stages[settings.stage](corpus, out, MINUTES[settings.stage] if minutes is None else minutes, settings)
