"""Pictures: pixels (height, width, 3), uint8."""

from pathlib import Path

import numpy as np

from gen.media.files import PICTURE, as_text, atomic, given


def read_image(path: Path | str) -> np.ndarray:
    """Reads pixels (height, width, 3) uint8, rotated upright by EXIF; transparent pixels become white."""
    from gen import raster

    return raster.read(given(path))


def write_image(path: Path | str, pixels: np.ndarray, manifest: dict | None = None) -> None:
    """Writes pixels (height, width, 3) or (height, width) uint8 as PNG or JPEG; PNG also takes an alpha channel."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    with atomic(path, manifest, PICTURE) as hidden:
        image = Image.fromarray(pixels)
        if hidden.suffix.lower() == ".png":
            info = PngInfo()
            if manifest is not None:
                info.add_text("Comment", as_text(manifest))
            image.save(hidden, pnginfo=info)
        else:
            image.save(hidden, quality=95, comment=as_text(manifest) if manifest is not None else "")
