"""Speech features of the video network: log-mel rows, Whisper's encoder, and a window of its layers per frame.

Whisper: Radford et al., ICML 2023, sec. 2.2. n rows of mel, s = n / 2 steps of 20 ms, k layers, d width.
"""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen import mel
from gen.network import ConfigMixin, ModelMixin, register_to_config

RATE = 16_000  # Hz
FFT, HOP = 400, 160
BANDS = 80
BLOCK = 30 * RATE  # samples that the encoder sees at once
STEP = 320  # samples of one encoder step
FRAME = 640  # samples of a frame at 25 fps
BEFORE, SPAN = 4, 10  # steps before a frame's own pair, and in its window


@functools.cache
def _filters(bands: int) -> Tensor:
    """(FFT / 2 + 1, bands) triangles of unit area on Slaney's mel scale."""
    return torch.from_numpy(mel.filters(RATE, FFT, bands, 0.0, RATE / 2, "slaney", "area"))


def log_mel(samples: Tensor, bands: int = BANDS) -> Tensor:
    """(..., t) sound at 16 kHz -> (..., t / 160, bands) in Whisper's range, about -1..1."""
    window = torch.hann_window(FFT, device=samples.device)
    spectrum = torch.stft(samples, FFT, HOP, window=window, return_complex=True)[..., :-1].abs().square()
    bands_ = (spectrum.mT @ _filters(bands).to(samples.device)).clamp(min=1e-10).log10()
    loudest = bands_.amax((-1, -2), keepdim=True)
    return (bands_.maximum(loudest - 8) + 4) / 4


ACTIVATIONS = {"gelu": F.gelu, "quick_gelu": lambda x: x * (1.702 * x).sigmoid()}  # as transformers names them


class EncoderLayer(nn.Module):
    """A pre-norm transformer layer; whether keys have a bias, and the activation, differ between releases."""

    def __init__(self, width: int, heads: int, ffn: int, key_bias: bool, activation: str = "gelu"):
        super().__init__()
        self.heads, self.activation = heads, ACTIVATIONS[activation]
        self.query, self.value, self.out = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=key_bias)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, ffn), nn.Linear(ffn, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d): every item sees every other."""
        y = self.norm1(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.fc2(self.activation(self.fc1(self.norm2(x))))


class WhisperEncoder(ModelMixin, ConfigMixin):
    """Log-mel (b, n, bands) -> its embedding and every layer's output (b, n / 2, k, d), the last one normalised."""

    @register_to_config
    def __init__(
        self, width: int = 384, layers: int = 4, heads: int = 6, ffn: int = 1536, bands: int = BANDS, length: int = 1500
    ):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(bands, width, 3, padding=1), nn.Conv1d(width, width, 3, 2, padding=1)
        self.places = nn.Parameter(torch.zeros(length, width))
        self.stack = nn.ModuleList(EncoderLayer(width, heads, ffn, key_bias=False) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, mel: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel.mT)))).mT + self.places
        states = [x]
        for layer in self.stack:
            states.append(layer(states[-1]))
        return torch.stack((*states[:-1], self.norm(states[-1])), 2)


@torch.no_grad()
def heard(encoder: WhisperEncoder, samples: np.ndarray, overlap: float = 0.0) -> Tensor:
    """Samples at 16 kHz -> layers (s, k, d) for every 20 ms.

    Blocks have 30 s (less if the encoder is shorter) and are padded with silence. They overlap by ``overlap`` seconds
    and are cross-faded; 0 is a hard cut, as upstream.
    """
    weight = encoder.places
    size = len(weight) * STEP
    shared = int(overlap * RATE) // STEP * STEP
    count = max(1, -(-(len(samples) - shared) // (size - shared)))
    total, mass = None, None
    for i in range(count):
        start = i * (size - shared)
        block = torch.zeros(size)
        part = torch.from_numpy(np.ascontiguousarray(samples[start : start + size], np.float32))
        block[: len(part)] = part
        states = encoder(log_mel(block.to(weight.device), encoder.config.bands)[None].to(weight.dtype))[0]
        if total is None:
            steps = count * (size - shared) // STEP + shared // STEP
            total, mass = states.new_zeros(steps, *states.shape[1:]), states.new_zeros(steps, 1, 1)
        fade = states.new_ones(len(weight), 1, 1)
        ramp = (torch.arange(shared // STEP, device=fade.device).to(fade) + 0.5) / max(shared // STEP, 1)
        if i > 0:
            fade[: len(ramp), 0, 0] = ramp
        if i < count - 1 and len(ramp):
            fade[-len(ramp) :, 0, 0] = ramp.flip(0)
        place = slice(start // STEP, start // STEP + len(weight))
        total[place] += fade * states
        mass[place] += fade
    return (total / mass)[: 2 * (len(samples) // FRAME)]


def windows(states: Tensor, frames: int, step: int = 2) -> Tensor:
    """Layers (s, k, d) -> each frame's ten steps around it (frames, 10 k d); a frame is ``step`` frames of 25 fps."""
    padded = F.pad(states, (0, 0, 0, 0, BEFORE, SPAN - BEFORE + 2 * step * frames))
    at = torch.arange(frames, device=states.device)[:, None] * 2 * step + torch.arange(SPAN, device=states.device)
    return padded[at].flatten(1)
