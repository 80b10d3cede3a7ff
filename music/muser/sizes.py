"""The sizes of MusER: ``tiny`` for tests, ``compact`` as shipped, ``paper`` as published (AAAI 2024, sec. 4.1)."""

from music.tokens import Vocabulary

SOFTMAX = {"kind": "softmax", "norm_first": True, "dropout": 0.0}
LINEAR = {"kind": "linear", "norm_first": False, "dropout": 0.1}


def network(width: int, layers: int, heads: int, ffn: int) -> dict:
    return {"width": width, "layers": layers, "heads": heads, "ffn": ffn}


AUTOENCODER = {
    "tiny": {
        "embed": [8, 8, 8, 4, 8, 8, 8],
        "encoder": network(16, 1, 2, 32),
        "decoder": network(16, 1, 2, 32),
        "elements": {"layers": 1, "heads": 2, "ffn": 16},
        "quantizer": {"name": "ema_vq", "size": 32},
        "conditioner": {"name": "vad", "dim": 8},
        "layer": SOFTMAX,
    },
    "compact": {
        "embed": [32, 64, 32, 16, 96, 32, 32],
        "encoder": None,  # a code then says what its element is, and an element can be exchanged by its code
        "decoder": network(128, 2, 4, 512),
        "elements": {"layers": 1, "heads": 2, "ffn": 256},
        "quantizer": {"name": "slot_vq", "size": 144, "slots": 7, "restart": False},
        "conditioner": {"name": "vad", "dim": 64, "octaves": 2},
        "layer": SOFTMAX,
    },
    "paper": {
        "embed": [128, 256, 64, 32, 512, 128, 128],
        "encoder": network(128, 8, 8, 512),
        "decoder": network(256, 4, 8, 1024),
        "elements": {"layers": 2, "heads": 8, "ffn": 1024},
        "quantizer": {"name": "ema_vq", "size": 512, "restart": False},
        "conditioner": {"name": "quadrant", "dim": 128},
        "layer": LINEAR,
        "reducer": "transformer",
    },
}
PRIOR = {
    "tiny": {"network": network(16, 1, 2, 32), "conditioner": {"name": "vad", "dim": 8}, "layer": SOFTMAX},
    "compact": {
        "network": network(192, 4, 3, 640),
        "conditioner": {"name": "vad", "dim": 64, "octaves": 2},
        "layer": SOFTMAX | {"dropout": 0.1},
    },
    "paper": {"network": network(256, 8, 8, 1024), "conditioner": {"name": "quadrant", "dim": 256}, "layer": LINEAR},
}


def configs(size: str, conditioner: str | None = None, quantizer: dict | None = None) -> tuple[dict, dict]:
    """The constructor arguments of autoencoder and prior, with another conditioner or quantizer if one is given.

    The prior's codebook size and slots follow the autoencoder that was built.
    """
    autoencoder = {"classes": list(Vocabulary.default().sizes)} | AUTOENCODER[size]
    prior = dict(PRIOR[size])
    if conditioner is not None:
        for config in (autoencoder, prior):
            config["conditioner"] = {"name": conditioner, "dim": config["conditioner"]["dim"]}
    if quantizer is not None:
        autoencoder["quantizer"] = quantizer
    return autoencoder, prior
