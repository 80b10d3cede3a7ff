"""What the vocoder learns from: the energy distance of spectra at several resolutions.

b batch, s samples. Two renderings of a mel differ in their noise: ``d(x, y) + d(x, z) - d(y, z)`` is least where they
are distributed as recordings are ("A Spectral Energy Distance for Parallel Speech Synthesis", NeurIPS 2020, eq. 5).
"""

import numpy as np
import torch
from torch import Tensor

from voice_conversion import features
from voice_conversion.corpus import Corpus
from voice_conversion.vocoder import Vocoder, overlap_add, sources

SIZES = (2048, 1024, 512, 256)
LINEAR = 8.0  # weight of the linear against the logarithmic distance
MEL = 0.5
CROP = 64  # frames
BATCH = 8


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


def render(model: Vocoder, mel: Tensor, octave: Tensor, voiced: Tensor) -> Tensor:
    """Each item twice with different noise: (2 b, s)."""
    with torch.autocast(mel.device.type, torch.bfloat16):
        gains = model.read(mel, octave, voiced)
    twice = tuple(torch.cat((gain, gain)).float() for gain in gains)
    wave = overlap_add(model.spectra(twice, sources(torch.cat((octave, octave)))))
    return model.project(wave, torch.cat((mel, mel)))


def loss(model: Vocoder, crops: Crops, batch: int = BATCH) -> tuple[Tensor, dict[str, Tensor]]:
    """The energy distance at two of the resolutions, and how far the mel of what is made is from the one given."""
    wave, mel, octave, voiced = crops.batch(batch)
    made = render(model, mel, octave, voiced)
    inner = slice(features.FFT, -features.FFT)
    sizes = crops.random.choice(SIZES, 2, replace=False)
    real, first, second = ([magnitude(x[:, inner], int(size)) for size in sizes] for x in (wave, *made.chunk(2)))
    energy = distance(real, first) + distance(real, second) - distance(first, second)
    heard = (features.mel(made) - torch.cat((mel, mel))).abs()[:, 4:-4].mean()
    return energy + MEL * heard, {"energy": energy, "mel": heard}


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
