"""Decode latents to pictures with the temporal decoder, in chunks of frames and optionally in tiles."""

from collections.abc import Iterator

import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from torch import Tensor

CHUNK = 10  # frames
SCALE = 8  # pixels of a latent's side


@torch.no_grad()
def encode(vae: AutoencoderKLTemporalDecoder, picture: Tensor) -> Tensor:
    """(1, 3, H, W) in [-1, 1] -> the mode of its latent (1, 4, h, w), not scaled; in float32, as it must be."""
    first, dtype = (vae.encoder, vae.quant_conv), vae.dtype
    for part in first:
        part.float()
    latent = vae.encode(picture.float()).latent_dist.mode()
    for part in first:
        part.to(dtype)
    return latent


@torch.no_grad()
def decode(vae: AutoencoderKLTemporalDecoder, latents: Tensor, chunk: int = CHUNK, tile: int = 0) -> Iterator[Tensor]:
    """Scaled latents (n, 4, h, w) -> chunks of pictures (f, 3, H, W) in [-1, 1].

    ``tile`` is the side of a tile in latent pixels, a quarter of it shared between neighbours; 0 decodes frames whole.
    """
    for part in (latents / vae.config.scaling_factor).to(vae.dtype).split(chunk):
        whole = lambda x: vae.decode(x, num_frames=len(x)).sample
        yield tiled(whole, part, tile) if tile and max(part.shape[2:]) > tile else whole(part)


def tiled(decoder, latents: Tensor, tile: int) -> Tensor:
    """Decode tiles of (f, 4, h, w) that overlap by a quarter, and fade them into each other."""
    h, w = latents.shape[2:]
    total, mass = None, None
    few = slice(1 if latents.is_meta else None)  # without content, as in a rehearsal of memory, one stands for all
    for top in places(h, tile)[few]:
        for left in places(w, tile)[few]:
            part = decoder(latents[..., top : top + tile, left : left + tile])
            fade = _ramp(part.shape[2], h > tile, part)[:, None] * _ramp(part.shape[3], w > tile, part)
            if total is None:
                total = part.new_zeros(*part.shape[:2], h * SCALE, w * SCALE)
                mass = part.new_zeros(h * SCALE, w * SCALE)
            rows, columns = slice(top * SCALE, (top + tile) * SCALE), slice(left * SCALE, (left + tile) * SCALE)
            total[..., rows, columns] += part * fade
            mass[rows, columns] += fade
    return total / mass


def places(size: int, tile: int) -> list[int]:
    """Starts of tiles that cover ``size`` and share at least a quarter."""
    if size <= tile:
        return [0]
    count = -(-(size - tile) // (tile - tile // 4)) + 1
    return [round(i * (size - tile) / (count - 1)) for i in range(count)]


def _ramp(size: int, fades: bool, like: Tensor) -> Tensor:
    """(size,) weights that fall towards both ends, and never reach 0."""
    if not fades:
        return like.new_ones(size)
    edge = (torch.arange(size, device=like.device) + 0.5).minimum(size - torch.arange(size, device=like.device) - 0.5)
    return (edge / (size / 4)).clamp(max=1).to(like.dtype)
