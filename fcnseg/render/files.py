"""Image files that appear whole or not at all."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from fcnseg.checks import check_image
from fcnseg.errors import UsageError
from fcnseg.files import write_atomically

_JPEG_QUALITY = 92


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> Path:
    """Write ``image``, (H, W, 3) uint8 RGB, as its suffix says: .png, .jpg or .jpeg.

    JPEG is written at quality 92 with colour at full resolution, since the outlines of classes
    are thin lines of colour. An existing file is replaced in one step. Returns ``path``.

    Raises :class:`UsageError` for another suffix, shape or type, and :class:`EnvironmentFault`
    if the file cannot be written.
    """
    path = Path(path)
    check_image(str(path), image)
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image))
    suffix = path.suffix.lower()
    if suffix == ".png":
        picture.save(buffer, format="PNG")
    elif suffix in (".jpg", ".jpeg"):
        picture.save(buffer, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    else:
        raise UsageError(f"{path}: expected a name that ends in .png, .jpg or .jpeg")
    return write_atomically(path, buffer.getvalue())
