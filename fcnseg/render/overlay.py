"""Class colours over the photograph."""

import numpy as np

from fcnseg.checks import check_image, check_same_size
from fcnseg.errors import UsageError
from fcnseg.palette import Palette
from fcnseg.render.edges import borders
from fcnseg.render.mask import colourise
from fcnseg.render.photograph import blend, greyed

# One pixel of outline for every so many pixels of the longer side.
_PIXELS_PER_OUTLINE = 700


def overlay(
    image: np.ndarray,
    labels: np.ndarray,
    palette: Palette,
    alpha: float = 0.5,
    outline: bool = True,
    void: int = 255,
) -> np.ndarray:
    """Return ``image`` (H, W, 3) uint8 in grey, tinted by the classes ``labels`` (H, W).

    ``alpha`` is the opacity of the colours, 0 to 1. With ``outline`` each region gets a thin
    border inside itself in its full colour, thicker on large images. Void pixels stay as they
    are in the photograph, in colour.

    >>> import numpy as np
    >>> photo = np.full((40, 60, 3), 200, np.uint8)
    >>> labels = np.zeros((40, 60), np.uint8)
    >>> labels[10:30, 20:40] = 1
    >>> picture = overlay(photo, labels, palette=[(0, 0, 0), (128, 0, 0)])
    >>> picture.shape, picture[20, 30].tolist()  # halfway from grey to the class's red
    ((40, 60, 3), [164, 100, 100])

    Raises :class:`UsageError` for other shapes and types, sizes that differ or unknown ids.
    """
    check_image("image", image)
    if not 0 <= alpha <= 1:
        raise UsageError(f"alpha: expected 0 to 1, got {alpha}")
    colours = colourise(labels, palette, void)
    check_same_size("image", image.shape[:2], "labels", labels.shape)
    # Over grey, a class has the hue of its legend whatever the colour of the object.
    tinted = blend(greyed(image), colours, alpha)
    if outline:
        width = max(1, round(max(labels.shape) / _PIXELS_PER_OUTLINE))
        border = borders(labels, width)
        tinted[border] = colours[border]
    untouched = labels == void
    tinted[untouched] = image[untouched]
    return tinted
