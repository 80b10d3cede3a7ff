"""``affekt train dice``: trains the motion denoiser on neutral speech, with dropout of speech for guidance."""

from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from gen import checkpoints
from gen.diffusion import EDM, masked_mean
from gen.training import Run
from talking_head.models import write_class
from talking_head.motion.dice.generate import PREFIX, DiceMotion
from talking_head.motion.dice.model import SPREAD, MotionDenoiser
from talking_head.motion.dice.sizes import sizes
from talking_head.motion.expression import SPEECH
from talking_head.motion.speech import SpeechEncoder
from talking_head.training import expression, lips
from talking_head.training.dice_data import Batch, Clip, Windows, measured, prepared

NOISE = EDM(sigma_data=SPREAD, log_mean=-0.6, log_std=1.4)
WEIGHT = torch.cat((1 + 2 * torch.from_numpy(SPEECH).float(), torch.ones(3)))  # weight 3 for lips


class Settings(BaseModel):
    """The ``--set`` options."""

    model_config = ConfigDict(extra="forbid")
    size: str = "compact"
    conditioner: str = "gaussian"  # of the expression layer
    expression_steps: int = 1500
    teacher: str = "emote-compact"  # the checkpoint with the speech encoder
    ears: str = "whisper-base"  # the Whisper checkpoint of the teacher
    seed: int = 0
    rate: float = 2e-3
    drop_audio: float = 0.08
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
        """EDM loss of the unknown frames, and the error of the expected motion."""
        model, s, b = self.model, self.settings, len(batch.motion)
        x0 = model.normalise(batch.motion)
        drop = lambda chance: torch.rand(b, device=x0.device) < chance
        heard, face = model.condition(batch.features, model.normalise(batch.rest))
        heard = torch.where(drop(s.drop_audio)[:, None, None], model.silence, heard)
        given = torch.zeros(b, x0.shape[1], dtype=torch.bool, device=x0.device)
        given[:, :PREFIX] = ~drop(s.begin)[:, None]
        told = {"heard": heard, "face": face, "known": x0 * given[..., None], "given": given}
        means = []

        def network(x: Tensor, time: Tensor) -> Tensor:
            made, mean = model.through(x, time, **told)
            means.append(mean)
            return made

        diffusion = NOISE.loss(network, x0, batch.measured & ~given[..., None])
        expected = masked_mean((means[0].float() - x0).square() * WEIGHT.to(x0.device), batch.measured)
        return diffusion + expected, {"diffusion": diffusion.detach(), "expected": expected.detach()}


def set_scale(model: MotionDenoiser, windows: Windows, count: int = 40) -> None:
    """Set mean and scale of the features from windows."""
    batches = [windows() for _ in range(count)]
    motion, known = (torch.cat([getattr(b, name) for b in batches]) for name in ("motion", "measured"))
    for i in range(len(model.mean)):
        seen = motion[known[:, 0, i]][..., i]
        model.mean[i], model.scale[i] = seen.mean(), seen.std().clamp(min=0.02)


def agreement(motion: DiceMotion, clips: list[Clip], seeds: int = 2, most: int = 8) -> dict[str, float]:
    """Mean correlation of lips with held-out clips of GRID, over clips and seeds."""
    found = {"jaw": [], "pucker": []}
    for clip in [c for c in clips if c.source == "grid" and c.part == "test"][:most]:
        for seed in range(seeds):
            made = motion.whole(torch.from_numpy(clip.features[:, 0]), seed)
            for name, values in found.items():
                values.append(lips.correlation(lips.part_of(made, name), lips.part_of(clip.motion, name)))
    return {name: round(float(np.mean(values)), 3) for name, values in found.items() if values}


def train(data: Path, out: Path, minutes: float, settings: Settings) -> None:
    """Train and write ``OUT/checkpoint`` in fp16."""
    torch.manual_seed(settings.seed)
    out.mkdir(parents=True, exist_ok=True)
    clips = prepared(data, out, settings.teacher, settings.ears)
    model = MotionDenoiser(**sizes(settings.size, clips[0].features.shape[-1]))
    windows = Windows(clips, measured(), settings.seed)
    set_scale(model, windows)
    if settings.compile:
        model.compile(dynamic=True)
    training = Training(model, settings).to(settings.device)
    run = Run("motion", training, out, minutes, settings.rate, spread=settings.spread)
    known = checkpoints.load(settings.teacher, SpeechEncoder, "speech")
    ears = SpeechEncoder(
        **{name: v for name, v in known.config.items() if not name.startswith("_")}
    )  # without its path
    ears.load_state_dict(known.state_dict())

    def check() -> dict[str, float]:
        found = agreement(DiceMotion(model, ears, settings.device), clips)
        model.requires_grad_(True)
        return found

    run.train(lambda: run.model(Batch(*(x.to(settings.device) for x in windows()))), check)
    checkpoints.save(model.cpu().half(), out / "checkpoint" / "motion")
    checkpoints.save(ears.half(), out / "checkpoint" / "speech")
    write_class(out / "checkpoint", "DiceSpeaker")
    expression.write(out / "checkpoint", settings.conditioner, settings.seed, settings.expression_steps)
