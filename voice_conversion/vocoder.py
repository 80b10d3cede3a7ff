"""Mel spectrum and fundamental frequency -> sound: a source, filters that a network reads off the mel, projections.

A train of pulses, noise, and noise that swells once a period are each filtered in frames of the short-time spectrum
(source-filter models: "Neural Source-Filter Waveform Models", 2019; filters in the Fourier domain with an inverse
transform: Vocos, ICLR 2024). The network only corrects filters interpolated from the mel. What then remains of the
mel's error is taken out by projections: filter by the error, resynthesise, again.
Shapes: b batch, n frames, s = 256 n samples, k = 513 frequencies.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.network import ConfigMixin, ModelMixin, register_to_config
from voice_conversion import features
from voice_conversion.features import BANDS, FFT, HOP, RATE, TOP
from voice_conversion.layers import Block, Frames

KNOTS = 128  # frequencies at which the network corrects a filter
SWELL = 2.5  # how much louder noise is at the middle of a period: exp(SWELL cos)
PAD = (FFT - HOP) // 2
STEP = FFT / HOP
BASE = math.log(RATE / FFT / 17.4)  # a band's logarithm -> that of a filter for white noise of unit power
REACH = 1.5  # limit of one projection's correction, nepers


class Sources(NamedTuple):
    """Spectra of the excitation, each (b, n, k) complex."""

    pulses: Tensor
    noise: Tensor
    swelling: Tensor


def spectrum(wave: Tensor, reflect: bool = False) -> Tensor:
    """(b, s) -> (b, n, k) complex; frame i is centred where the mel's is."""
    padded = F.pad(wave[:, None], (PAD, PAD), mode="reflect" if reflect else "constant")[:, 0]
    frames = torch.stft(padded, FFT, HOP, FFT, features.window(FFT).to(wave.device), center=False, return_complex=True)
    return frames.transpose(1, 2)


def overlap_add(frames: Tensor) -> Tensor:
    """The wave (b, s) whose windowed frames are nearest to spectra (b, n, k)."""
    window = features.window(FFT).to(frames.device)
    parts = (torch.fft.irfft(frames) * window).unflatten(-1, (int(STEP), HOP))
    weight = window.square().view(1, 1, int(STEP), HOP).expand(1, frames.shape[1], -1, -1)
    return _added(parts) / _added(weight).clamp_min(0.05)


def _added(parts: Tensor) -> Tensor:
    """(b, n, 4, HOP) -> (b, s)."""
    n, step = parts.shape[1], parts.shape[2]
    total = sum(F.pad(parts[:, :, j], (0, 0, j, step - 1 - j)) for j in range(step))
    return total.flatten(1)[:, PAD : PAD + n * HOP]


def pitch_phase(octave: Tensor, start: float = 0.0) -> tuple[Tensor, Tensor]:
    """log2 Hz (b, n) -> Hz (b, s), and the phase in periods (b, s) float64, which begins at ``start``."""
    shifted = F.pad(octave[:, None], (1, 1), mode="replicate")
    hz = 2 ** F.interpolate(shifted, scale_factor=HOP, mode="linear")[:, 0, HOP:-HOP]
    return hz, start + torch.cumsum(hz.double() / RATE, 1)


def pulse_train(hz: Tensor, phase: Tensor) -> Tensor:
    """All harmonics below the Nyquist frequency, of unit power together: a Dirichlet kernel of the phase."""
    count = (RATE / 2 / hz).floor().clamp_min(1)
    x = (phase - phase.round()).float() * math.pi  # half the angle, in -pi/2..pi/2
    denominator = torch.where(x.abs() < 1e-4, 1.0, x.sin())
    kernel = torch.where(x.abs() < 1e-4, 2 * count + 1, ((2 * count + 1) * x).sin() / denominator)
    return (kernel - 1) / 2 * (2 / count).sqrt()


def sources(octave: Tensor, generator: torch.Generator | None = None, start: float = 0.0) -> Sources:
    """log2 Hz (b, n), also where there is no voice -> spectra of the three sources."""
    hz, phase = pitch_phase(octave, start)
    noise = torch.randn(hz.shape, generator=generator).to(hz.device)
    swell = (SWELL * torch.cos(2 * math.pi * (phase % 1).float())).exp() / math.sqrt(float(np.i0(2 * SWELL)))
    return Sources(*(spectrum(wave) for wave in (pulse_train(hz, phase), noise, noise * swell)))


def interpolation(at: np.ndarray, to: np.ndarray) -> Tensor:
    """(len(at), len(to)): a row of values at frequencies ``at`` times this is the values at ``to``."""
    return torch.from_numpy(np.stack([np.interp(to, at, row) for row in np.eye(len(at))])).float()


def minimum_phase(log_gain: Tensor) -> Tensor:
    """(b, n, k) logarithm of a filter's gain -> the phase (b, n, k) that makes it causal and shortest."""
    cepstrum = torch.fft.irfft(log_gain)
    fold = torch.zeros(FFT, device=log_gain.device)
    fold[1 : FFT // 2] = 1
    fold[FFT // 2 + 1 :] = -1
    return torch.fft.fft(cepstrum * fold).imag[..., : FFT // 2 + 1]


def filtered(wave: Tensor, change: Tensor) -> Tensor:
    """A wave (b, s) whose bands are moved by ``change`` (b, n, 80) nepers."""
    hz = np.arange(FFT // 2 + 1) * RATE / FFT
    spread = interpolation(features.slaney(features.centres()), features.slaney(hz)).to(wave.device)
    return overlap_add(spectrum(wave, reflect=True) * (change @ spread).exp())


class Vocoder(ModelMixin, ConfigMixin):
    """``forward(mel, octave, voiced)``: (b, n, 80), log2 Hz (b, n), 0 or 1 (b, n) -> (b, s)."""

    @register_to_config
    def __init__(self, dim: int = 256, depth: int = 5, kernel: int = 3, projections: int = 12):
        super().__init__()
        self.into = Frames(BANDS + 2, dim, kernel)
        self.blocks = nn.ModuleList(Block(dim, kernel, 1 + i % 3) for i in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.filters = nn.Linear(dim, 4 * KNOTS)
        nn.init.normal_(self.filters.weight, std=1e-3)
        nn.init.zeros_(self.filters.bias)
        self.filters.bias.data[KNOTS : 3 * KNOTS] = -2.0
        hz = np.arange(FFT // 2 + 1) * RATE / FFT
        mel = features.slaney(features.centres())
        self.register_buffer("from_mel", interpolation(mel, features.slaney(hz)), persistent=False)
        knots = np.linspace(0, features.slaney(RATE / 2), KNOTS)
        self.register_buffer("from_knots", interpolation(knots, features.slaney(hz)), persistent=False)
        taper = np.clip((TOP + 600 - hz) / 600, 0, 1)
        self.register_buffer("taper", torch.from_numpy(taper).float(), persistent=False)

    def read(self, mel: Tensor, octave: Tensor, voiced: Tensor) -> tuple[Tensor, ...]:
        """Logarithms of the three gains, and the pulses' phase beyond the minimum, each (b, n, k)."""
        seen = torch.cat((mel / 4 + 1, octave[..., None] - 7.5, voiced[..., None]), -1)
        x = self.into(seen.to(self.into.weight.dtype))
        for block in self.blocks:
            x = block(x)
        found = self.filters(self.norm(x).to(x.dtype)).float().unflatten(-1, (4, KNOTS)) @ self.from_knots
        base = mel @ self.from_mel + BASE
        pulses, noise, swelling, phase = found.unbind(-2)
        return base + pulses, base + noise, base + swelling, phase

    def spectra(self, gains: tuple[Tensor, ...], source: Sources) -> Tensor:
        pulses, noise, swelling, phase = gains
        turn = minimum_phase(pulses) + phase
        filtered = source.pulses * torch.polar(pulses.clamp(-14, 6).exp(), turn)
        return filtered + source.noise * noise.clamp(-14, 6).exp() + source.swelling * swelling.clamp(-14, 6).exp()

    def project(self, wave: Tensor, mel: Tensor) -> Tensor:
        """One projection of a wave (b, s) towards a mel (b, n, 80)."""
        frames = spectrum(wave, reflect=True)
        heard = ((frames.abs().square() + 1e-9).sqrt() @ features.filters().to(wave.device)).clamp_min(features.FLOOR)
        error = (mel - heard.log()).clamp(-REACH, REACH)
        return overlap_add(frames * ((error @ self.from_mel) * self.taper).exp())

    def forward(self, mel: Tensor, octave: Tensor, voiced: Tensor, projections: int | None = None,
                generator: torch.Generator | None = None, start: float = 0.0) -> Tensor:  # fmt: skip
        """``start`` is the phase, in periods, that the pulses begin at."""
        wave = overlap_add(self.spectra(self.read(mel, octave, voiced), sources(octave, generator, start)))
        for _ in range(self.config.projections if projections is None else projections):
            wave = self.project(wave, mel)
        return wave
