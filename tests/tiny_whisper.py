"""A tiny Whisper encoder file."""

import struct

import numpy as np


def whisper(path):
    """Writes a tiny encoder with Whisper's layout and random weights in CTranslate2's format."""
    random, width = np.random.default_rng(0), 16
    shapes = {
        "conv1/weight": (width, 80, 3),
        "conv2/weight": (width, width, 3),
        "position_encodings/encodings": (1500, width),
    }
    shapes |= {f"{name}/bias": (width,) for name in ("conv1", "conv2")}
    shapes |= {f"layer_norm/{part}": (width,) for part in ("gamma", "beta")}
    for layer in (f"layer_{i}" for i in range(6)):
        for block, (more, less) in {"self_attention": (3, 1), "ffn": (2, 2)}.items():
            shapes |= {f"{layer}/{block}/layer_norm/{part}": (width,) for part in ("gamma", "beta")}
            shapes[f"{layer}/{block}/linear_0/weight"] = (more * width, width)
            shapes[f"{layer}/{block}/linear_0/bias"] = (more * width,)
            shapes[f"{layer}/{block}/linear_1/weight"] = (width, less * width)
            shapes[f"{layer}/{block}/linear_1/bias"] = (width,)
    text = lambda s: struct.pack("<H", len(s) + 1) + s.encode() + b"\0"
    with open(path, "wb") as file:
        file.write(struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(shapes)))
        for name, shape in shapes.items():
            file.write(text(f"encoder/{name}") + struct.pack(f"<B{len(shape)}I", len(shape), *shape))
            values = random.normal(0, 0.3, shape).astype(np.float32).tobytes()
            file.write(struct.pack("<BI", 0, len(values)) + values)
