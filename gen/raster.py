"""A picture file as upright sRGB pixels of 8 bits on white; what is changed on the way is noted."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from gen.errors import InputError
from gen.notes import note

LARGE = 50e6  # pixels beyond which a picture is read at a fraction of its size
ORIENTATION = 0x0112  # EXIF
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def know_heif() -> bool:
    """Let Pillow open HEIC, the format of phones, if the extra is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def read(path: Path) -> np.ndarray:
    """(height, width, 3) uint8. Raises InputError where it is no picture, or one of more than 170 megapixels."""
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
        raise InputError(f"{path} is not a picture that can be read: give PNG or JPEG") from error


def _pixels(image: Image.Image, name: str) -> np.ndarray:
    if getattr(image, "n_frames", 1) > 1:
        note(f"{name} holds {image.n_frames} pictures: only the first is used.")
    deep = any(";16" in str(tile) for tile in image.tile) or image.mode in ("I", "F")
    image = _smaller(image, name)
    if image.getexif().get(ORIENTATION, 1) != 1:
        note(f"{name} was turned upright, as the camera recorded.")
        image = ImageOps.exif_transpose(image)
    if deep:
        note(f"{name}: more than 8 bits a colour were reduced to 8.")
        image = _shallow(image)
    image = _srgb(image, name)
    image = image.convert("RGBA")
    if image.getextrema()[3][0] < 255:
        note(f"{name}: what is transparent became white.")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _smaller(image: Image.Image, name: str) -> Image.Image:
    count = image.width * image.height
    if count <= LARGE:
        return image
    by = int(np.ceil(np.sqrt(count / LARGE)))
    note(f"{name} has {count / 1e6:.0f} megapixels: it was read at 1/{by} of its width and height.")
    image.draft(image.mode, (image.width // by, image.height // by))  # JPEG is decoded smaller at once
    return image if image.width * image.height <= LARGE else image.reduce(by)


def _shallow(image: Image.Image) -> Image.Image:
    """Gray of 16 or 32 bits, or of floating-point numbers, as 8 bits; Pillow itself has reduced colours already."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, np.float64)
    top = 1.0 if values.max() <= 1 else 255.0 if values.max() <= 255 else max(65535.0, values.max())
    return Image.fromarray((values.clip(0) * (255 / top)).round().astype(np.uint8))


def _srgb(image: Image.Image, name: str) -> Image.Image:
    """Colours of another profile (a phone's Display P3, a printer's CMYK) as those of a screen."""
    data = image.info.get("icc_profile")
    if not data or image.mode not in ("RGB", "RGBA", "CMYK"):
        if image.mode == "CMYK":
            note(f"{name}: colours for print became those of a screen, without a profile.")
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        title = ImageCms.getProfileDescription(profile).strip()
        if "srgb" in title.lower():
            return image
        flat = image if image.mode == "CMYK" else image.convert("RGB")
        made = ImageCms.profileToProfile(flat, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        note(f"{name}: its colour profile cannot be read, so its colours are taken as sRGB.")
        return image
    note(f"{name}: its colours ({title}) became sRGB.")
    if image.mode == "RGBA":
        made.putalpha(image.getchannel("A"))
    return made
