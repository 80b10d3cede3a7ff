"""``affekt train music``: the autoencoder, then the prior over its codes; all corpora first, then mostly EMOPIA.

Time is the budget, so the learning rate follows the clock: the same command trains on a laptop and on a GPU.
State goes to ``OUT/*.pt`` every two minutes; the same command goes on from there.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from gen.emotion.track import track
from gen.nn import lengths_to_mask
from gen.training import Run
from music import corpus
from music.corpus import GROUPS, Batch, Passages, Piece
from music.labels import curve_of
from music.muser.condition import at_bar
from music.muser.model import MusER
from music.muser.prior import FAR, Prior
from music.muser.sizes import configs
from music.tokens import ELEMENTS, Vocabulary

PRETRAIN = {"pop909": 0.6, "giantmidi": 0.1, "emopia": 0.3}
FINETUNE = {"pop909": 0.3, "emopia": 0.7}
RENAMED = 0.1  # share of passages that pass for EMOPIA's


class Settings(BaseModel):
    """What ``--set`` may change."""

    model_config = ConfigDict(extra="forbid")
    size: str = "compact"
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


class Data:
    """Passages as tensors on a device, with conditions per step from a model's own conditioner."""

    def __init__(
        self, pieces: list[Piece], shares: dict[str, float], settings: Settings, seed: int, vary: bool = False
    ):
        self.settings = settings
        self.passages = Passages(pieces, shares, settings.length, Vocabulary.default(), seed, vary)
        self.random = np.random.default_rng(seed)

    def batch(self) -> Batch:
        return self.passages.batch(self.settings.batch, FAR)

    def tensors(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows (b, n, 7), lengths (b,), bar of each step (b, n), bars left (b, n)."""
        arrays = batch.rows, batch.lengths, batch.bar, batch.left
        return tuple(torch.from_numpy(array).to(self.settings.device) for array in arrays)

    def manner(self, batch: Batch) -> np.ndarray:
        """(b, 1) the corpus of each passage; some are called EMOPIA's, so that it too comes to hear of endings."""
        group = np.where(self.random.random(len(batch.group)) < RENAMED, 0, batch.group)
        return group[:, None]

    def conditions(self, model: nn.Module, batch: Batch, drop: float) -> Tensor:
        """One condition a bar (b, bars, c); a share ``drop`` of the items gets the null instead."""
        # corpora say nothing of dominance: a random one teaches the model to leave it alone
        curves = [curve_of(f, self.random.uniform(-1, 1)) for f in batch.feeling]
        frames = np.arange(max(len(f) for f in batch.feeling))
        prepared = model.emotion.prepare([track(curve, frames) for curve in curves])
        prepared = {k: v.to(self.settings.device) for k, v in prepared.items()}
        dropped = torch.from_numpy(self.random.random(len(curves)) < drop).to(self.settings.device)
        return model.emotion(drop=dropped, **prepared)


def autoencoder_loss(model: MusER, data: Data, settings: Settings, drop: float) -> tuple[Tensor, dict]:
    batch = data.batch()
    rows, lengths, bar, _ = data.tensors(batch)
    condition = data.conditions(model, batch, drop)
    model.settle()
    losses = model(rows, lengths_to_mask(lengths, rows.shape[1]), at_bar(condition.tokens, bar))
    total = losses.nll + losses.quantizer + settings.regularise * losses.order + condition.loss
    elements = {name: round(float(x), 3) for name, x in zip(ELEMENTS, losses.elements, strict=True)}
    named = {"nll": losses.nll, "vq": losses.quantizer, "order": losses.order}
    return total, {name: round(float(value.detach()), 4) for name, value in named.items()} | elements


def prior_loss(model: Prior, autoencoder: MusER, data: Data, settings: Settings, drop: float) -> tuple[Tensor, dict]:
    batch = data.batch()
    rows, lengths, bar, left = data.tensors(batch)
    with torch.no_grad():
        codes = autoencoder.codes(rows, lengths_to_mask(lengths, rows.shape[1]))
    condition = data.conditions(model, batch, drop)
    ends = (left.gather(1, lengths[:, None] - 1)[:, 0] == 0) & torch.from_numpy(batch.whole).to(left.device)
    steps = with_end(model, codes, lengths, bar, left, ends)
    manner = torch.from_numpy(data.manner(batch)).to(rows.device)
    loss = model(steps[0], steps[1], at_bar(condition.tokens, steps[2]), steps[3], manner) + condition.loss
    return loss, {"nll": round(float(loss.detach()), 4)}


def with_end(model: Prior, codes: Tensor, lengths: Tensor, bar: Tensor, left: Tensor, ends: Tensor):
    """Codes (b, n, s) -> codes, mask, bar and bars left of n + 1 steps: an end after the pieces that ``ends`` marks.

    A step is told the bar that its predecessor stands in: its own would give a Bar away.
    """
    b, n, slots = codes.shape
    codes = torch.cat((codes, codes.new_full((b, 1, slots), model.end)), 1)
    codes.scatter_(1, lengths[:, None, None].expand(-1, 1, slots), model.end)
    mask = lengths_to_mask(lengths + ends, n + 1)
    return codes, mask, torch.cat((bar[:, :1], bar), 1), torch.cat((left[:, :1] + 1, left), 1)


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
    autoencoder.settle()
    autoencoder.eval().requires_grad_(False)
    if settings.compile:
        prior.compile(dynamic=True)
    run = Run("prior", prior.to(settings.device), out, minutes * (1 - settings.autoencoder_share), settings.rate)
    fit(run, lambda m, d, drop: prior_loss(m, autoencoder, d, settings, drop), phases, valid, settings.drop)
    export(autoencoder, prior, out / "checkpoint")
    corpus.labeller_of(Path(data)).save(out / "checkpoint" / "labeller.json")


def export(autoencoder: MusER, prior: Prior, folder: Path) -> None:
    """The checkpoint: both models in fp16 and the vocabulary."""
    for name, model in (("autoencoder", autoencoder), ("prior", prior)):
        model.cpu().half().save_pretrained(folder / name)
    Vocabulary.default().save(folder / "vocabulary.json")
