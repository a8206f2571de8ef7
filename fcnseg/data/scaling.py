"""Samples at another size: the short side given, image and labels alike."""

import cv2
import numpy as np
from PIL import Image

from fcnseg.errors import DataError
from fcnseg.sizes import MOST_SCALED, scaled_size

_DECODER_SHRINKS = (8, 4, 2)


def checked_size(path: object, size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return :func:`~fcnseg.sizes.scaled_size`; raises :class:`DataError` for a long strip."""
    height, width = scaled_size(size, short_side)
    if height * width > MOST_SCALED:
        raise DataError(
            f"{path}: is {size[0]}x{size[1]} (height x width) and would be scaled to "
            f"{height}x{width} by --short-side {short_side}; crop it, or give a smaller one"
        )
    return height, width


def scaled_label(label: np.ndarray, short_side: int | None) -> np.ndarray:
    """Return (h, w) class ids, each that of the pixel under the centre of its own."""
    if short_side is None:
        return label
    height, width = scaled_size((label.shape[0], label.shape[1]), short_side)
    if (height, width) == label.shape:
        return label
    # INTER_NEAREST takes the upper left pixel, which shifts labels by up to half a pixel.
    return cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def draft(image: Image.Image, short_side: int) -> None:
    """Let a JPEG be decoded at 1/2, 1/4 or 1/8, if it is then no smaller than is wanted."""
    for shrink in _DECODER_SHRINKS:
        if min(image.size) // shrink >= short_side:
            image.draft(None, (image.width // shrink, image.height // shrink))
            return


def scaled_image(image: Image.Image, stored_size: tuple[int, int], short_side: int) -> Image.Image:
    """Return an 8-bit RGB image scaled to ``short_side``, antialiased.

    Args:
        image: upright, perhaps decoded at a fraction.
        stored_size: (height, width) of the whole image, upright.
        short_side: in pixels.
    """
    height, width = scaled_size(stored_size, short_side)
    if (width, height) == image.size:
        return image
    shrink = round(max(stored_size) / max(image.size))
    # The last pixels of an image decoded at a fraction reach beyond its border.
    box = (0.0, 0.0, stored_size[1] / shrink, stored_size[0] / shrink)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
