"""What the vocoder learns from: the energy distance of spectra at several resolutions, then critics of spectra too.

b batch, s samples. Two renderings of a mel differ in their noise: ``d(x, y) + d(x, z) - d(y, z)`` is least where they
are distributed as recordings are ("A Spectral Energy Distance for Parallel Speech Synthesis", NeurIPS 2020, eq. 5).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voice_conversion import features
from voice_conversion.clock import Clock
from voice_conversion.corpus import Corpus
from voice_conversion.vocoder import Vocoder

SIZES = (2048, 1024, 512, 256)
LINEAR = 8.0  # weight of the linear against the logarithmic distance
MEL = 0.5
CROP = 64  # frames
BATCH = 8
CRITICS_FROM = 1.1  # of the time
ADVERSARIAL, LIKENESS = 0.3, 1.0


def magnitude(wave: Tensor, size: int) -> Tensor:
    """(b, s) -> (b, n, k), white noise of unit power being about 1."""
    window = features.window(size)
    found = torch.stft(wave, size, size // 4, size, window, return_complex=True)
    return (found.real.square() + found.imag.square() + 1e-9).sqrt().transpose(1, 2) / window.norm()


def distance(one: list[Tensor], other: list[Tensor]) -> Tensor:
    """Between magnitudes at all resolutions: linear and logarithmic."""
    terms = [LINEAR * (x - y).abs().mean() + ((x + 1e-4).log() - (y + 1e-4).log()).abs().mean()
             for x, y in zip(one, other)]  # fmt: skip
    return sum(terms) / len(terms)


class Critic(nn.Module):
    """Judges a compressed spectrum at one resolution, patch by patch."""

    def __init__(self, size: int, width: int = 24):
        super().__init__()
        self.size = size
        make = lambda i, o, stride: nn.utils.parametrizations.weight_norm(nn.Conv2d(i, o, (3, 5), (1, stride), (1, 2)))
        self.layers = nn.ModuleList([make(2, width, 2), make(width, width, 2), make(width, 2 * width, 2),
                                     make(2 * width, 2 * width, 2)])  # fmt: skip
        self.last = nn.utils.parametrizations.weight_norm(nn.Conv2d(2 * width, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        window = features.window(self.size)
        found = torch.stft(wave, self.size, self.size // 4, self.size, window, return_complex=True) / window.norm()
        size = (found.real.square() + found.imag.square() + 1e-9).sqrt()
        x = torch.stack((found.real, found.imag), 1) / (size.sqrt() + 1e-3)[:, None] * 3
        x = x.transpose(2, 3)
        seen = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            seen.append(x)
        return self.last(x), seen


class Critics(nn.Module):
    """One critic for each of some resolutions."""

    def __init__(self, sizes: tuple[int, ...] = (1024, 512, 256)):
        super().__init__()
        self.critics = nn.ModuleList(Critic(size) for size in sizes)

    def forward(self, wave: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        return [critic(wave) for critic in self.critics]


class Crops:
    """Random stretches of a part's clips, those of acted emotion drawn more often than their share."""

    def __init__(self, corpus: Corpus, part: str, seed: int = 0, emotional: float = 0.6):
        self.corpus, self.random = corpus, np.random.default_rng(seed)
        own = [clip for clip in corpus.clips if clip.part == part and clip.frames > CROP]
        groups = [[c for c in own if (c.group == "aligned") == aligned] for aligned in (False, True)]
        self.groups = [group for group in groups if group]
        self.shares = np.array([emotional, 1 - emotional]) if len(self.groups) == 2 else np.ones(1)

    def batch(self, size: int) -> tuple[Tensor, ...]:
        """Sound (b, s), mel (b, n, 80), log2 Hz (b, n), voiced (b, n)."""
        rows = []
        for which in self.random.choice(len(self.groups), size, p=self.shares):
            clip = self.groups[which][self.random.integers(len(self.groups[which]))]
            first = clip.start + int(self.random.integers(clip.frames - CROP))
            hz = np.asarray(self.corpus.hz[clip.start : clip.start + clip.frames])
            octave = features.filled(hz)[first - clip.start :][:CROP]
            part = slice(first, first + CROP)
            wave = self.corpus.wave[first * features.HOP : (first + CROP) * features.HOP]
            gain = np.float32(np.exp(self.random.normal(0, 0.2)))
            mel = np.maximum(self.corpus.mel[part].astype(np.float32) + np.log(gain), np.log(features.FLOOR))
            rows.append((wave.astype(np.float32) / 32768 * gain, mel, octave, (self.corpus.hz[part] > 0)))
        return tuple(torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*rows))


class VocoderTraining:
    """One step of the training, for :class:`voice_conversion.clock.Clock`."""

    def __init__(self, model: Vocoder, crops: Crops, batch: int = BATCH):
        self.model, self.crops, self.batch, self.critics = model, crops, batch, Critics()

    def rates(self, rate: float) -> dict[nn.Module, float]:
        return {self.model: rate, self.critics: 2e-3}

    def render(self, mel: Tensor, octave: Tensor, voiced: Tensor) -> Tensor:
        """Each item twice with different noise: (2 b, s)."""
        with torch.autocast("cpu", torch.bfloat16):
            gains = self.model.read(mel, octave, voiced)
        from voice_conversion.vocoder import overlap_add, sources

        with torch.autocast("cpu", enabled=False):
            twice = tuple(torch.cat((gain, gain)).float() for gain in gains)
            wave = overlap_add(self.model.spectra(twice, sources(torch.cat((octave, octave)))))
            return self.model.project(wave, torch.cat((mel, mel)))

    def __call__(self, clock: Clock) -> dict:
        wave, mel, octave, voiced = self.crops.batch(self.batch)
        made = self.render(mel, octave, voiced)
        inner = slice(features.FFT, -features.FFT)
        sizes = self.crops.random.choice(SIZES, 2, replace=False)
        real, first, second = ([magnitude(x[:, inner], int(size)) for size in sizes] for x in (wave, *made.chunk(2)))
        energy = distance(real, first) + distance(real, second) - distance(first, second)
        heard = (features.mel(made) - torch.cat((mel, mel))).abs()[:, 4:-4].mean()
        loss, values = energy + MEL * heard, {"energy": energy.detach(), "mel": heard.detach()}
        if clock.done > CRITICS_FROM:
            loss, more = self.against(clock, loss, wave[:, inner], made[:, inner])
            values |= more
        clock.update(0, loss)
        return values

    def against(self, clock: Clock, loss: Tensor, wave: Tensor, made: Tensor) -> tuple[Tensor, dict]:
        """Teach the critics, then add what they say (least squares) and how alike they find the two."""
        fake = made[: len(wave)]
        with torch.autocast("cpu", torch.bfloat16):
            said = zip(self.critics(wave), self.critics(fake.detach()))
            doubt = sum((1 - real).square().mean() + false.square().mean() for (real, _), (false, _) in said)
        clock.update(1, doubt)
        self.critics.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                known = self.critics(wave)
            judged = self.critics(fake)
            fooled = sum((1 - said).square().mean() for said, _ in judged)
            alike = sum((x - y).abs().mean() / (x.abs().mean() + 1e-3)
                        for (_, one), (_, other) in zip(known, judged) for x, y in zip(one, other))  # fmt: skip
        self.critics.requires_grad_(True)
        values = {"critics": doubt.detach(), "fooled": fooled.detach(), "alike": alike.detach()}
        share = min(1.0, (clock.done - CRITICS_FROM) * 20)
        return loss + share * (ADVERSARIAL * fooled + LIKENESS * alike / 12), values


@torch.no_grad()
def validate(model: Vocoder, crops: Crops, batches: int = 4) -> dict:
    """Distances on clips that are not trained on."""
    torch.manual_seed(0)
    crops.random = np.random.default_rng(0)
    errors = []
    for _ in range(batches):
        wave, mel, octave, voiced = crops.batch(8)
        made = model(mel, octave, voiced)
        heard = (features.mel(made) - mel).abs()[:, 4:-4].mean()
        near = distance(*([magnitude(x, size) for size in SIZES] for x in (wave, made)))
        errors.append((float(heard), float(near)))
    mel_error, near = np.mean(errors, 0)
    return {"valid_mel": round(float(mel_error), 4), "valid_distance": round(float(near), 4)}
