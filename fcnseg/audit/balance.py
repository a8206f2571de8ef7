"""Class weights from pixel counts."""

from collections.abc import Sequence

import numpy as np

from fcnseg.errors import DataError, UsageError


def median_frequency(
    class_pixels: Sequence[int], pixels_where_present: Sequence[int]
) -> list[float]:
    """Weights that balance classes by their median frequency.

    Eigen and Fergus (2015), and SegNet (Badrinarayanan et al. 2017) on CamVid: the frequency of a
    class is its pixels divided by the pixels of all images in which it occurs, and its weight is
    the median of the frequencies divided by its own. Void pixels are not counted here, and the
    median is taken over the classes that occur.

    Args:
        class_pixels: K numbers, pixels of each class.
        pixels_where_present: K numbers, labelled (not void) pixels of the images in which the
            class occurs.

    Returns:
        K weights above 0; 1 for a class that never occurs, since nothing is known of it.

    Raises:
        UsageError: the two have different lengths.
        DataError: no class occurs, or a class has more pixels than the images it occurs in.
    """
    if len(class_pixels) != len(pixels_where_present):
        raise UsageError(
            f"median_frequency: got {len(class_pixels)} pixel counts of classes and "
            f"{len(pixels_where_present)} of their images; both are one number a class"
        )
    pixels = np.array(class_pixels, np.float64)
    there = np.array(pixels_where_present, np.float64)
    if (pixels < 0).any() or (pixels > there).any():
        raise DataError("median_frequency: a class has more pixels than the images it occurs in")
    present = pixels > 0
    if not present.any():
        raise DataError(
            "--class-weights auto: no labelled pixel was found; check that masks are not all void"
        )
    weights = np.ones(len(pixels))
    frequency = pixels[present] / there[present]
    weights[present] = np.median(frequency) / frequency
    return weights.tolist()
