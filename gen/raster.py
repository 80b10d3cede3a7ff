"""Reads a picture file as upright 8-bit sRGB pixels on white; notes every change."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from gen.errors import InputError
from gen.notes import note

LARGE = 50e6  # larger pictures (in pixels) are read at a fraction of their size
ORIENTATION = 0x0112  # EXIF
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def know_heif() -> bool:
    """Registers HEIC, the format of phones, in Pillow if the extra is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def read(path: Path) -> np.ndarray:
    """(height, width, 3) uint8. Raises InputError if it is no picture, or has more than 170 megapixels."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in HEIF and not know_heif():
        raise InputError(f"{path} is HEIC: run `pip install pillow-heif`, or save it as JPEG")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return _pixels(image, path.name)
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} is too large: scale it below 170 megapixels") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is not a readable picture: give PNG or JPEG") from error


def _pixels(image: Image.Image, name: str) -> np.ndarray:
    if getattr(image, "n_frames", 1) > 1:
        note(f"{name} has {image.n_frames} pictures: only the first is used.")
    deep = any(";16" in str(tile) for tile in image.tile) or image.mode in ("I", "F")
    image = _smaller(image, name)
    if image.getexif().get(ORIENTATION, 1) != 1:
        note(f"{name}: rotated upright by its EXIF orientation.")
        image = ImageOps.exif_transpose(image)
    if deep:
        note(f"{name}: reduced to 8 bits per channel.")
        image = _shallow(image)
    image = _srgb(image, name)
    image = image.convert("RGBA")
    if image.getextrema()[3][0] < 255:
        note(f"{name}: transparent pixels became white.")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _smaller(image: Image.Image, name: str) -> Image.Image:
    count = image.width * image.height
    if count <= LARGE:
        return image
    by = int(np.ceil(np.sqrt(count / LARGE)))
    note(f"{name} has {count / 1e6:.0f} megapixels: read at 1/{by} of its width and height.")
    image.draft(image.mode, (image.width // by, image.height // by))  # a JPEG is decoded at reduced size
    return image if image.width * image.height <= LARGE else image.reduce(by)


def _shallow(image: Image.Image) -> Image.Image:
    """Converts grey of 16 or 32 bits or floating point to 8 bits; Pillow has already reduced colours."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, np.float64)
    top = 1.0 if values.max() <= 1 else 255.0 if values.max() <= 255 else max(65535.0, values.max())
    return Image.fromarray((values.clip(0) * (255 / top)).round().astype(np.uint8))


def _srgb(image: Image.Image, name: str) -> Image.Image:
    """Converts colours of another profile (a phone's Display P3, a printer's CMYK) to sRGB."""
    data = image.info.get("icc_profile")
    if not data or image.mode not in ("RGB", "RGBA", "CMYK"):
        if image.mode == "CMYK":
            note(f"{name}: CMYK converted to sRGB without a profile.")
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        title = ImageCms.getProfileDescription(profile).strip()
        if "srgb" in title.lower():
            return image
        flat = image if image.mode == "CMYK" else image.convert("RGB")
        made = ImageCms.profileToProfile(flat, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        note(f"{name}: unreadable colour profile: sRGB assumed.")
        return image
    note(f"{name}: colours converted from {title} to sRGB.")
    if image.mode == "RGBA":
        made.putalpha(image.getchannel("A"))
    return made
