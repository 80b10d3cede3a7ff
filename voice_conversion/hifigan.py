"""HiFi-GAN's generator in the layout of the authors' weights ("HiFi-GAN", NeurIPS 2020, sec. 2.2 and app. A).

The mel front end is the same as ours, so any generator for 22,050 Hz and 256 samples a frame fits.
"""

from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.convert.states import fit, read, sizes
from gen.errors import CheckpointError
from gen.network import ConfigMixin, ModelMixin, register_to_config
from gen.notes import note
from voice_conversion import features
from voice_conversion.features import BANDS, HOP, RATE

SLOPE = 0.1


def _conv(wide: int, to: int, kernel: int, dilation: int = 1) -> nn.Conv1d:
    return nn.Conv1d(wide, to, kernel, dilation=dilation, padding=(kernel - 1) * dilation // 2)


class Residual(nn.Module):
    """Three pairs of a dilated and a plain convolution (``resblock`` 1 of the published configurations)."""

    def __init__(self, wide: int, kernel: int, dilations: tuple[int, ...]):
        super().__init__()
        self.convs1 = nn.ModuleList(_conv(wide, wide, kernel, d) for d in dilations)
        self.convs2 = nn.ModuleList(_conv(wide, wide, kernel) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class HiFiGAN(ModelMixin, ConfigMixin):
    """``forward(mel (b, n, bands)) -> wave (b, 256 n)``; the defaults are V1."""

    @register_to_config
    def __init__(
        self,
        channels: int = 512,
        rates: tuple[int, ...] = (8, 8, 2, 2),
        kernels: tuple[int, ...] = (16, 16, 4, 4),
        residual: tuple[int, ...] = (3, 7, 11),
        dilations: tuple[int, ...] = (1, 3, 5),
        bands: int = BANDS,
    ):
        super().__init__()
        widths = [channels // 2**i for i in range(len(rates) + 1)]
        self.conv_pre = _conv(bands, channels, 7)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(wide, to, kernel, rate, (kernel - rate) // 2)
            for (wide, to), rate, kernel in zip(pairwise(widths), rates, kernels)
        )
        self.resblocks = nn.ModuleList(Residual(wide, k, dilations) for wide in widths[1:] for k in residual)
        self.conv_post = _conv(widths[-1], 1, 7)

    def forward(self, mel: Tensor) -> Tensor:
        x, each = self.conv_pre(mel.transpose(1, 2)), len(self.config.residual)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            x = sum(block(x) for block in self.resblocks[i * each : (i + 1) * each]) / each
        return self.conv_post(F.leaky_relu(x)).tanh()[:, 0]

    @torch.inference_mode()
    def resynthesised(self, samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
        """Samples (c, s) or (s,) made anew from their mel: one channel (t,) at 22,050 Hz, and that rate."""
        note("the HiFi-GAN gives one channel at 22.05 kHz; the recording's own rate needs --vocoder recording")
        plain = features.cut(soxr.resample(np.atleast_2d(samples).mean(0), rate, RATE).astype(np.float32))
        mel = features.mel(torch.from_numpy(plain)[None].to(self.device))
        return self(mel)[0].cpu().numpy(), RATE


def convert(source: Path, out: Path) -> None:
    """A published generator (``{"generator": ...}`` or its state dict alone) -> a folder that ``--vocoder`` takes."""
    state = read(source, "the file of a HiFi-GAN generator")
    state = folded(state.get("generator", state))
    if "resblocks.0.convs1.0.weight" not in state:
        raise CheckpointError(f"{source} is no HiFi-GAN generator with residual blocks of the first kind.")
    what = f"The HiFi-GAN generator in {source}"
    with sizes(what):
        model = _sized(state)
    fit(model, state, what)
    model.save_pretrained(out)


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weight-normalised pairs ``weight_g`` and ``weight_v`` as the weights that they stand for."""
    made = {name: value for name, value in state.items() if not name.endswith(("weight_g", "weight_v"))}
    for name in (name for name in state if name.endswith("weight_v")):
        v = state[name]
        made[name[:-2]] = v * (state[name[:-1] + "g"] / v.flatten(1).norm(dim=1).view(-1, 1, 1))
    return made


def _sized(state: dict[str, Tensor]) -> HiFiGAN:
    """The network that a state dict is of; a rate is half its kernel, as in all published configurations."""
    kernels = tuple(state[f"ups.{i}.weight"].shape[2] for i in range(_count(state, "ups.")))
    rates = tuple(kernel // 2 for kernel in kernels)
    channels, bands, _ = state["conv_pre.weight"].shape
    if prod(rates) != HOP:
        raise CheckpointError(f"this generator makes {prod(rates)}, not {HOP} samples of a frame.")
    each = _count(state, "resblocks.") // len(kernels)
    residual = tuple(state[f"resblocks.{i}.convs1.0.weight"].shape[2] for i in range(each))
    dilations = (1, 3, 5)[: _count(state, "resblocks.0.convs1.")]
    return HiFiGAN(channels, rates, kernels, residual, dilations, bands)


def _count(state: dict[str, Tensor], root: str) -> int:
    return len({name.removeprefix(root).split(".")[0] for name in state if name.startswith(root)})
