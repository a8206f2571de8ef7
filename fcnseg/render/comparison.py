"""Truth and prediction side by side, with the pixels on which they differ."""

import numpy as np

from fcnseg.checks import check_image, check_same_size
from fcnseg.palette import Colour, Palette
from fcnseg.render.mask import colourise
from fcnseg.render.photograph import greyed

# Orange-red on light grey: told apart with any kind of colour vision, by lightness alone too.
DIFFERENCE_COLOUR: Colour = (213, 62, 0)
GAP = 4


def comparison(
    image: np.ndarray,
    truth: np.ndarray,
    predicted: np.ndarray,
    palette: Palette,
    void: int = 255,
) -> np.ndarray:
    """Return four panels in a row: photograph, truth, prediction, and where they differ.

    ``image`` is (H, W, 3) uint8, ``truth`` and ``predicted`` are (H, W) class ids; the result is
    (H, 4 * W + 3 * 4, 3) uint8 with white gaps of 4 pixels. The last panel marks in orange-red
    the pixels whose prediction is wrong; pixels that are void in the truth are never marked.

    Raises :class:`UsageError` for other shapes and types, sizes that differ or unknown ids.
    """
    check_image("image", image)
    coloured_truth = colourise(truth, palette, void)
    coloured_prediction = colourise(predicted, palette, void)
    check_same_size("truth", truth.shape, "image", image.shape[:2])
    check_same_size("predicted", predicted.shape, "image", image.shape[:2])
    differences = greyed(image, darkest=150, lightest=250)
    differences[(truth != predicted) & (truth != void)] = DIFFERENCE_COLOUR
    gap = np.full((image.shape[0], GAP, 3), 255, dtype=np.uint8)
    panels = [image, gap, coloured_truth, gap, coloured_prediction, gap, differences]
    return np.concatenate(panels, axis=1)
