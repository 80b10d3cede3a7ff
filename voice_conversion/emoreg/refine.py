"""EmoReg adapts a performance: a mean-reverting diffusion (EmoReg, AAAI 2025; DiffVC, ICLR 2022, sec. 2) whose samples
are how a speaker's own sound changes when he speaks at another pitch and pace in an emotion.

The score is that of a denoiser, preconditioned as in "Elucidating the Design Space of Diffusion-Based Generative
Models" (2022, table 1). b batch, n frames of 43 a second, 20 cepstral changes, 80 bands, e width of the condition.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen import registry
from gen.diffusion import MeanReverting, MeanRevertingScheduler, draw, guide, sample, wide
from gen.emotion.spec import CANONICAL
from gen.emotion.track import EmotionTrack, plain
from gen.network import ConfigMixin, ModelMixin, register_to_config
from gen.nn import AdaLN, FourierFeatures
from voice_conversion import features
from voice_conversion.eight_bits import packed, unpacked
from voice_conversion.features import BANDS, HOP, RATE
from voice_conversion.performance.bank import STEP
from voice_conversion.performance.lay import Contours, changed
from voice_conversion.performance.phrase import CHANGED, smooth
from voice_conversion.performance.recording import Recording
from voice_conversion.performance.warp import sampled
from voice_conversion.psola import lay, places

TOLD = 3  # octaves above the speaker's median, voiced or not, logarithm of the stretch
FILE = "refiner.safetensors"
STEPS, GUIDANCE, TEMPERATURE = 10, 6.0, 0.0
RIVAL, ALIKE = 3.0, 0.6  # guidance that a rival gets, and the cosine in the embedding that makes one
ASKED = 0.1  # share of a mix above which an emotion is no rival
LEVEL = 1.25  # the intensity of strong renditions, of which full strength is one
OWN = 0.3  # share of a clip's difference from its words, at the size that was perceived: guidance enlarges it
KEPT = {"surprise": 0.5, "fear": 0.65, "disgust": 1.1}  # others .95
SHARE = np.array([KEPT.get(name, 0.95) for name in CANONICAL])  # of what is drawn: more costs quality and words
SOFT = 3.0  # frames of 86 a second over which what is drawn is smoothed


class Layer(nn.Module):
    """A gated convolution over time beside an identity."""

    def __init__(self, dim: int, cond: int, dilation: int, dropout: float):
        super().__init__()
        self.norm = AdaLN(dim, cond)
        self.conv = nn.Conv1d(dim, 2 * dim, 3, padding=dilation, dilation=dilation)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        y = F.glu(self.conv(self.norm(x, cond).transpose(1, 2)), 1).transpose(1, 2)
        return x + self.out(self.dropout(y))


class Refiner(ModelMixin, ConfigMixin):
    """``forward(x (b n 20), t (b,), mean (b n 20), moved (b n 80), told (b n 3), emotion (b n e)) -> score (b n 20)``.

    ``moved`` is the mel of the recording at the new pitch and pace. Changes are in units of ``scale`` (20,).
    """

    @register_to_config
    def __init__(
        self,
        dim: int = 128,
        depth: int = 8,
        cond: int = 64,
        dropout: float = 0.2,
        spread: float = 1.0,
        priors: str | None = None,
    ):
        super().__init__()
        self.register_to_config(priors=None)
        self.sde = MeanReverting()
        self.emotion = registry.build("conditioner", name="direction", dim=cond, priors=priors)
        self.register_buffer("scale", torch.ones(CHANGED))
        self.into = nn.Linear(2 * CHANGED + BANDS + TOLD, dim)
        self.time = nn.Sequential(FourierFeatures(1, cond), nn.SiLU(), nn.Linear(cond, cond))
        self.layers = nn.ModuleList(Layer(dim, cond, 2 ** (i % 4), dropout) for i in range(depth))
        self.norm, self.last = nn.LayerNorm(dim), nn.Linear(dim, CHANGED)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def save(self, folder: Path) -> None:
        """Write ``refiner.safetensors``, matrices in 8 bits."""
        from safetensors.torch import save_file

        save_file(packed(self.state_dict()), folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Refiner:
        """Loads a folder written by :meth:`save`."""
        from safetensors.torch import load_file

        model = cls()
        model.load_state_dict(unpacked(load_file(folder / FILE)))
        return model.eval()

    def scalings(self, t: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        """c_skip, c_out, c_in, of the difference from the mean, and what is left of a difference, at times (b,)."""
        left = wide(self.sde.gamma(0.0, t), x)
        noise, size = 1 - left**2, (left * self.config.spread) ** 2
        total = noise + size
        return left * self.config.spread**2 / total, self.config.spread * (noise / total).sqrt(), total**-0.5, left

    def network(self, x: Tensor, t: Tensor, mean: Tensor, moved: Tensor, told: Tensor, emotion: Tensor) -> Tensor:
        """The network's output (b n 20), which the preconditioning scales by c_out."""
        *_, into, left = self.scalings(t, x)
        level = 0.25 * ((1 - left**2).sqrt() / left).log()[:, :, 0]
        h = self.into(torch.cat((into * (x - mean), mean, moved / 3 + 1.5, told), -1))
        cond = F.silu(self.time(level)[:, None] + emotion)
        for layer in self.layers:
            h = layer(h, cond)
        return self.last(self.norm(h))

    def forward(self, x: Tensor, t: Tensor, mean: Tensor, moved: Tensor, told: Tensor, emotion: Tensor) -> Tensor:
        skip, out, _, left = self.scalings(t, x)
        away = x - mean
        origin = skip * away + out * self.network(x, t, mean, moved, told, emotion)
        return (left * origin - away) / (1 - left**2)

    def loss(self, real: Tensor, mean: Tensor, mask: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """Mean square of what the network misses of real changes (b n 20), at times (b,), where ``mask`` (b n 1) is
        1."""
        skip, out, _, left = self.scalings(t, real)
        x = mean + left * (real - mean) + (1 - left**2).sqrt() * torch.randn_like(real)
        target = (real - mean - skip * (x - mean)) / out
        error = self.network(x, t, mean, **condition).float() - target
        return (mask * error.square()).sum() / (mask.sum() * CHANGED)

    @torch.inference_mode()
    def refined(
        self,
        mean: Tensor,
        moved: Tensor,
        told: Tensor,
        track: EmotionTrack,
        generator: torch.Generator,
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        solver: str = "pf",
        temperature: float = TEMPERATURE,
    ) -> Tensor:
        """Changes (b n 20) as the speaker might make them, for an emotion of n frames: guided away from no emotion,
        and from the emotion's :func:`rival` if it has one."""
        prepared, b, mean = self.emotion.prepare([track]), len(mean), mean / self.scale
        branches, scales = {"null": self.emotion(drop=torch.ones(1, dtype=torch.bool), **prepared)}, {}
        if (other := rival(track)) is not None:
            branches["rival"], scales["rival"] = self.emotion(**self.emotion.prepare([other])), RIVAL
        branches["emotion"], scales["emotion"] = self.emotion(**prepared), guidance
        k = len(branches)
        tokens = torch.cat([one.tokens.expand(b, -1, -1) for one in branches.values()])
        shared = {name: x.repeat(k, 1, 1) for name, x in (("mean", mean), ("moved", moved), ("told", told))}

        def guided(x: Tensor, t: Tensor) -> Tensor:
            scores = self(x.repeat(k, 1, 1), t.repeat(k), emotion=tokens, **shared).chunk(k)
            return guide(dict(zip(branches, scores)), scales)

        start = self.sde.start(temperature * draw(mean, generator), mean, mean)
        solved = MeanRevertingScheduler(self.sde, mean, solver, self.config.spread**2)
        return self.scale * sample(guided, solved, start, steps, generator=generator)


def rival(track: EmotionTrack) -> EmotionTrack | None:
    """The emotion that is not asked for and lies nearest to a track in the shared embedding, at its intensities;
    None if none is near. Listeners take one for the other: happiness and surprise."""
    aim = plain(track.weights, track.intensity).embedding.mean(0)
    every = plain(np.eye(len(CANONICAL), dtype=np.float32), np.ones(len(CANONICAL), np.float32))
    near = every.embedding @ aim / np.linalg.norm(every.embedding, axis=1) / np.linalg.norm(aim)
    near[track.weights.mean(0) > ASKED] = near[CANONICAL.index("neutral")] = -1.0
    best = int(near.argmax())
    if near[best] < ALIKE:
        return None
    return plain(np.repeat(every.weights[[best]], len(track.intensity), 0), track.intensity)


def adapted(
    model: Refiner,
    recording: Recording,
    first: int,
    last: int,
    laid: Contours,
    track: EmotionTrack,
    seed: int = 0,
    mean: float = 0.0,
    **how,
) -> Contours:
    """The contours of a performance on frames ``first`` to ``last`` with the change of the sound that the speaker
    himself would make, for the emotion of those frames. The diffusion starts from the recording as it was said, or from
    a share ``mean`` of the performer's change; ``how`` of :meth:`Refiner.refined`."""
    own, n = recording.whole.part(first, last), last - first
    moved = changed(own, recording.median, laid, 1.0)
    at = places(moved.stretch)
    sound = lay(recording.plain[None, first * HOP : last * HOP], RATE, own.hz, moved.octave, at)
    mel = features.mel(torch.from_numpy(features.cut(sound[0]))[None])[0].numpy()
    spots = np.linspace(0, len(mel) - 1, max(len(mel) // STEP, 2))
    told = np.stack([moved.octave - recording.median, own.hz > 0, np.log(moved.stretch)], 1)
    source = np.interp(spots, np.arange(len(at)), at).clip(0, n - 1)
    given = mean * sampled(laid.change, source), sampled(smooth(mel, 0.5), spots), sampled(told, source)
    seen = [torch.from_numpy(x.astype(np.float32))[None] for x in given]
    rows = np.rint(source).astype(int)
    asked = track.part(rows)
    strong = asked.at_intensity(np.full(len(rows), LEVEL, np.float32))
    strong = strong.nearer(OWN * np.minimum(asked.intensity / LEVEL, 1))
    change = model.refined(*seen, strong, torch.Generator().manual_seed(seed), **how)[0].numpy()
    when = np.cumsum(moved.stretch) - moved.stretch / 2 - 0.5
    change = np.stack([np.interp(when, spots, row) for row in change.T], 1)
    return laid._replace(change=(track.weights @ SHARE)[:, None] * smooth(change, SOFT))
