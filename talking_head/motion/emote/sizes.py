"""Sizes by name: ``tiny`` for tests, ``compact`` as shipped, ``paper`` as published but for the motion's features."""

from gen.errors import InputError

SIZES = {
    "tiny": {"speech": {"dim": 24, "layers": 1}, "dim": 16, "ffn": 32, "prior": 16, "prior_ffn": 32, "heads": 2},
    "compact": {
        "speech": {"dim": 160, "layers": 4},
        "dim": 128,
        "ffn": 256,
        "prior": 128,
        "prior_ffn": 256,
        "heads": 8,
    },
    "paper": {"speech": {"dim": 768, "layers": 12}, "dim": 128, "ffn": 256, "prior": 128, "prior_ffn": 384, "heads": 8},
}


def sizes(name: str, conditioner: str = "label") -> dict[str, dict]:
    """Constructor arguments of ``speech``, ``flint`` and ``emote``."""
    if name not in SIZES:
        raise InputError(f"no size {name!r}: choose one of {', '.join(SIZES)}")
    size = SIZES[name]
    prior = {"heads": size["heads"]}
    return {
        "speech": size["speech"],
        "flint": prior | {"dim": size["prior"], "ffn": size["prior_ffn"]},
        "emote": prior
        | {
            "speech": size["speech"]["dim"],
            "dim": size["dim"],
            "ffn": size["ffn"],
            "prior": size["prior"],
            "prior_ffn": size["prior_ffn"],
            "conditioner": {"name": conditioner},
        },
    }
