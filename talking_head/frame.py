"""The part of a picture that becomes the frame, and the visible note on it."""

import numpy as np

from talking_head.face.points import OVAL
from talking_head.face.tracker import Face

ROOM = 2.05  # side of the frame, in heights of the face
NOTE = "AI-generated"


def head_square(pixels: np.ndarray, face: Face, size: int) -> tuple[np.ndarray, Face]:
    """The square around the head at ``size`` pixels, and the face in it; inside the picture, whatever that costs."""
    from PIL import Image

    h, w = pixels.shape[:2]
    low, high = face.landmarks[OVAL, :2].min(0), face.landmarks[OVAL, :2].max(0)
    middle = (low + high) / 2 - (0, 0.04 * (high - low)[1])
    side = min(ROOM * (high - low).max(), h, w)
    corner = np.clip(middle - side / 2, 0, (w - side, h - side))
    box = (*corner, *(corner + side))
    kind = Image.Resampling.LANCZOS if side > size else Image.Resampling.BICUBIC
    picture = Image.fromarray(pixels).resize((size, size), kind, box=box)
    scale = size / side
    return np.asarray(picture), face._replace(landmarks=(face.landmarks - (*corner, 0)) * scale)


def even(pixels: np.ndarray) -> np.ndarray:
    """The picture less an odd last row or column, which H.264 cannot hold."""
    return np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])


class Note:
    """A small line of text in the lower left corner, drawn once and laid over each frame."""

    def __init__(self, height: int):
        from PIL import Image, ImageDraw, ImageFont

        font = ImageFont.load_default(max(10, height // 36))
        left, top, right, bottom = font.getbbox(NOTE)
        image = Image.new("L", (right - left + 8, bottom - top + 8))
        ImageDraw.Draw(image).text((4 - left, 4 - top), NOTE, fill=255, font=font)
        self.ink = np.asarray(image, np.float32)[..., None] / 255

    def over(self, frame: np.ndarray) -> np.ndarray:
        h, w = self.ink.shape[:2]
        part = frame[-h - 4 : -4, 4 : 4 + w].astype(np.float32) * 0.72
        frame[-h - 4 : -4, 4 : 4 + w] = part + (235 - part) * self.ink * 0.85
        return frame
