"""How well a perfect prediction at a fraction of the resolution could score.

Long, Shelhamer and Darrell (2015, appendix A) give the mean IU of the truth itself, downsampled
by a factor and upsampled again. They do not say how it was resampled. Here each cell of
``factor`` x ``factor`` pixels takes the class that most of its labelled pixels have, and every
pixel takes the class of its cell: no prediction that is constant on these cells gets more pixels
right. Its mean IU is what thin things cost at that resolution; it is no strict bound, since a
network that interpolates its scores can draw borders inside a cell.
"""

from collections.abc import Sequence

import numpy as np

from fcnseg.checks import check_labels
from fcnseg.data.sample import VOID, Source
from fcnseg.engine.events import Evaluating, Observer, silent
from fcnseg.errors import DataError, UsageError
from fcnseg.metrics import ConfusionMatrix

# What is held at a time, 8 bytes each, whatever the size of the image.
_VOTES = 2**20
_PIXELS = 2**20


def coarse_labels(label: np.ndarray, factor: int, num_classes: int) -> np.ndarray:
    """The truth as a perfect prediction at 1/``factor`` of the resolution would have it.

    Cells start at the upper left corner; those at the right and the bottom may be incomplete.
    Void pixels have no vote, and of classes with as many votes the one with the lower id wins.

    Args:
        label: (H, W) integer class ids, 255 where void.
        factor: side of a cell in pixels, 1 or more.
        num_classes: K, up to 255.

    Returns:
        (H, W) uint8 class ids, 255 in cells that are void everywhere.

    Raises:
        UsageError: not (H, W) integers, or a factor below 1.
        DataError: a label that is neither a class id nor void.
    """
    check_labels("label", label)
    if factor < 1:
        raise UsageError(f"--factors: expected whole numbers from 1 up, got {factor}")
    ids = label[label != VOID]
    if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
        raise DataError(
            f"label: has class ids from {ids.min()} to {ids.max()}, expected 0 to "
            f"{num_classes - 1} or {VOID} for void; correct the masks"
        )
    column = np.arange(label.shape[1]) // factor
    # Rows of cells are independent of each other: as many at a time as have few enough votes.
    together = factor * max(1, _VOTES // (num_classes * (int(column[-1]) + 1)))
    result = np.empty(label.shape, np.uint8)
    for top in range(0, len(label), together):
        strip = label[top : top + together]
        row = np.arange(len(strip)) // factor
        winner = _winners(strip, factor, num_classes)
        result[top : top + together] = winner[row[:, None], column]
    return result


def _winners(label: np.ndarray, factor: int, num_classes: int) -> np.ndarray:
    """The class of each cell, (rows, columns) uint8, 255 where nothing in it is labelled."""
    rows, columns = (-(-extent // factor) for extent in label.shape)
    votes = np.zeros(rows * columns * num_classes, np.int64)
    column = np.arange(label.shape[1]) // factor
    few = max(1, _PIXELS // label.shape[1])
    for top in range(0, len(label), few):
        part = label[top : top + few]
        row = np.arange(top, top + len(part)) // factor
        valid = part != VOID
        cell = (row[:, None] * columns + column)[valid]
        ids = part[valid].astype(np.int64)
        votes += np.bincount(cell * num_classes + ids, minlength=votes.size)
    votes = votes.reshape(rows * columns, num_classes)
    winner = np.where(votes.any(axis=1), votes.argmax(axis=1), VOID).astype(np.uint8)
    return winner.reshape(rows, columns)


def upper_bounds(
    source: Source, factors: Sequence[int], observer: Observer = silent
) -> dict[int, ConfusionMatrix]:
    """Score the truth of every sample at 1/factor of its resolution, for each factor.

    Returns:
        factor -> counts of (true class, class of the cell); void is not counted.

    Raises:
        UsageError: a factor below 1.
        DataError: a sample that cannot be read.
    """
    count = len(source.classes)
    bounds = {factor: ConfusionMatrix(count) for factor in factors}
    for index in range(len(source)):
        label = source[index].label
        for factor, confusion in bounds.items():
            confusion.update(coarse_labels(label, factor, count), label)
        observer(Evaluating(index + 1, len(source)))
    return bounds
