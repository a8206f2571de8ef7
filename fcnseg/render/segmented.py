"""A segmented photograph as people want to see it: the overlay with its legend below."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from fcnseg.palette import Palette
from fcnseg.render.files import png_bytes
from fcnseg.render.gallery import fitted_labels
from fcnseg.render.legend import over_legend, pixels_of
from fcnseg.render.mask import check_class_ids
from fcnseg.render.overlay import overlay


def segmented(
    image: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    palette: Palette,
    longest: int | None = None,
    void: int = 255,
) -> np.ndarray:
    """Return the overlay of ``labels`` (H, W) on ``image`` (H, W, 3) uint8 over its legend.

    ``names`` and ``palette`` have one entry a class. ``longest`` is how many pixels the longer
    side of the overlay may have; larger images are scaled down, the shares in the legend are
    those of all pixels. An overlay of less than 100 pixels has no legend. The result is
    (h, w, 3) uint8.

    >>> import numpy as np
    >>> photo, labels = np.zeros((300, 400, 3), np.uint8), np.eye(300, 400, dtype=np.uint8)
    >>> segmented(photo, labels, ["sea", "ship"], [(0, 0, 90), (90, 0, 0)]).shape
    (334, 400, 3)

    Raises :class:`UsageError` for other shapes and types, sizes that differ or unknown ids.
    """
    check_class_ids("labels", labels, palette, void)
    shown, small = image, labels
    high, wide = labels.shape
    if longest is not None and max(high, wide) > longest:
        scale = longest / max(high, wide)
        size = max(1, round(high * scale)), max(1, round(wide * scale))
        picture = Image.fromarray(np.ascontiguousarray(image))
        shown = np.asarray(picture.resize(size[::-1], Image.Resampling.BOX))
        small = fitted_labels(labels, size)
    drawn = overlay(shown, small, palette, void=void)
    return over_legend(drawn, pixels_of(labels), names, palette, void)


def segmented_png(
    image: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    palette: Palette,
    longest: int = 1024,
) -> bytes:
    """Return :func:`segmented` as a PNG, what a notebook shows.

    >>> import numpy as np
    >>> photo, labels = np.zeros((300, 400, 3), np.uint8), np.eye(300, 400, dtype=np.uint8)
    >>> segmented_png(photo, labels, ["sea", "ship"], [(0, 0, 90), (90, 0, 0)])[:4]
    b'\\x89PNG'
    """
    return png_bytes(segmented(image, labels, names, palette, longest))
