"""Sizes of the motion model by name: ``tiny`` for tests, ``compact`` as shipped."""

from gen.errors import InputError

SIZES = {
    "tiny": {"dim": 32, "layers": 2, "heads": 2, "ffn": 64},
    "compact": {"dim": 128, "layers": 4, "heads": 4, "ffn": 256},
}


def sizes(name: str, speech: int = 160) -> dict:
    """Constructor arguments of :class:`talking_head.motion.dice.model.MotionDenoiser`."""
    if name not in SIZES:
        raise InputError(f"there is no size {name!r}: choose among {', '.join(SIZES)}")
    return SIZES[name] | {"speech": speech}
