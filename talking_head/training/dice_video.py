"""``affekt train dice --set size=full``: speech first (stage d1), then emotion (d2), or low-rank changes (lora).

The embedding whose priors are told (stage E) is that of ``affekt train emotion``. d1 trains the network, the speech
projection and the pose guider, with emotion unsaid. d2 freezes them and trains the emotion adapters and the bank, with
the bank's loss and the discrimination objective: the mid block's features must show the emotion (DICE-Talk, ACM MM
2025).
"""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from gen.errors import InputError
from gen.training import Run
from talking_head.training.video_data import Batch, Windows, examples
from talking_head.video import lora
from talking_head.video.pipeline import DiceVideo
from talking_head.video.unet import Contexts

STAGES = ("d1", "d2", "lora")
LOG_MEAN, LOG_STD = (
    0.7,
    1.6,
)  # of the noise levels, as Stable Video Diffusion was trained (Blattmann et al. 2023, app. D)
BANK, DISCRIMINATE = 0.25, 0.05
CLEAR = 5.0  # noise level below which features can show an emotion


class Settings(BaseModel):
    """The ``--set`` options."""

    model_config = ConfigDict(extra="forbid")
    size: str = "full"
    stage: str = "d1"
    start: str | None = None  # checkpoint to begin from, such as dice-talk or sonic
    seed: int = 0
    batch: int = 1
    side: int = 512  # pixels
    rate: float = 1e-5
    rank: int = 16
    drop_audio: float = 0.05
    drop_image: float = 0.1
    drop_both: float = 0.05
    drop_emotion: float = 0.1
    retrieval: bool = False
    spread: bool = False  # over several devices, through accelerate
    checkpointing: bool = False  # activations worked out twice, for memory
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


class Told(NamedTuple):
    """The network's conditions for a batch."""

    contexts: Contexts
    known: Tensor  # (b, f, 4, h, w) the reference latent in every frame
    pose: Tensor | None
    bank: Tensor  # the bank's loss


class Training(nn.Module):
    """The trained parts of a model, and their loss on a batch."""

    def __init__(self, model: DiceVideo, settings: Settings):
        super().__init__()
        names = ("unet", "audio", "emotion", "pose")
        self.parts = nn.ModuleDict({name: model.parts[name] for name in names if name in model.parts})
        self.settings = settings
        choose(self.parts, settings)
        self.train()

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and what it consists of."""
        s, x0 = self.settings, batch.latents
        told = self.told(batch)
        sigma = (LOG_MEAN + LOG_STD * torch.randn(len(x0), device=x0.device)).exp()
        wide = sigma.view(-1, 1, 1, 1, 1)
        x = x0 + wide * torch.randn_like(x0)
        root = (wide**2 + 1).sqrt()
        out = self.parts["unet"](torch.cat((x / root, told.known), 2), sigma.log() / 4, told.contexts, told.pose)
        wanted = (x / root**2 - x0) * root / wide  # the velocity; its error is the EDM-weighted one of x0
        weight = batch.weight[:, None, None]
        diffusion = ((out.velocity.float() - wanted).square() * weight).mean() / weight.mean()
        values = {"diffusion": diffusion, "bank": told.bank}
        loss = diffusion + BANK * told.bank
        if s.stage != "d1":
            values["discrimination"] = self.discrimination(out.middle, batch.kind, sigma)
            loss = loss + DISCRIMINATE * values["discrimination"]
        return loss, values

    def told(self, batch: Batch) -> Told:
        """The conditions, each dropped as often as the settings say."""
        s, x0, parts = self.settings, batch.latents, self.parts
        chance = torch.rand(2, len(x0), device=x0.device)
        both = chance[0] < s.drop_both
        no_image = both | ((chance[0] - s.drop_both) / (1 - s.drop_both) < s.drop_image)
        no_audio = both | (chance[1] < s.drop_audio)
        keep = lambda x, drop: x * ~drop.view(-1, *[1] * (x.dim() - 1))
        unsaid = torch.rand(len(x0), device=x0.device) < (1.0 if s.stage == "d1" else s.drop_emotion)
        felt = parts["emotion"](keep(batch.mu, unsaid)[:, None], s.retrieval, unsaid)
        tokens = parts["audio"](keep(batch.spans, no_audio)), felt.tokens
        contexts = Contexts(keep(batch.seen, no_image), tokens, mask=batch.box[:, 0])
        known = keep(batch.reference, no_image)[:, None].expand_as(x0)
        pose = parts["pose"](batch.box)[:, None] if "pose" in parts else None
        return Told(contexts, known, pose, felt.loss)

    def discrimination(self, middle: Tensor, kind: Tensor, sigma: Tensor) -> Tensor:
        """Cross-entropy of emotion and level from mid-block features (b, f, d), for clips that show something."""
        clear = (sigma < CLEAR) & (kind >= 0)
        logits = self.parts["emotion"].classifier(middle.mean(1))
        return (F.cross_entropy(logits, kind.clamp(min=0), reduction="none") * clear).sum() / clear.sum().clamp(min=1)


def choose(parts: nn.ModuleDict, settings: Settings) -> None:
    """The parameters trained in a stage."""
    if settings.stage not in STAGES:
        raise InputError(f"there is no stage {settings.stage!r}: choose among {', '.join(STAGES)}")
    if settings.checkpointing:
        parts["unet"].enable_gradient_checkpointing()
    parts.requires_grad_(settings.stage == "d1")
    if settings.stage == "lora":
        lora.add(parts["unet"], settings.rank)
        return
    for name, parameter in parts["unet"].named_parameters():
        if "_ip.1." in name:
            parameter.requires_grad_(settings.stage == "d2")
    parts["emotion"].requires_grad_(settings.stage == "d2")


def train(data: Path, out: Path, minutes: float, settings: Settings) -> None:
    """Train one stage and write ``OUT/checkpoint``, or ``OUT/lora.safetensors``."""
    torch.manual_seed(settings.seed)
    model = DiceVideo.load(settings.start) if settings.start else DiceVideo.build(settings.size, settings.seed)
    if "emotion" not in model.parts:
        model.feel()
    windows = Windows(examples(model, data, out, settings.side), settings.batch, settings.seed)
    training = Training(model, settings)
    precision = torch.bfloat16 if settings.device != "cpu" else None
    run = Run(
        settings.stage,
        training.to(settings.device),
        out,
        minutes,
        settings.rate,
        precision=precision,
        spread=settings.spread,
    )
    run.train(lambda: run.model(Batch(*(x.to(settings.device) for x in windows()))))
    training.cpu().eval()
    if settings.stage == "lora":
        lora.save(model.parts["unet"], out / "lora.safetensors")
    else:
        model.save(out / "checkpoint")
