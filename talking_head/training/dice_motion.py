"""``affekt train dice``: the motion denoiser; each condition is dropped now and then, to be guided alone."""

from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from gen import checkpoints
from gen.diffusion import EDM, masked_mean
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.emotion.track import plain
from gen.training import Run
from talking_head.models import write_class
from talking_head.motion.dice.generate import PREFIX, DiceMotion, How
from talking_head.motion.dice.model import SPREAD, MotionDenoiser
from talking_head.motion.dice.sizes import sizes
from talking_head.motion.expression import SPEECH, TABLE
from talking_head.motion.speech import SpeechEncoder
from talking_head.training import expression, lips
from talking_head.training.dice_data import Batch, Clip, Windows, measured, prepared

NOISE = EDM(sigma_data=SPREAD, log_mean=-0.6, log_std=1.4)
WEIGHT = torch.cat((1 + 2 * torch.from_numpy(SPEECH).float(), torch.ones(3)))  # lips in speech count thrice
TOLD = 0.05  # weight of telling emotions from the features in the middle


class Settings(BaseModel):
    """What ``--set`` may change."""

    model_config = ConfigDict(extra="forbid")
    size: str = "compact"
    conditioner: str = "bank"  # of the motion model and of the expression layer
    expression_steps: int = 1500
    teacher: str = "emote-compact"  # whose ears it gets, and who shows it lips of lines without video
    seed: int = 0
    rate: float = 2e-3
    drop_audio: float = 0.08
    drop_rest: float = 0.15
    drop_emotion: float = 0.15  # of the windows without expression: what is not told is calm
    begin: float = 0.4  # share of windows without known frames before them
    compile: bool = False
    spread: bool = False  # over several devices, through accelerate
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


class Training(nn.Module):
    """A denoiser and its loss on a batch."""

    def __init__(self, model: MotionDenoiser, settings: Settings):
        super().__init__()
        self.model, self.settings = model, settings
        self.judge = nn.Linear(model.config.dim, len(CANONICAL))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """EDM loss of the frames that are to be made, that of telling emotions, and the conditioner's."""
        model, s, b = self.model, self.settings, len(batch.motion)
        x0 = model.normalise(batch.motion)
        drop = lambda chance: torch.rand(b, device=x0.device) < chance
        calm = (batch.intensity == 0).all(1)
        felt = self.feeling(batch, drop(s.drop_emotion) & calm)
        rest = model.rest(model.normalise(batch.rest))[:, None]
        seen = torch.where(drop(s.drop_rest)[:, None, None], model.nobody, rest)
        heard = torch.where(drop(s.drop_audio)[:, None, None], model.silence, model.listen(batch.features))
        given = torch.zeros(b, x0.shape[1], dtype=torch.bool, device=x0.device)
        given[:, :PREFIX] = ~drop(s.begin)[:, None]
        told = {"heard": heard, "felt": felt.tokens + seen, "known": x0 * given[..., None], "given": given}
        middle = []

        def network(x: Tensor, time: Tensor) -> Tensor:
            made, inner, mean = model.through(x, time, **told)
            middle.append((inner, time < 0, mean))
            return made

        diffusion = NOISE.loss(network, x0, batch.measured & ~given[..., None])
        inner, clear, mean = middle[0]
        expected = masked_mean((mean.float() - x0).square() * WEIGHT.to(x0.device), batch.measured)
        known = self.telling(inner, clear, batch)
        lost = {"diffusion": diffusion, "expected": expected, "emotion": known}
        return diffusion + expected + TOLD * known + felt.loss, {name: value.detach() for name, value in lost.items()}

    def telling(self, middle: Tensor, clear: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of the emotion, told from the middle features of windows with little noise (DICE-Talk)."""
        amount = batch.intensity.clamp(max=1)[..., None]
        wanted = batch.weights * amount
        wanted[..., 0] += 1 - amount[..., 0]
        lost = -(wanted * self.judge(middle).float().log_softmax(-1)).sum(-1).mean(1)
        return (lost * clear).sum() / clear.sum().clamp(min=1)

    def feeling(self, batch: Batch, drop: Tensor):
        """The conditioner's tokens, and its loss."""
        emotion, told = self.model.emotion, zip(batch.weights.cpu().numpy(), batch.intensity.cpu().numpy(), strict=True)
        prepared = emotion.prepare([plain(weights, intensity) for weights, intensity in told])
        return emotion(drop=drop, **{name: value.to(batch.weights.device) for name, value in prepared.items()})


def set_scale(model: MotionDenoiser, windows: Windows, count: int = 40) -> None:
    """Take mean and scale of the features from windows; the scale lies between that of calm faces and that of all."""
    batches = [windows() for _ in range(count)]
    every = lambda name: torch.cat([getattr(b, name) for b in batches])
    motion, known, calm = every("motion"), every("measured")[:, 0], every("intensity").amax(1) == 0
    for i in range(len(model.mean)):
        seen, quiet = motion[known[:, i]][..., i], motion[known[:, i] & calm][..., i]
        model.mean[i] = seen.mean()
        model.scale[i] = (seen.std().clamp(min=0.02) * quiet.std().clamp(min=0.02)).sqrt()


def calibrate(motion: DiceMotion, clips: list[Clip], most: int = 4) -> None:
    """Set the model's gain so that at intensity 1 expressions go about as far as the table says: means are tame."""
    shares, beside = [], ~SPEECH
    own = [c for c in clips if c.source == "grid" and c.part == "train"]
    for clip in own[:: max(1, len(own) // most)][:most]:
        draw = lambda text, clip=clip: motion.whole(torch.from_numpy(clip.features[:, 0]), EmotionCurve.parse(text))
        calm = draw("neutral")[:, :52].mean(0)
        for name, row in zip(CANONICAL[1:], TABLE[1:, beside]):
            shares.append((draw(name)[:, :52].mean(0) - calm)[beside] @ row / (row @ row))
    reached = float(np.mean(shares))  # nothing where the conditioner tells no emotion
    motion.model.gain.fill_(min(max(1 / reached, 1.0), 1.5) if reached > 0 else 1.0)


def agreement(motion: DiceMotion, clips: list[Clip], seeds: int = 2, most: int = 8) -> dict[str, float]:
    """How well lips go with those of held-out clips of GRID: correlation, a mean over clips and seeds."""
    found, curve = {"jaw": [], "pucker": []}, EmotionCurve.parse("neutral")
    for clip in [c for c in clips if c.source == "grid" and c.part == "test"][:most]:
        for seed in range(seeds):
            made = motion.whole(torch.from_numpy(clip.features[:, 0]), curve, seed, How())
            for name, values in found.items():
                values.append(lips.correlation(lips.part_of(made, name), lips.part_of(clip.motion, name)))
    return {name: round(float(np.mean(values)), 3) for name, values in found.items() if values}


def train(data: Path, out: Path, minutes: float, settings: Settings) -> None:
    """Train and write ``OUT/checkpoint`` in fp16."""
    torch.manual_seed(settings.seed)
    out.mkdir(parents=True, exist_ok=True)
    clips = prepared(data, out, settings.teacher)
    model = MotionDenoiser(**sizes(settings.size, settings.conditioner, clips[0].features.shape[-1]))
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
    calibrate(DiceMotion(model, ears, settings.device), clips)
    checkpoints.save(model.cpu().half(), out / "checkpoint" / "motion")
    checkpoints.save(ears.half(), out / "checkpoint" / "speech")
    write_class(out / "checkpoint", "DiceSpeaker")
    expression.write(out / "checkpoint", settings.conditioner, settings.seed, settings.expression_steps)
