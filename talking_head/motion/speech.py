"""Log-mel rows, four per motion frame, and the speech encoder.

b batch, t motion frames (25 a second), n = 4 t rows, d width.
"""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen import mel
from gen.network import ConfigMixin, ModelMixin, register_to_config

RATE = 16_000  # Hz
FRAME = 640  # samples of a motion frame
HOP, WINDOW, FFT = 160, 400, 512
ROWS = FRAME // HOP
BANDS = 80
LIMITS = (60.0, 7600.0)  # Hz
FLOOR = 1e-5  # of full scale's magnitude
PRIOR_ROWS = 200.0  # weight of the usual spectrum, in rows of the recording

# Visemes as symbols of the aligned speech; silence first, closed lips second
VISEMES = (
    " ^,.;:!?“”()",
    "pbm",
    "fv",
    "θð",
    "tdnlT",
    "sz",
    "ʃʒʧʤ",
    "kɡŋh",
    "ɹɜ",
    "wuʊ",
    "OɔYW",
    "ɑʌI",
    "æɛA",
    "ɪiᵻj",
    "əᵊɐ",
)
SILENT, CLOSED = 0, 1


@functools.cache
def _filters() -> Tensor:
    """(FFT / 2 + 1, BANDS) triangular mel filters."""
    return torch.from_numpy(mel.filters(RATE, FFT, BANDS, *LIMITS, "htk", "sum"))


def log_mel(samples: np.ndarray) -> Tensor:
    """Mono samples at 16 kHz -> (4 t, 80) natural log of magnitude; t = samples / 640, rounded.

    Row j is centred on sample 160 j + 80.
    """
    count = max(1, round(len(samples) / FRAME)) * ROWS
    wave = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    ends = (WINDOW - HOP) // 2
    wave = F.pad(wave, (ends, max(0, count * HOP - len(samples)) + WINDOW - HOP))
    frames = wave.unfold(0, WINDOW, HOP)[:count] * torch.hann_window(WINDOW, periodic=False)
    return (torch.fft.rfft(frames, FFT).abs() @ _filters()).clamp_min(FLOOR).log()


def spectrum(rows: Tensor) -> tuple[Tensor, int]:
    """Mean (80,) of the loud rows of a recording, and their number."""
    level = rows.mean(1)
    loud = rows[level > level.max() - 4.0]
    return loud.mean(0), len(loud)


class SpeechEncoder(ModelMixin, ConfigMixin):
    """Convolutions from log-mel rows to features (b, t, d) and viseme logits (b, t, 15); receptive field 0.9 s."""

    @register_to_config
    def __init__(self, dim: int = 160, layers: int = 4, kernel: int = 5, visemes: int = len(VISEMES)):
        super().__init__()
        self.register_buffer("mean", torch.full((BANDS,), -5.0))
        self.register_buffer("scale", torch.full((BANDS,), 2.0))
        self.stem = nn.ModuleList(
            nn.Conv1d(BANDS if i == 0 else dim, dim, 5, stride, padding=2) for i, stride in enumerate((2, 2, 1))
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList((nn.Conv1d(dim, dim, kernel, padding=kernel // 2), nn.Conv1d(dim, dim, 1)))
            for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, dim) for _ in range(layers + 1))
        self.says = nn.Linear(dim, visemes)

    def mean_shift(self, own: Tensor, count: int) -> Tensor:
        """Offset (80,) that moves the mean spectrum ``own`` of ``count`` loud rows to the usual one."""
        return (self.mean - own) * (count / (count + PRIOR_ROWS))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """rows (b, 4 t, 80), with :meth:`mean_shift` added."""
        x = ((rows - self.mean) / self.scale).transpose(1, 2)
        for conv in self.stem:
            x = F.gelu(conv(x))
        for (wide, mix), norm in zip(self.blocks, self.norms):
            x = x + mix(F.gelu(wide(norm(x))))
        x = self.norms[-1](x).transpose(1, 2)
        return x, self.says(x)
