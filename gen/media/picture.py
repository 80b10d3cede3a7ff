"""Pictures: pixels (height, width, 3), uint8."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gen.errors import InputError
from gen.media.files import PDF, PICTURE, as_text, atomic, given


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


def write_pdf(path: Path | str, pages: Sequence[np.ndarray], dpi: float, manifest: dict | None = None) -> None:
    """Writes pages (height, width, 3) uint8 in black and white, with the manifest as the document's subject."""
    from PIL import Image

    first, *others = [Image.fromarray(page).convert("L").point([0] * 128 + [255] * 128, "1") for page in pages]
    facts = {"producer": "Affekt", "creationDate": None, "modDate": None}  # no dates: equal content, equal bytes
    facts |= {} if manifest is None else {"subject": as_text(manifest)}
    with atomic(path, manifest, PDF) as hidden:
        first.save(hidden, "PDF", resolution=dpi, save_all=True, append_images=others, **facts)


def pdf_subject(path: Path) -> str:
    """The manifest text in a file of :func:`write_pdf`. Raises InputError if the file is incomplete."""
    from PIL import PdfParser

    try:
        with PdfParser.PdfParser(str(path)) as document:
            return PdfParser.decode_text(document.info.get(b"Subject", b""))
    except (PdfParser.PdfFormatError, AttributeError) as error:
        raise InputError(f"{path} is not a complete PDF: render it again") from error
