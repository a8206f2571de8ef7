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


def coarse_counts(label: np.ndarray, factors: Sequence[int], num_classes: int) -> list[np.ndarray]:
    """How many pixels of each class a perfect prediction at each 1/factor would call what.

    Cells start at the upper left corner; those at the right and the bottom may be incomplete.
    Void pixels have no vote, and of classes with as many votes the one with the lower id wins.

    Args:
        label: (H, W) integer class ids, 255 where void.
        factors: sides of the cells in pixels, 1 or more.
        num_classes: K, up to 255.

    Returns:
        For each factor (K, K) int64, indexed ``[truth, class of the cell]``; void is not counted.

    Raises:
        UsageError: not (H, W) integers, or a factor below 1.
        DataError: a label that is neither a class id nor void.
    """
    _check(label, factors, num_classes)
    counts = {factor: np.zeros((num_classes, num_classes), np.int64) for factor in factors}
    for finest, others in _families(factors, label.shape[1], num_classes):
        largest = max([finest, *others])
        columns = -(-label.shape[1] // finest)
        # Rows of cells are independent of each other: as many at a time as have few enough votes.
        rows = max(1, _VOTES // (num_classes * columns * (largest // finest)))
        for top in range(0, len(label), rows * largest):
            votes = _votes(label[top : top + rows * largest], finest, num_classes)
            for factor in (finest, *others):
                _count(counts[factor], _merged(votes, factor // finest))
    return [counts[factor] for factor in factors]


def _families(factors: Sequence[int], width: int, num_classes: int) -> list[tuple[int, list[int]]]:
    """Return factors whose cells are counted, each with multiples whose cells are made of these.

    A multiple is left to itself where one row of its cells would have too many votes.
    """
    families: list[tuple[int, list[int]]] = []
    for factor in sorted(set(factors)):
        for finest, others in families:
            votes = num_classes * -(-width // finest) * (factor // finest)
            if factor % finest == 0 and votes <= _VOTES:
                others.append(factor)
                break
        else:
            families.append((factor, []))
    return families


def _votes(label: np.ndarray, factor: int, num_classes: int) -> np.ndarray:
    """(rows of cells, columns of cells, K) int64, the labelled pixels of each class in a cell."""
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
    return votes.reshape(rows, columns, num_classes)


def _merged(votes: np.ndarray, times: int) -> np.ndarray:
    """The votes of cells that are ``times`` as long and as wide."""
    if times == 1:
        return votes
    rows, columns, count = votes.shape
    missing = (-rows % times, -columns % times)
    votes = np.pad(votes, ((0, missing[0]), (0, missing[1]), (0, 0)))
    shape = (votes.shape[0] // times, times, votes.shape[1] // times, times, count)
    merged: np.ndarray = votes.reshape(shape).sum(axis=(1, 3))
    return merged


def _count(counts: np.ndarray, votes: np.ndarray) -> None:
    """Add the pixels of all cells to (truth, class of the cell)."""
    votes = votes.reshape(-1, votes.shape[2])
    winner = votes.argmax(axis=1)  # 0 where nothing is labelled, which adds nothing
    for class_id in np.unique(winner).tolist():
        counts[:, class_id] += votes[winner == class_id].sum(axis=0)


def _check(label: np.ndarray, factors: Sequence[int], num_classes: int) -> None:
    check_labels("label", label)
    if min(factors, default=1) < 1:
        raise UsageError(f"--factors: expected whole numbers from 1 up, got {min(factors)}")
    ids = label[label != VOID]
    if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
        raise DataError(
            f"label: has class ids from {ids.min()} to {ids.max()}, expected 0 to "
            f"{num_classes - 1} or {VOID} for void; correct the masks"
        )


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
        label = source.label(index)
        counted = coarse_counts(label, list(bounds), count)
        for confusion, counts in zip(bounds.values(), counted, strict=True):
            confusion.counts += counts
        observer(Evaluating(index + 1, len(source)))
    return bounds
