"""The visible label: "AI-generated" in a corner of the picture."""

from functools import cache

import numpy as np

TEXT = "AI-generated"
SHARE = 0.034  # text size relative to the picture's height, at least LEAST pixels
LEAST = 9
BACK, INK = 0.55, 255.0  # opacity of the box; grey value of the letters


def labelled(pixels: np.ndarray) -> np.ndarray:
    """Pixels (height, width, 3 or 4) uint8 with an opaque label at the bottom left, shrunk if it does not fit."""
    mask = _mask(max(LEAST, round(SHARE * pixels.shape[0])))[: pixels.shape[0], : pixels.shape[1], None]
    done = pixels.copy()
    corner = done[-mask.shape[0] :, : mask.shape[1]]
    seen = corner[..., :3] * (corner[..., 3:] / 255.0 if pixels.shape[2] == 4 else 1)
    corner[..., :3] = ((1 - BACK) * seen * (1 - mask) + INK * mask).round()
    corner[..., 3:] = 255
    return done


@cache
def _mask(size: int) -> np.ndarray:
    """(h, w) in 0..1: the letters with a margin."""
    from PIL import Image, ImageDraw, ImageFont

    font, room = ImageFont.load_default(size), size // 3
    left, top, right, bottom = font.getbbox(TEXT)
    box = Image.new("L", (int(right - left) + 2 * room, int(bottom - top) + 2 * room))
    ImageDraw.Draw(box).text((room - left, room - top), TEXT, fill=255, font=font)
    return np.asarray(box, np.float32) / 255
