"""Speaker encoder: a vector of unit length from speech of any loudness ("Generalized End-to-End Loss for Speaker
Verification", ICASSP 2018). The network is that of the Resemblyzer package (Apache-2.0); ``affekt checkpoints convert
speaker`` reads its weights.

b batch, s samples at 16 kHz, n frames of 10 ms.
"""

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gen import mel
from gen.convert.states import fit, read, sizes
from gen.network import ConfigMixin, ModelMixin, register_to_config

RATE = 16_000
WINDOW, HOP, BANDS = 400, 160, 40
PARTIAL = 160  # frames that the network hears at a time
LEVEL = 10 ** (-30 / 20)  # RMS
SILENT = 0.003  # of the power of the loud parts: what is quieter is left out
SIZE = 256


@functools.cache
@torch.inference_mode(False)
def _filters() -> Tensor:
    return torch.from_numpy(mel.filters(RATE, WINDOW, BANDS, 0.0, RATE / 2, "slaney", "area"))


def prepare(samples: np.ndarray) -> Tensor:
    """(s,) at 16 kHz -> (p, 160, 40) stretches of power in bands, silence left out."""
    frames = np.pad(samples, (0, -len(samples) % 480)).reshape(-1, 480)
    power = np.square(frames).mean(1)
    kept = np.convolve(power > SILENT * np.quantile(power, 0.95), np.ones(7), "same") > 0
    heard = frames[kept].reshape(-1) if kept.any() else samples
    heard = heard * (LEVEL / max(float(np.sqrt(np.square(heard).mean())), 1e-6))
    heard = np.pad(heard, (0, max(0, PARTIAL * HOP - len(heard)))).astype(np.float32)
    found = torch.stft(
        torch.from_numpy(heard),
        WINDOW,
        HOP,
        WINDOW,
        torch.hann_window(WINDOW),
        pad_mode="constant",
        return_complex=True,
    )
    bands = found.abs().square().T @ _filters()
    starts = np.linspace(0, len(bands) - PARTIAL, max(1, round((len(bands) - PARTIAL) / 77) + 1)).astype(int)
    return torch.stack([bands[start : start + PARTIAL] for start in starts])


class SpeakerEncoder(ModelMixin, ConfigMixin):
    """Three recurrent layers, a rectified projection, unit length."""

    @register_to_config
    def __init__(self, width: int = SIZE, layers: int = 3):
        super().__init__()
        self.lstm = nn.LSTM(BANDS, width, layers, batch_first=True)
        self.linear = nn.Linear(width, SIZE)

    def forward(self, bands: Tensor) -> Tensor:
        """(p, n, 40) -> (p, 256)."""
        _, (hidden, _) = self.lstm(bands)
        found = self.linear(hidden[-1]).relu()
        return found / found.norm(dim=1, keepdim=True).clamp_min(1e-6)

    @torch.inference_mode()
    def embed(self, samples: np.ndarray) -> Tensor:
        """(s,) at 16 kHz -> (256,): the mean over stretches of 1.6 s, of unit length."""
        return self.embed_each([samples])[0]

    @torch.inference_mode()
    def embed_each(self, recordings: list[np.ndarray]) -> Tensor:
        """k recordings (s,) at 16 kHz -> (k, 256), see :meth:`embed`; one pass of the network for all."""
        parts = [prepare(samples) for samples in recordings]
        found = self(torch.cat(parts)).split([len(part) for part in parts])
        return nn.functional.normalize(torch.stack([own.mean(0) for own in found]), dim=1, eps=1e-6)


def convert(source: Path, out: Path) -> None:
    """Resemblyzer's ``pretrained.pt`` -> a checkpoint folder; sizes come from the tensors."""
    what = f"{source}, as Resemblyzer's speaker encoder,"
    with sizes(what):
        state = read(source, "the file pretrained.pt of the Resemblyzer package")["model_state"]
        layers = sum(name.startswith("lstm.weight_hh") for name in state)
        model = SpeakerEncoder(state["lstm.weight_hh_l0"].shape[1], layers)
    fit(model, {name: value for name, value in state.items() if not name.startswith("similarity")}, what)
    model.half().save_pretrained(out)
