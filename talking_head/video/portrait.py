"""The portrait: resized, encoded by CLIP's image encoder, and its face box as a mask."""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gen.network import ConfigMixin, ModelMixin, register_to_config
from talking_head.video.whisper import EncoderLayer

GRID = 64  # sides are multiples of it
AREA = 1.1  # of the face's box that the mask covers
MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's pictures


class ImageEncoder(ModelMixin, ConfigMixin):
    """Pictures (b, 3, size, size) normalised as CLIP's -> one vector (b, out) (Radford et al., ICML 2021, sec. 2.4)."""

    @register_to_config
    def __init__(
        self,
        width: int = 1280,
        layers: int = 32,
        heads: int = 16,
        ffn: int = 5120,
        patch: int = 14,
        size: int = 224,
        out: int = 1024,
        activation: str = "gelu",
    ):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch, bias=False)
        self.whole = nn.Parameter(torch.zeros(width))
        self.places = nn.Parameter(torch.zeros((size // patch) ** 2 + 1, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.stack = nn.ModuleList(EncoderLayer(width, heads, ffn, True, activation) for _ in range(layers))
        self.project = nn.Linear(width, out, bias=False)

    def forward(self, picture: Tensor) -> Tensor:
        x = self.patches(picture).flatten(2).mT
        x = self.norm1(torch.cat((self.whole.expand(len(x), 1, -1), x), 1) + self.places)
        for layer in self.stack:
            x = layer(x)
        return self.project(self.norm2(x[:, 0]))


class Portrait(NamedTuple):
    """A prepared picture; H and W multiples of 64."""

    reference: Tensor  # (1, 3, H, W) in [-1, 1]
    seen: Tensor  # (1, 3, s, s) for CLIP
    box: Tensor  # (1, 3, H, W) 1 in the face's box, 0 outside


def size_of(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of a prepared picture: the shorter one becomes about ``side``, both multiples of GRID."""
    return tuple(max(GRID, round(n * side / min(height, width) / GRID) * GRID) for n in (height, width))


def prepare(pixels: np.ndarray, box: tuple[float, float, float, float], side: int = 512, seen: int = 224) -> Portrait:
    """Pixels (h, w, 3) uint8 and the face's box (x, y, width, height) in them; the shorter side becomes ``side``."""
    h, w = pixels.shape[:2]
    size = size_of(h, w, side)[::-1]
    image = Image.fromarray(pixels)
    middle = np.array([int(box[0] + box[2] / 2), int(box[1] + box[3] / 2)])
    half = np.array([box[2], box[3]]) * AREA / 2
    low, high = np.maximum(middle - half, 0).astype(int), np.minimum(middle + half, (w, h)).astype(int)
    mask = np.zeros((h, w), np.uint8)
    mask[low[1] : high[1], low[0] : high[0]] = 255
    small = lambda picture, at: torch.from_numpy(np.array(picture.resize(at, Image.Resampling.LANCZOS))).float() / 255
    reference = small(image, size).permute(2, 0, 1)[None] * 2 - 1
    clip = (small(image, (seen, seen)) - torch.tensor(MEAN)) / torch.tensor(SPREAD)
    white = small(Image.fromarray(mask), size).expand(1, 3, -1, -1)
    return Portrait(reference, clip.permute(2, 0, 1)[None], white.contiguous())


class Square(NamedTuple):
    """A square of a picture, in its pixels."""

    left: int
    top: int
    side: int


def around(box: tuple[float, float, float, float], size: tuple[int, int], expand: float = 0.5) -> Square:
    """The largest square round a face's box (x, y, width, height) widened by ``expand`` of it on each side, inside a
    picture of (height, width) ``size``; moved towards the face where the picture's edge makes the region uneven."""
    x, y, w, h = box
    low = np.maximum([x - expand * w, y - expand * h], 0)
    high = np.minimum([x + (1 + expand) * w, y + (1 + expand) * h], size[::-1])
    side = int((high - low).min())
    spare = (high - low - side) / 2
    move = np.clip(np.array([x + w / 2, y + h / 2]) - (low + high) / 2, -spare, spare)
    left, top = np.round((low + high) / 2 + move - side / 2).astype(int)
    return Square(int(left), int(top), side)


def paste(picture: np.ndarray, frame: np.ndarray, square: Square, edge: float = 0.08) -> np.ndarray:
    """Paste a generated frame into its square of the picture (h, w, 3), faded over ``edge`` of the side."""
    small = np.array(Image.fromarray(frame).resize((square.side, square.side), Image.Resampling.LANCZOS), float)
    away = np.minimum(np.arange(square.side) + 0.5, square.side - np.arange(square.side) - 0.5)
    ramp = np.clip(away / (edge * square.side), 0, 1)
    share = np.minimum(ramp[:, None], ramp)[..., None]
    whole = picture.copy()
    rows, columns = slice(square.top, square.top + square.side), slice(square.left, square.left + square.side)
    whole[rows, columns] = np.round(small * share + whole[rows, columns] * (1 - share))
    return whole
