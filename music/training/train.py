"""``affekt train music``: the autoencoder, then the prior over its codes; all corpora first, then mostly EMOPIA.

Time is the budget, so the learning rate follows the clock: the same command trains on a laptop and on a GPU.
State goes to ``OUT/*.pt`` every two minutes; the same command resumes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from gen import checkpoints
from gen.training import Run
from music.muser.model import MusER
from music.muser.prior import Prior
from music.muser.sizes import configs
from music.tokens import Vocabulary
from music.training import corpus
from music.training.corpus import GROUPS, Piece
from music.training.losses import Data, autoencoder_loss, prior_loss

PRETRAIN = {"pop909": 0.6, "giantmidi": 0.1, "emopia": 0.3}
FINETUNE = {"pop909": 0.3, "emopia": 0.7}


class Settings(BaseModel):
    """The ``--set`` options."""

    model_config = ConfigDict(extra="forbid")
    size: Literal["tiny", "compact", "paper"] = "compact"
    conditioner: str | None = None
    quantizer: str | None = None
    seed: int = 0
    batch: int = 5
    length: int = 448  # steps of a passage
    rate: float = 1.5e-3
    drop: float = 0.15  # share of passages without their emotion, for guidance
    autoencoder_share: float = 0.06  # of the minutes
    finetune_share: float = 0.45  # of each model's minutes
    regularise: float = 0.3
    compile: bool = False  # the prior by torch.compile: a third more steps on a CPU, which needs a C++ compiler
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


def at(phases: list[tuple[float, Data]], done: float) -> Data:
    """The data of the phase that ``done`` (0..1) falls into; ``phases`` are (share of the time, data)."""
    ends = np.cumsum([share for share, _ in phases])
    return phases[min(int(np.searchsorted(ends, done, side="right")), len(phases) - 1)][1]


def fit(run: Run, loss: Callable, phases: list[tuple[float, Data]], valid: Data, drop: float) -> None:
    """``loss(model, data, drop) -> (scalar, values)`` down, through the phases."""

    def validate(batches: int = 4) -> dict:
        valid.passages.random = np.random.default_rng(1)
        with torch.no_grad():
            values = [loss(run.model, valid, 0.0)[1]["nll"] for _ in range(batches)]
        return {"valid_nll": round(float(np.mean(values)), 4)}

    run.train(lambda: loss(run.model, at(phases, run.done), drop), validate)


def prepared(data: Path, out: Path) -> list[Piece]:
    """The corpora as compound words, made once and kept in ``OUT/tokens.npz``."""
    path = out / "tokens.npz"
    if not path.exists():
        corpus.save(corpus.build(data, Vocabulary.default()), path)
    return corpus.load(path)


def phases_of(pieces: list[Piece], settings: Settings) -> tuple[list[tuple[float, Data]], Data]:
    train = [p for p in pieces if p.part == "train"]
    pretrain = Data(train, PRETRAIN, settings, settings.seed, vary=True)
    finetune = Data(train, FINETUNE, settings, settings.seed + 1, vary=True)
    valid = Data([p for p in pieces if p.part == "valid"], {"emopia": 1.0}, settings, 0)
    return [(1 - settings.finetune_share, pretrain), (settings.finetune_share, finetune)], valid


def build(settings: Settings) -> tuple[MusER, Prior]:
    """New networks of a size, with the settings' conditioner and quantizer."""
    torch.manual_seed(settings.seed)
    quantizer = {"name": settings.quantizer} if settings.quantizer else None
    autoencoder_config, prior_config = configs(settings.size, settings.conditioner, quantizer)
    autoencoder = MusER(**autoencoder_config)
    codebook = autoencoder.codebook
    return autoencoder, Prior(size=codebook.size, slots=codebook.slots, manners=len(GROUPS), **prior_config)


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Train both models for ``minutes`` together (80 by default) and write the checkpoint to ``OUT/checkpoint``."""
    out.mkdir(parents=True, exist_ok=True)
    minutes = 80.0 if minutes is None else minutes
    phases, valid = phases_of(prepared(Path(data), out), settings)
    autoencoder, prior = build(settings)
    run = Run("autoencoder", autoencoder.to(settings.device), out, minutes * settings.autoencoder_share, settings.rate)
    fit(run, lambda m, d, drop: autoencoder_loss(m, d, settings, drop), phases, valid, settings.drop)
    autoencoder.fit_codebook()
    autoencoder.eval().requires_grad_(False)
    if settings.compile:
        prior.compile(dynamic=True)
    run = Run("prior", prior.to(settings.device), out, minutes * (1 - settings.autoencoder_share), settings.rate)
    fit(run, lambda m, d, drop: prior_loss(m, autoencoder, d, settings, drop), phases, valid, settings.drop)
    export(autoencoder, prior, out / "checkpoint")
    corpus.labeller_of(Path(data)).save(out / "checkpoint" / "labeller.json")


def export(autoencoder: MusER, prior: Prior, folder: Path, vocabulary: Vocabulary | None = None) -> None:
    """The checkpoint: both models in fp16 and the vocabulary, by default :meth:`Vocabulary.default`."""
    for name, model in (("autoencoder", autoencoder), ("prior", prior)):
        checkpoints.save(model.cpu().half(), folder / name)
    (vocabulary or Vocabulary.default()).save(folder / "vocabulary.json")
