"""Pillow's pictures to 8-bit RGB: the conversions of every image that fcnseg reads."""

import contextlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fcnseg.errors import DataError

_SUBFILE_TYPE, _REDUCED_OR_MASK = 254, 1 | 4
"""TIFF's tag for what a page is, and its bits for a smaller copy or a mask of another page."""

_NO_FIXED_RANGE = {"I": "32-bit integers", "F": "floating point", "LAB": "Lab"}


def to_rgb(name: str | Path, image: Image.Image) -> np.ndarray:
    """The pixels of a picture as (H, W, 3) uint8 RGB.

    Grey is repeated, CMYK is converted without colour profiles, transparent pixels are composited
    on white, 16-bit values keep their high byte.

    Args:
        name: what errors call the picture.
        image: decoded, and upright.

    Raises:
        DataError: floating-point, 32-bit or Lab pixels, which have no fixed conversion.
    """
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        grey = (np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if mode in _NO_FIXED_RANGE:
        raise DataError(
            f"{name}: the pixels are {_NO_FIXED_RANGE[mode]}, which has no fixed conversion to "
            "8-bit RGB; save it as 8-bit or 16-bit PNG"
        )
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def holds_several(image: Image.Image) -> bool:
    """Whether an opened file holds more than one picture: frames or pages.

    The second picture inside a phone's JPEG does not count, nor do the overviews of a GeoTIFF.
    """
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return False
    if image.format != "TIFF":
        return True
    whole = 0
    for page in range(getattr(image, "n_frames", 1)):
        image.seek(page)
        kind = getattr(image, "tag_v2", {}).get(_SUBFILE_TYPE, 0)
        whole += not kind & _REDUCED_OR_MASK
        if whole > 1:
            break
    image.seek(0)
    return whole > 1


def opened_to_rgb(name: str, image: Image.Image, max_pixels: int) -> np.ndarray:
    """The same of a picture that somebody else opened or made, turned upright; it stays as it is.

    Args:
        name: what errors call the picture.
        image: of any mode, decoded or not.
        max_pixels: a picture with more is refused before it is decoded.

    Raises:
        DataError: as :func:`to_rgb`; too many pixels, several frames, or damaged bytes.
    """
    width, height = image.size
    if width * height > max_pixels:
        raise DataError(
            f"{name}: has {height}x{width} pixels (height x width), {width * height} in all, more "
            f"than the limit of {max_pixels}; raise max_pixels, or scale it down"
        )
    if holds_several(image):
        raise DataError(f"{name}: has several frames, expected one picture; give a copy of one")
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
    except Exception as error:  # decoders raise almost anything on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name}: cannot be decoded ({reason}); open it again") from error
    with contextlib.suppress(AttributeError):
        upright.format = image.format  # says how 16-bit grey was stored
    return to_rgb(name, upright)
