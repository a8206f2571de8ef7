"""Files to pixels. Every image of fcnseg is read here, in full and by one set of rules.

Both kinds of file: the EXIF orientation is applied (to image and mask alike, each by its own
tag), a header that claims more than ``max_pixels`` is refused before anything is decoded, and
animated or multi-page files are refused. The second picture inside a phone's multi-picture JPEG
and the overviews of a GeoTIFF are left alone.

Images become 8-bit RGB: grey is repeated, CMYK is converted without colour profiles, transparent
pixels are composited on white, 16-bit values keep their high byte (a fixed scale, so that
brightness means the same in every file). Floating-point, 32-bit and Lab images are refused.

Masks are never converted: palette images give their indices, grey images their stored values
(1, 2, 4, 8 or 16 bits), RGB images their colours; an alpha channel is ignored. JPEG and WebP
masks are refused, because lossy compression invents values; so is what Pillow would narrow,
rescale or invert: 16-bit RGB, a PGM or PPM of another range than 8 or 16 bits, WhiteIsZero grey.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fcnseg.data.decoding import faults_of
from fcnseg.data.rgb import holds_several, to_rgb
from fcnseg.data.sample import MAX_PIXELS
from fcnseg.data.scaling import checked_size, draft, scaled_image
from fcnseg.errors import DataError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")
"""Endings that are taken for images, in lower case."""

# Only these decoders run: Pillow's others include PostScript, which starts a program.
# (A phone's MPO files are JPEG here.)
_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
_MASK_FORMATS = ("PNG", "BMP", "TIFF", "PPM", "GIF")

# Pillow spreads grey levels of 2 and 4 bits over 0 to 255; masks want the levels themselves.
_SPREAD = {"L;2": 85, "L;4": 17}

# Modes of 8 bits, in which Pillow drops the low byte of 16.
_NARROW = ("LA", "RGB", "RGBA")

# Tags of TIFF.
_BITS, _PHOTOMETRIC = 258, 262

# Orientations that exchange height and width.
_TURNED = (5, 6, 7, 8)

_pillow_limit = threading.Lock()


@dataclass(frozen=True, eq=False)
class MaskPixels:
    """The pixels of a mask file, as stored.

    Attributes:
        values: (H, W) uint8 or uint16, or (H, W, 3) uint8 for an RGB file.
        kind: what the file is: "grey", "bilevel" (1 bit: 1 is white), "palette" or "rgb".
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
    return to_rgb(path, image)


def read_scaled(
    path: str | Path, max_pixels: int, short_side: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """Read an image scaled to ``short_side`` pixels, antialiased.

    A JPEG that is much larger is decoded at 1/2, 1/4 or 1/8 of its size, which costs less.

    Returns:
        The image as :func:`read_image` gives it, and the (height, width) of the whole one.

    Raises:
        DataError: as :func:`read_image`.
    """
    stored: list[tuple[int, int]] = []

    def prepare(image: Image.Image) -> None:
        stored.append(upright_size(image))
        checked_size(path, stored[0], short_side)
        draft(image, short_side)

    image, _ = _decode(Path(path), max_pixels, prepare=prepare)
    whole = Image.fromarray(to_rgb(path, image))
    return np.array(scaled_image(whole, stored[0], short_side)), stored[0]


def read_size(path: str | Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Read (height, width) of an image, upright, from its header alone.

    Raises:
        DataError: as :func:`read_image`, as far as the header tells.
    """
    with opened(Path(path), max_pixels, _IMAGE_FORMATS) as image:
        return upright_size(image)


def read_mask_kind(path: str | Path) -> str:
    """Read from its header what kind of mask a file is, of a file that was read already.

    Returns:
        "grey", "grey16", "bilevel", "palette" or "rgb".

    Raises:
        DataError: as :func:`read_mask_pixels`, as far as the header tells.
    """
    with opened(Path(path), sys.maxsize, _MASK_FORMATS) as image:
        mode = "I;16" if image.mode == "I" else image.mode
    kinds = {"P": "palette", "1": "bilevel", "L": "grey", "LA": "grey"}
    return kinds.get(mode, "grey16" if mode.startswith("I;16") else "rgb")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the (height, width) that an opened image has once its orientation is applied."""
    width, height = image.size
    # Of a PNG, Pillow's own getexif decodes all pixels, in case that notes follow them.
    ahead = image.format == "PNG" and not _notes_follow(image)
    exif = Image.Image.getexif(image) if ahead else image.getexif()
    lies = exif.get(ExifTags.Base.Orientation) in _TURNED
    return (width, height) if lies else (height, width)


def _notes_follow(image: Image.Image) -> bool:
    """Whether an opened PNG has chunks behind its pixels that may hold an orientation."""
    file = getattr(image, "fp", None)
    if file is None:
        return True
    place, pixels, follow = file.tell(), False, False
    file.seek(8)
    while not follow and len(head := file.read(8)) == 8:
        pixels = pixels or head[4:] == b"IDAT"
        follow = pixels and head[4:] in (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    file.seek(place)
    return follow


def read_mask_pixels(path: str | Path, max_pixels: int = MAX_PIXELS) -> MaskPixels:
    """Read a mask without converting anything, upright.

    Raises:
        DataError: as :func:`read_image`; also for JPEG and WebP, for values beyond 16 bits, and
            for a file whose values Pillow would change.
    """
    image, raw_mode = _decode(Path(path), max_pixels, _MASK_FORMATS)
    mode = image.mode
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
    path: Path,
    max_pixels: int,
    formats: Sequence[str] = _IMAGE_FORMATS,
    prepare: Callable[[Image.Image], None] | None = None,
) -> tuple[Image.Image, str]:
    """Return the image, upright, and the raw mode in which the file stored its pixels.

    ``prepare`` is called between reading the header and decoding.
    """
    with opened(path, max_pixels, formats) as image:
        raw_mode = str(_stored(image)[0])
        if prepare is not None:
            prepare(image)
        image.load()
        kind = image.format
        ImageOps.exif_transpose(image, in_place=True)
        image.format = kind
    return image, raw_mode


@contextlib.contextmanager
def opened(
    path: Path, max_pixels: int, formats: Sequence[str] = _IMAGE_FORMATS
) -> Iterator[Image.Image]:
    """Open a file whose header is read and checked; what goes wrong in the block is the file's."""
    with faults_of(path), path.open("rb") as file:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty (0 bytes); copy it again")
        image = _open(file, path)
        _check_header(image, path, max_pixels, formats)
        yield image


def _stored(image: Image.Image) -> tuple[Any, ...]:
    """Return how the file stores pixels: Pillow's name, such as "L;4" for 4 bits of grey, first."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return (arguments or ("",)) if isinstance(arguments, tuple) else (arguments,)


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
            f"{path}: a {'WebP' if image.format == 'WEBP' else 'JPEG'} mask is refused, because "
            "lossy compression changes class ids; save it as PNG, from the program that drew it"
        )
    if holds_several(image):
        raise DataError(
            f"{path}: has several frames or pages, expected one picture; save the one you mean"
        )
    if formats == _MASK_FORMATS:
        _check_values_survive(image, path)


def _check_values_survive(image: Image.Image, path: Path) -> None:
    """Refuse an opened mask whose stored values Pillow would narrow, rescale or invert."""
    mode, stored, tags = image.mode, _stored(image), getattr(image, "tag_v2", {})
    raw_mode = str(stored[0])
    # The bits as well: where a TIFF keeps its colours apart, Pillow's name does not tell them.
    if mode in _NARROW and (";16" in raw_mode or max(tags.get(_BITS, (8,))) > 8):
        what = f"of 16-bit {'grey with alpha' if raw_mode.startswith('LA') else 'RGB'}"
    elif image.format == "PPM" and stored[1:] not in ((), (65535 if mode == "I" else 255,)):
        what = f"with values of 0 to {stored[1]} (maxval; expected 255, or 65535 for grey)"
    elif mode == "L" and tags.get(_PHOTOMETRIC) == 0:
        what = "in a WhiteIsZero TIFF (tag 262 is 0), which some programs invert and some do not,"
    else:
        return
    raise DataError(
        f"{path}: a mask {what} is refused; save it as PNG: a palette, 8-bit RGB, or 8-bit or "
        "16-bit grey without alpha"
    )
