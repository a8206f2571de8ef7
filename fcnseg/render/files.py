"""Image files that appear whole or not at all."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcnseg.checks import check_image
from fcnseg.errors import EnvironmentFault, UsageError
from fcnseg.files import write_atomically

JPEG_LONGEST = 65500
"""Pixels of a side that JPEG encoders take; the format itself ends at 65535."""

_JPEG_QUALITY = 92


def png_bytes(image: np.ndarray) -> bytes:
    """Return ``image``, (H, W, 3) uint8 RGB, as the bytes of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format="PNG")
    return buffer.getvalue()


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> Path:
    """Write ``image``, (H, W, 3) uint8 RGB, as its suffix says: .png, .jpg or .jpeg.

    JPEG is written at quality 92 with colour at full resolution, since the outlines of classes
    are thin lines of colour. An existing file is replaced in one step. Returns ``path``.

    >>> import numpy as np
    >>> write_image("black.png", np.zeros((3, 4, 3), np.uint8)).name
    'black.png'

    Raises :class:`UsageError` for another suffix, shape or type, or a side of more than 65500
    pixels in a JPEG, and :class:`EnvironmentFault` if the file cannot be written.
    """
    path = Path(path)
    check_image(str(path), image)
    suffix = path.suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise UsageError(f"{path}: expected a name that ends in .png, .jpg or .jpeg")
    how: dict[str, Any] = {"format": "PNG"}
    if suffix != ".png":
        height, width = image.shape[:2]
        if max(height, width) > JPEG_LONGEST:
            raise UsageError(
                f"{path}: a side of a JPEG has {JPEG_LONGEST} pixels at most, got {height}x{width} "
                "(height x width); write a .png, or scale it down"
            )
        how = {"format": "JPEG", "quality": _JPEG_QUALITY, "subsampling": 0}
    buffer = io.BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(image)).save(buffer, **how)
    except (OSError, ValueError) as error:
        raise EnvironmentFault(
            f"{path}: cannot be encoded as {how['format']} ({error}); write a smaller picture"
        ) from None
    return write_atomically(path, buffer.getvalue())
