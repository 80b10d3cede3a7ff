"""Whisper base's encoder in plain torch: the outputs of its blocks for a recording.

The weights (MIT, ``affekt checkpoints pull whisper-base``) are those packed by CTranslate2 (``model.bin``).
Radford et al., Robust speech recognition via large-scale weak supervision, ICML 2023. n samples at 16 kHz, m = n / 320
frames of 20 ms.
"""

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gen.mel import filters

WIDTH, HEADS = 512, 8
KINDS = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def unpacked(path: Path) -> dict[str, Tensor]:
    """The encoder's arrays in a CTranslate2 file (version 6: name, shape, type, bytes)."""
    found = {}
    with open(path, "rb") as file:
        number = lambda kind, size: struct.unpack("<" + kind, file.read(size))[0]
        text = lambda: file.read(number("H", 2))[:-1].decode()
        number("I", 4), text(), number("I", 4)
        for _ in range(number("I", 4)):
            name, shape = text(), [number("I", 4) for _ in range(number("B", 1))]
            kind, raw = number("B", 1), file.read(number("I", 4))
            if name.startswith("encoder/") and shape:
                array = np.frombuffer(raw, KINDS[kind]).reshape(shape).astype(np.float32)
                found[name.removeprefix("encoder/")] = torch.from_numpy(array)
    return found


def mel(samples: np.ndarray) -> np.ndarray:
    """(80, 2 m) log-mel input of Whisper: a frame per 10 ms, clipped to the loudest eight decades of power."""
    padded = np.pad(samples, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: len(samples) // 160]
    window = np.hanning(401)[:-1].astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames * window))).astype(np.float32)
    bands = np.log10(np.maximum(power @ filters(16_000, 400, 80, 0.0, 8000.0, "slaney", "area"), 1e-10))
    return ((np.maximum(bands, bands.max() - 8) + 4) / 4).T


class Whisper:
    """The encoder in plain torch, in bfloat16 where that is fast; ``blocks``: only the first so many blocks."""

    def __init__(self, path: Path, blocks: int | None = None):
        self.w = unpacked(path)
        self.most = sum(name.endswith("self_attention/linear_0/weight") for name in self.w)
        self.blocks = blocks or self.most

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray) -> list[np.ndarray]:
        """(n,) -> the blocks' frames (m, 512); the last is after the final norm."""
        w, found = self.w, []
        norm = lambda x, name: F.layer_norm(x.float(), x.shape[-1:], w[name + "/gamma"], w[name + "/beta"])
        line = lambda x, name: F.linear(x, w[name + "/weight"], w[name + "/bias"])
        count = max(4, len(samples) // 320)
        with torch.autocast("cpu", torch.bfloat16):
            x = torch.from_numpy(np.ascontiguousarray(mel(np.pad(samples, (0, 1600)))))[None, :, :3000]
            x = F.gelu(F.conv1d(x, w["conv1/weight"], w["conv1/bias"], padding=1))
            x = F.gelu(F.conv1d(x, w["conv2/weight"], w["conv2/bias"], stride=2, padding=1)).transpose(1, 2).float()
            x = x + w["position_encodings/encodings"][: x.shape[1]]
            for i in range(self.blocks):
                place = f"layer_{i}/"
                near = norm(x, place + "self_attention/layer_norm")
                parts = line(near, place + "self_attention/linear_0").chunk(3, -1)
                query, key, value = (own.unflatten(-1, (HEADS, -1)).transpose(1, 2) for own in parts)
                seen = F.scaled_dot_product_attention(query, key, value)
                x = x + line(seen.transpose(1, 2).flatten(2), place + "self_attention/linear_1").float()
                wide = F.gelu(line(norm(x, place + "ffn/layer_norm"), place + "ffn/linear_0"))
                x = x + line(wide, place + "ffn/linear_1").float()
                found.append(x[0, :count])
        if self.blocks == self.most:
            found[-1] = norm(x, "layer_norm")[0, :count]
        return [rows.numpy() for rows in found]
