"""Files to pixels. Every image of fcnseg is read here, in full and by one set of rules.

Both kinds of file: the EXIF orientation is applied (to image and mask alike, each by its own
tag), a header that claims more than ``max_pixels`` is refused before anything is decoded, and
animated or multi-page files are refused. The second picture inside a phone's multi-picture JPEG
is left alone.

Images become 8-bit RGB: grey is repeated, CMYK is converted without colour profiles, transparent
pixels are composited on white, 16-bit values keep their high byte (a fixed scale, so that
brightness means the same in every file). Floating-point, 32-bit and Lab images are refused.

Masks are never converted: palette images give their indices, grey images their stored values
(1, 2, 4, 8 or 16 bits), RGB images their colours; an alpha channel is ignored. JPEG and WebP
masks are refused, because lossy compression invents values.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fcnseg.data.sample import MAX_PIXELS
from fcnseg.errors import DataError, EnvironmentFault

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")
"""Endings that are taken for images, in lower case."""

# Only these decoders run: Pillow's others include PostScript, which starts a program.
# (A phone's MPO files are JPEG here.)
_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
_MASK_FORMATS = ("PNG", "BMP", "TIFF", "PPM", "GIF")

_NO_FIXED_RANGE = {"I": "32-bit integers", "F": "floating point", "LAB": "Lab"}

# Pillow spreads grey levels of 2 and 4 bits over 0 to 255; masks want the levels themselves.
_SPREAD = {"L;2": 85, "L;4": 17}

_pillow_limit = threading.Lock()


@dataclass(frozen=True, eq=False)
class MaskPixels:
    """The pixels of a mask file, as stored.

    Attributes:
        values: (H, W) uint8 or uint16, or (H, W, 3) uint8 for an RGB file.
        kind: what the file is: "grey", "bilevel" (1 bit: values 0 and 1), "palette" or "rgb".
        colours: (N, 3) uint8, the colour table of a palette file; else None.
    """

    values: np.ndarray
    kind: Literal["grey", "bilevel", "palette", "rgb"]
    colours: np.ndarray | None = None


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB, upright.

    Raises:
        DataError: the file is missing, empty, damaged, too large, animated or of a kind that has
            no fixed conversion to 8-bit RGB.
    """
    image, _ = _decode(Path(path), max_pixels)
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
        grey = (np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if mode in _NO_FIXED_RANGE:
        raise DataError(
            f"{path}: the pixels are {_NO_FIXED_RANGE[mode]}, which has no fixed conversion to "
            "8-bit RGB; save it as 8-bit or 16-bit PNG"
        )
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def read_mask_pixels(path: str | Path, max_pixels: int = MAX_PIXELS) -> MaskPixels:
    """Read a mask without converting anything, upright.

    Raises:
        DataError: as :func:`read_image`; also for JPEG and WebP, and for values beyond 16 bits.
    """
    image, raw_mode = _decode(Path(path), max_pixels, _MASK_FORMATS)
    mode = image.mode
    if raw_mode.startswith("LA;16"):  # Pillow has dropped the low byte by now
        raise DataError(
            f"{path}: a mask of 16-bit grey with alpha is refused; save it as 8-bit or 16-bit "
            "grey without alpha"
        )
    if mode == "P":
        table = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return MaskPixels(np.array(image), "palette", table)
    if mode == "1":
        return MaskPixels(np.array(image).astype(np.uint8), "bilevel")
    if mode in ("RGB", "RGBA"):
        return MaskPixels(np.array(image)[..., :3].copy(), "rgb")
    if mode in ("L", "LA"):
        values = np.array(image if mode == "L" else image.getchannel(0))
        return MaskPixels(values // _SPREAD.get(raw_mode, 1), "grey")
    if mode == "I" or mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.int64)
        if wide.min() < 0 or wide.max() > 0xFFFF:
            raise DataError(
                f"{path}: the mask has values from {wide.min()} to {wide.max()}; class ids must "
                "fit in 16 bits; save it as 8-bit PNG"
            )
        return MaskPixels(wide.astype(np.uint16), "grey")
    raise DataError(
        f"{path}: a mask of Pillow mode {mode} holds no class ids; expected a palette, grey or "
        "RGB image; save it as PNG"
    )


def _decode(
    path: Path, max_pixels: int, formats: Sequence[str] = _IMAGE_FORMATS
) -> tuple[Image.Image, str]:
    """Return the whole image, upright, and the raw mode in which the file stored its pixels."""
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise DataError(f"{path}: the file is empty (0 bytes); copy it again")
            image = _open(file, path)
            _check_header(image, path, max_pixels, formats)
            raw_mode = _raw_mode(image)
            image.load()
        kind = image.format
        ImageOps.exif_transpose(image, in_place=True)
        image.format = kind
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, expected an image file") from None
    except PermissionError:
        raise DataError(f"{path}: may not be read (permission denied)") from None
    except MemoryError:
        raise EnvironmentFault(f"{path}: too large for this machine's memory") from None
    except Exception as error:  # decoders raise almost anything on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: cannot be decoded ({reason}); copy or save it again") from error
    return image, raw_mode


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's name for how the file stores pixels, such as "L;4" for 4 bits of grey."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return arguments if isinstance(arguments, str) else str((arguments or ("",))[0])


def _open(file: object, path: Path) -> Image.Image:
    """Read the header alone, whatever size it claims; that is judged by the caller."""
    try:
        # Pillow's own limit is a global below ours, and it warns or raises by turns.
        with _pillow_limit:
            usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(file, formats=_IMAGE_FORMATS)  # type: ignore[arg-type]
            finally:
                Image.MAX_IMAGE_PIXELS = usual
    except UnidentifiedImageError:
        with path.open("rb") as again:
            start = again.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<svg")):
            what = "holds HTML or XML text, not an image (a download that failed?)"
        else:
            what = f"is no image of a known kind ({', '.join(_IMAGE_FORMATS)})"
        raise DataError(f"{path}: {what}; replace the file") from None


def _check_header(image: Image.Image, path: Path, max_pixels: int, formats: Sequence[str]) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise DataError(
            f"{path}: claims {height}x{width} pixels (height x width), {width * height} in all, "
            f"more than the limit of {max_pixels}; raise --max-pixels if you trust the file"
        )
    if ("JPEG" if image.format == "MPO" else image.format) not in formats:
        raise DataError(
            f"{path}: a {_lossy_name(image)} mask is refused, because lossy compression changes "
            "class ids; save masks as PNG, from the program that drew them"
        )
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise DataError(
            f"{path}: has several frames or pages, expected one picture; save the one you mean"
        )


def _lossy_name(image: Image.Image) -> str:
    return "WebP" if image.format == "WEBP" else "JPEG"
