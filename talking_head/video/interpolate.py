"""Frame interpolation: IFNet of RIFE HD v3 (Huang et al., ECCV 2022, sec. 3.2)."""

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.network import ConfigMixin, ModelMixin, register_to_config

SCALES = (4, 2, 1)
GRID = 32  # sides are padded to multiples of it


def conv(a: int, b: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, padding=1), nn.PReLU(b))


def head(width: int, out: int) -> nn.Sequential:
    up = lambda a, b: nn.ConvTranspose2d(a, b, 4, 2, padding=1)
    return nn.Sequential(up(width, width // 2), nn.PReLU(width // 2), up(width // 2, out))


class FlowBlock(nn.Module):
    """Pictures and features so far (b, k, H, W), flow (b, 4, H, W) -> changes of flow and mask."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.conv0 = nn.Sequential(conv(inputs, width // 2, 2), conv(width // 2, width, 2))
        for i in range(4):
            setattr(self, f"convblock{i}", nn.Sequential(conv(width, width), conv(width, width)))
        self.conv1, self.conv2 = head(width, 4), head(width, 1)

    def forward(self, x: Tensor, flow: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        resize = lambda y, by: F.interpolate(y, scale_factor=by, mode="bilinear", align_corners=False)
        x = self.conv0(torch.cat((resize(x, 1 / scale), resize(flow, 1 / scale) / scale), 1))
        for i in range(4):
            x = getattr(self, f"convblock{i}")(x) + x
        return resize(self.conv1(x), scale) * scale, resize(self.conv2(x), scale)


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Picture (b, 3, H, W) fetched from where the flow (b, 2, H, W), x and y in pixels, points."""
    h, w = picture.shape[2:]
    y, x = (torch.arange(n, device=flow.device, dtype=flow.dtype) for n in (h, w))
    place = torch.stack(((x + flow[:, 0]) * 2 / (w - 1), (y[:, None] + flow[:, 1]) * 2 / (h - 1)), -1) - 1
    return F.grid_sample(picture, place, mode="bilinear", padding_mode="border", align_corners=True)


class Interpolator(ModelMixin, ConfigMixin):
    """Two pictures (b, 3, H, W) in [0, 1] -> the one halfway."""

    @register_to_config
    def __init__(self, width: int = 90):
        super().__init__()
        self.block0, self.block1, self.block2 = (FlowBlock(11, width) for _ in SCALES)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        h, w = first.shape[2:]
        pad = (0, -w % GRID, 0, -h % GRID)
        first, second = F.pad(first, pad, mode="replicate"), F.pad(second, pad, mode="replicate")
        flow, mask = first.new_zeros(len(first), 4, *first.shape[2:]), first[:, :1] * 0
        here, there = first, second
        for block, scale in zip((self.block0, self.block1, self.block2), SCALES):
            ahead, more = block(torch.cat((here, there, mask), 1), flow, scale)
            back, less = block(torch.cat((there, here, -mask), 1), flow.roll(2, 1), scale)
            flow, mask = flow + (ahead + back.roll(2, 1)) / 2, mask + (more - less) / 2
            here, there = warp(first, flow[:, :2]), warp(second, flow[:, 2:])
        share = mask.sigmoid()
        return (here * share + there * (1 - share))[..., :h, :w]


@torch.no_grad()
def between(network: Interpolator | None, frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """Frames (3, H, W) -> twice as many, with interpolated frames between, or without a network each frame twice."""
    last = None
    for frame in frames:
        if last is not None:
            yield last
            if network is not None:
                network.to(frame.device)
                made = network(last[None].to(network.dtype), frame[None].to(network.dtype))[0].to(frame.dtype)
            yield last if network is None else made
        last = frame
    yield last
