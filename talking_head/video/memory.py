"""Memory of the video network on a GPU, computed by a rehearsal on ``meta`` tensors, and the settings that fit.

A rehearsal runs every stage of the pipeline once with tensors that have shapes and no content, and counts the bytes of
those that live at the same time, weights among them as far as they are on the device. Of what libraries allocate inside
an operation, a convolution's copies of what it is given are counted.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gen.errors import InputError
from talking_head.video import decode
from talking_head.video.attention import Transformer
from talking_head.video.interpolate import between
from talking_head.video.sampler import Inputs, Plan, Sampler
from talking_head.video.schedule import WINDOW
from talking_head.video.unet import VideoUNet

if TYPE_CHECKING:
    from talking_head.video.pipeline import DiceVideo

CONTEXT = 0.6  # GB that a GPU's driver and libraries take
SPARE = 0.1  # share left to what a rehearsal does not see, such as fragments


@dataclass(frozen=True)
class Memory:
    """Settings that reduce the memory."""

    offload: Literal["none", "parts", "layers"]  # what is on it: all, the part at work, the layer at work
    batched: bool  # guidance's branches side by side
    chunk: int  # frames decoded at once
    tile: int = 0  # side of a decoder's tile in latent pixels; 0 decodes whole frames
    slices: int = 1  # pieces in which transformer blocks are run, by frames or by places


PARTS = Memory("parts", batched=True, chunk=8)
CHOICES = (  # the fastest first
    Memory("none", batched=True, chunk=10),
    PARTS,
    Memory("parts", batched=True, chunk=4, slices=5),
    Memory("parts", batched=False, chunk=2, slices=5),
    Memory("layers", batched=False, chunk=2, tile=32, slices=25),
)


def fitting(model: DiceVideo, gigabytes: float, frames: int, size: tuple[int, int], plan: Plan) -> Memory:
    """The fastest of CHOICES with which a clip of ``frames`` and a picture of (height, width) ``size`` fit.

    InputError says how much the smallest one takes.
    """
    room, least = (gigabytes - CONTEXT) * (1 - SPARE), float("inf")
    for memory in CHOICES:
        takes = peak(model, memory, frames, size, plan) / 1e9
        if takes <= room:
            return memory
        least = min(least, takes)
    raise InputError(
        f"{size[1]} x {size[0]} pixels take {least / (1 - SPARE) + CONTEXT:.1f} GB at least, more than the "
        f"{gigabytes:g} GB of --vram: ask for a smaller --size"
    )


def peak(model: DiceVideo, memory: Memory, frames: int, size: tuple[int, int], plan: Plan) -> int:
    """The most bytes that a clip needs at once on the device of ``model``, whose weights are not touched."""
    own = lambda part: {key: value for key, value in part.config.items() if not key.startswith("_")}
    with torch.device("meta"):
        parts = {name: type(part)(**own(part)) for name, part in model.parts.items()}
    for name, part in parts.items():
        nn.Module.to(part, "meta", model.parts[name].dtype).eval().requires_grad_(False)
    with Live(parts.values()) as live, Attended(), torch.no_grad():
        _rehearse(parts, live, memory, frames, size, plan)
    return live.most


def _rehearse(
    parts: dict[str, nn.Module], live: Live, memory: Memory, frames: int, size: tuple[int, int], plan: Plan
) -> None:
    """Every stage once, as :meth:`DiceVideo.generate` has them, one window of the sampler and two chunks of the decoder
    for all."""
    dtype, (height, width) = parts["unet"].dtype, size
    h, w = height // decode.SCALE, width // decode.SCALE
    empty = lambda *shape, of=dtype: torch.empty(shape, device="meta", dtype=of)
    here = lambda name: _here(parts[name], name, live, memory)
    if memory.offload == "none":
        live.add(sum(map(weight, parts.values())))
    with here("vae") as vae:
        latent = decode.encode(vae, empty(1, 3, height, width, of=torch.float32)).to(dtype)
    with here("clip") as clip:
        seen = clip(empty(1, 3, clip.config.size, clip.config.size))[:, None]
    pose = None
    if "pose" in parts:
        with here("pose") as guider:
            pose = guider(empty(1, 3, height, width))[:, None]
    with here("whisper") as whisper:
        whisper(empty(1, 2 * whisper.config.length, whisper.config.bands))
    count = frames + plan.tail
    with here("audio") as project:
        audio = project(empty(1, 1, project.config.size)), project(empty(1, count, project.config.size))
    emotion = None
    if "emotion" in parts:
        with here("emotion") as feels:
            tokens = feels(empty(1, count + 1, feels.config.size)).tokens
            emotion = tokens[:, :1], tokens[:, 1:]
    inputs = Inputs(latent, latent * 1, seen, audio, emotion, empty(1, height, width), pose)
    x = empty(1, count, 4, h, w) + empty(1, count, 4, h, w)
    with here("unet") as unet, sliced(unet, memory.slices):
        sampler = Sampler(unet, replace(plan, batched=memory.batched))
        window = torch.arange(min(count, WINDOW), device="meta")
        weights = sampler._weights(inputs, 0)
        sampler._window(x[:, window], empty(), inputs, window, weights, True, count)
    del inputs, latent, seen, pose, audio, emotion
    with here("vae") as vae:
        chunks = decode.decode(vae, x[0, : 2 * memory.chunk], memory.chunk, memory.tile)
        first = (next(chunks).float() / 2 + 0.5).clamp(0, 1)
        for _ in between(parts.get("interpolate"), [*first[:1], *first[:1]]):
            pass
        next(chunks, None)  # while frames of the first wait


@contextmanager
def _here(part: nn.Module, name: str, live: Live, memory: Memory) -> Iterator[nn.Module]:
    if memory.offload == "none":
        yield part
        return
    if memory.offload == "layers" and name == "unet":
        with by_layer(part, lambda layer: live.add(weight(layer)), lambda layer: live.add(-weight(layer))):
            yield part
        return
    live.add(weight(part))
    yield part
    live.add(-weight(part))


def weight(module: nn.Module) -> int:
    """Bytes of a module's parameters and buffers."""
    return sum(value.nbytes for value in (*module.parameters(), *module.buffers()))


# ------------------------------------------------------------------ settings


@contextmanager
def by_layer(
    unet: VideoUNet, before: Callable[[nn.Module], object], after: Callable[[nn.Module], object]
) -> Iterator[None]:
    """Call ``before`` and ``after`` around each layer: a residual block, a transformer, a convolution."""
    net = unet.net
    blocks = (*net.down_blocks, net.mid_block, *net.up_blocks)
    layers = [layer for block in blocks for group in block.children() for layer in _members(group)]
    layers += [net.conv_in, net.conv_norm_out, net.conv_out, net.time_embedding, net.add_embedding]
    handles = [layer.register_forward_pre_hook(lambda layer, given: before(layer) and None) for layer in layers]
    handles += [layer.register_forward_hook(lambda layer, given, made: after(layer) and None) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _members(group: nn.Module) -> list[nn.Module]:
    return [*group] if isinstance(group, nn.ModuleList) else [group]


@contextmanager
def sliced(unet: VideoUNet, slices: int) -> Iterator[None]:
    """Run the transformer blocks of a network in slices."""
    layers = [module for module in unet.modules() if isinstance(module, Transformer)]
    for layer in layers:
        layer.slices = slices
    try:
        yield
    finally:
        for layer in layers:
            layer.slices = 1


# ------------------------------------------------------------------ counting


class Live(TorchDispatchMode):
    """Counts the bytes of tensors that live, as operations make them and as they go: ``now`` and the ``most``. Those of
    ``weights`` count where :meth:`add` says so."""

    def __init__(self, weights: Iterable[nn.Module] = ()):
        super().__init__()
        self.now = self.most = 0
        self.known: dict[int, weakref.ref] = {}
        for module in weights:
            for value in (*module.parameters(), *module.buffers()):
                self._meet(value.untyped_storage(), 0)

    def add(self, count: int) -> None:
        self.now += count
        self.most = max(self.most, self.now)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor):
                self._meet(value.untyped_storage(), value.untyped_storage().nbytes())
        if func is torch.ops.aten.convolution.default:
            x, kernel = args[:2]  # laid out anew, for volumes (b, c, f, h, w) once for each place of the kernel
            again = x.nbytes * (kernel[0, 0].numel() if x.dim() == 5 else 1)
            self.most = max(self.most, self.now + again)
        return made

    def _meet(self, storage: torch.UntypedStorage, size: int) -> None:
        key = id(storage)
        if key in self.known:
            return

        def gone(_, key=key, size=size):
            del self.known[key]
            self.now -= size

        self.known[key] = weakref.ref(storage, gone)
        self.add(size)


class Attended(TorchFunctionMode):
    """Attention as in fused kernels: only the result is allocated."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.nn.functional.scaled_dot_product_attention:
            query, _, value = (*args, *(kwargs or {}).values())[:3]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return func(*args, **(kwargs or {}))
