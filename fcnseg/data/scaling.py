"""Samples at another size: the short side given, image and labels alike."""

import cv2
import numpy as np
from PIL import Image

_DECODER_SHRINKS = (8, 4, 2)


def scaled_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """The (height, width) of an image of ``size`` once its short side is ``short_side`` pixels.

    The long side is rounded down, as the networks' preprocessing does it.
    """
    short, long = min(size), max(size)
    other = short_side * long // short
    return (short_side, other) if size[0] <= size[1] else (other, short_side)


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
