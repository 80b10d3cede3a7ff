"""``affekt train dice``: the motion denoiser; each condition is dropped now and then, to be guided alone."""

from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from gen import checkpoints
from gen.diffusion import EDM
from gen.emotion.spec import CANONICAL, EmotionCurve
from talking_head.dice.clock import Run
from talking_head.dice.motion.data import FRAMES, SOURCES, Batch, Clip, Windows, parted, prepared
from talking_head.dice.motion.generate import PREFIX, DiceMotion, How
from talking_head.dice.motion.model import MotionDenoiser
from talking_head.dice.motion.sizes import sizes

NOISE = EDM(sigma_data=1.0, log_mean=-0.6, log_std=1.4)
JAW = 17  # jawOpen


class Settings(BaseModel):
    """What ``--set`` may change."""

    model_config = ConfigDict(extra="forbid")
    size: str = "compact"
    conditioner: str = "bank"
    seed: int = 0
    rate: float = 1e-3
    drop_audio: float = 0.1
    drop_rest: float = 0.15
    drop_emotion: float = 0.15
    begin: float = 0.4  # share of windows without known frames before them
    compile: bool = False
    spread: bool = False  # over several devices, through accelerate
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


class Training(nn.Module):
    """A denoiser and its loss on a batch."""

    def __init__(self, model: MotionDenoiser, settings: Settings):
        super().__init__()
        self.model, self.settings = model, settings

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """EDM loss of the frames that are to be made, and the conditioner's."""
        model, s, b = self.model, self.settings, len(batch.motion)
        x0 = model.normalise(batch.motion)
        drop = lambda chance: torch.rand(b, device=x0.device) < chance
        felt = self.feeling(batch, drop(s.drop_emotion))
        listen = (batch.heard & ~drop(s.drop_audio))[:, None, None]
        seen = ~drop(s.drop_rest)[:, None, None]
        rest = model.rest(model.normalise(batch.rest))[:, None]
        told = felt.tokens + torch.where(listen, model.listen(batch.rows), model.silence)
        told = told + torch.where(seen, rest, model.nobody)
        given = torch.zeros(b, x0.shape[1], dtype=torch.bool, device=x0.device)
        given[:, :PREFIX] = ~drop(s.begin)[:, None]
        known = x0 * given[..., None]
        mask = batch.measured & ~given[..., None]
        loss = NOISE.loss(model, x0, mask, condition=told, known=known, given=given)
        return loss + felt.loss, {"diffusion": loss.detach(), "bank": felt.loss.detach()}

    def feeling(self, batch: Batch, drop: Tensor):
        """The conditioner's tokens; of unknown emotions the null."""
        weights = torch.nn.functional.one_hot(batch.emotion.clamp(min=0), len(CANONICAL)).float()
        points = points_of().to(weights)
        n = FRAMES
        every = lambda x: x[:, None].expand(-1, n, *x.shape[1:])
        return self.model.emotion(drop=drop | (batch.emotion < 0), weights=every(weights), vad=every(weights @ points),
                                  intensity=every(batch.level))  # fmt: skip


def points_of() -> Tensor:
    """(8, 3) of the canonical emotions, as curves sample them."""
    return torch.from_numpy(np.concatenate([EmotionCurve.parse(name).sample([0.0]).vad for name in CANONICAL]))


def settle(model: MotionDenoiser, clips: list[Clip]) -> None:
    """Take mean and scale of the features from the clips that measure them."""
    for i in range(len(model.mean)):
        values = np.concatenate([clip.motion[:, i] for clip in clips if clip.measured[i]] or [np.zeros(2)])
        model.mean[i], model.scale[i] = float(values.mean()), max(float(values.std()), 0.02)


def agreement(motion: DiceMotion, clips: list[Clip], seeds: int = 2, most: int = 8) -> dict[str, float]:
    """How well jaws go with those of held-out clips: correlation, a mean over clips and seeds."""
    found = []
    for clip in [c for c in clips if len(c.rows)][:most]:
        curve = EmotionCurve.parse("neutral")
        for seed in range(seeds):
            rows = torch.from_numpy(clip.rows)
            made = np.concatenate(list(motion.stream([rows], curve, clip.motion[0], seed, How())))
            found.append(np.corrcoef(made[:, JAW], clip.motion[: len(made), JAW])[0, 1])
    return {"jaw": round(float(np.nanmean(found)), 3)} if found else {}


def train(data: Path, out: Path, minutes: float, settings: Settings) -> None:
    """Train and write ``OUT/checkpoint`` in fp16."""
    torch.manual_seed(settings.seed)
    out.mkdir(parents=True, exist_ok=True)
    learnt, held = parted(prepared(data, out, SOURCES))
    model = MotionDenoiser(**sizes(settings.size, settings.conditioner))
    settle(model, learnt)
    if settings.compile:
        model.compile(dynamic=True)
    windows = Windows(learnt, SOURCES, settings.seed)
    run = Run("motion", Training(model, settings), out, minutes, settings.rate, settings.spread, settings.device)

    def check() -> dict[str, float]:
        found = agreement(DiceMotion(model, settings.device), held)
        model.train().requires_grad_(True)
        return found

    run.train(lambda: Batch(*(x.to(settings.device) for x in windows())), check, torch.bfloat16)
    checkpoints.save(model.cpu().half(), out / "checkpoint")
