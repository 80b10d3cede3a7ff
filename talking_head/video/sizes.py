"""Sizes of the video pipeline by name: ``tiny`` for tests, ``full`` as published."""

from gen.errors import InputError

SIZES: dict[str, dict[str, dict]] = {
    "tiny": {
        "unet": {"channels": (32, 32, 64, 64), "heads": (1, 1, 2, 2), "layers": 1, "context": 32, "time_dim": 32},
        "audio": {"size": 10 * 3 * 16, "hidden": 32, "count": 4, "width": 32},
        "emotion": {"size": 256, "hidden": 32, "count": 4, "width": 32, "entries": 8, "probe": (64, 32, 16, 22)},
        "pose": {"channels": (8, 8, 16, 16), "out": 32},
        "vae": {"channels": (32, 32, 32, 32), "layers_per_block": 1},
        "clip": {"width": 32, "layers": 2, "heads": 2, "ffn": 64, "patch": 14, "size": 28, "out": 32},
        "whisper": {"width": 16, "layers": 2, "heads": 2, "ffn": 32, "length": 100},
    },
    "full": {
        "unet": {},
        "audio": {},
        "emotion": {},
        "pose": {},
        "clip": {},
        "whisper": {},
        "vae": {"channels": (128, 256, 512, 512), "layers_per_block": 2},
    },
}


def sizes(name: str) -> dict[str, dict]:
    """Constructor arguments of every part."""
    if name not in SIZES:
        raise InputError(f"there is no size {name!r}: choose among {', '.join(SIZES)}")
    return SIZES[name]


def vae_config(channels: tuple[int, ...], layers_per_block: int) -> dict:
    """Arguments of diffusers' AutoencoderKLTemporalDecoder."""
    kinds = ("DownEncoderBlock2D",) * len(channels)
    return {
        "block_out_channels": channels,
        "layers_per_block": layers_per_block,
        "down_block_types": kinds,
        "latent_channels": 4,
    }
