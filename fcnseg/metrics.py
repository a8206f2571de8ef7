"""The four measures of the FCN paper (section 5), from one streaming confusion matrix.

Counts are integers and are added exactly, so any split of the same pixels into batches or
processes gives the same numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fcnseg.errors import DataError, UsageError


@dataclass(frozen=True)
class Scores:
    """Measures in [0, 1], fractions and not percent.

    ``pixel_accuracy`` is the share of labelled pixels that are right. ``mean_accuracy`` averages
    the share of right pixels over the classes present in the truth. ``mean_iu`` averages
    ``class_iu`` (intersection over union of truth and prediction) over the classes present in
    either, and ``frequency_weighted_iu`` weights it by each class's share of the truth.
    ``class_iu`` has one entry a class, ``None`` where the class is in neither.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iu: float
    frequency_weighted_iu: float
    class_iu: tuple[float | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain floats, lists and ``None``, ready for JSON."""
        return {
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "mean_iu": self.mean_iu,
            "frequency_weighted_iu": self.frequency_weighted_iu,
            "class_iu": list(self.class_iu),
        }


class ConfusionMatrix:
    """Counts of (true class, predicted class) over a data set.

    ``counts`` is a (K, K) int64 NumPy array indexed ``[truth, predicted]``; it may be summed
    over processes in place. Pixels labelled ``void`` are not counted.

    Raises :class:`UsageError` for fewer than one class or a ``void`` that is itself a class id.
    """

    def __init__(self, num_classes: int, void: int = 255) -> None:
        if num_classes < 1:
            raise UsageError(f"num_classes: expected at least 1, got {num_classes}")
        if 0 <= void < num_classes:
            raise UsageError(
                f"void: {void} is one of the {num_classes} class ids; choose an id outside "
                f"0..{num_classes - 1}"
            )
        self.num_classes = num_classes
        self.void = void
        self.counts: np.ndarray = np.zeros((num_classes, num_classes), dtype=np.int64)

    def update(self, predicted: Any, label: Any) -> None:
        """Add the pixels of one image or batch.

        Both are integer NumPy arrays or torch tensors of one shape, any number of axes; tensors
        are counted on the device of ``predicted``. Where ``label`` is void, ``predicted`` is not
        read.

        Raises :class:`UsageError` for types, shapes or predicted ids that are wrong and
        :class:`DataError` for a label that is neither a class id nor void; nothing is counted
        then.
        """
        _check_integers("predicted", predicted)
        _check_integers("label", label)
        if tuple(predicted.shape) != tuple(label.shape):
            raise UsageError(
                f"predicted has shape {tuple(predicted.shape)} but label has "
                f"{tuple(label.shape)}; they must be equal"
            )
        predicted, label = _as_int64(predicted, label)
        valid = label != self.void
        truth, guess = label[valid], predicted[valid]
        self._check_range("label", label, valid, truth)
        self._check_range("predicted", predicted, valid, guess)
        index = truth * self.num_classes + guess
        cells = self.num_classes**2
        if isinstance(index, torch.Tensor):
            added = torch.bincount(index, minlength=cells).cpu().numpy()
        else:
            added = np.bincount(index, minlength=cells)
        self.counts += added.reshape(self.num_classes, self.num_classes)

    def merge(self, other: "ConfusionMatrix") -> None:
        """Add the counts of ``other``; raises :class:`UsageError` if K or void differ."""
        mine, theirs = (self.num_classes, self.void), (other.num_classes, other.void)
        if mine != theirs:
            raise UsageError(
                f"merge: this matrix has {mine[0]} classes and void {mine[1]}, the other has "
                f"{theirs[0]} and {theirs[1]}; only matrices of the same data can be added"
            )
        self.counts += other.counts

    def scores(self) -> Scores:
        """Return the measures of everything counted so far.

        Raises :class:`DataError` if no labelled pixel was counted: no measure is defined then.
        """
        total = int(self.counts.sum())
        if total == 0:
            raise DataError(
                "confusion matrix: no labelled pixel was counted, so there is nothing to score; "
                "check that the labels are not all void"
            )
        right = np.diag(self.counts).astype(np.float64)
        in_truth = self.counts.sum(axis=1)
        union = in_truth + self.counts.sum(axis=0) - np.diag(self.counts)
        iu = right / np.maximum(union, 1)
        accuracy = right / np.maximum(in_truth, 1)
        return Scores(
            pixel_accuracy=float(right.sum() / total),
            mean_accuracy=float(accuracy[in_truth > 0].mean()),
            mean_iu=float(iu[union > 0].mean()),
            frequency_weighted_iu=float((in_truth * iu).sum() / total),
            class_iu=tuple(
                float(value) if there else None for value, there in zip(iu, union > 0, strict=True)
            ),
        )

    def _check_range(self, what: str, ids: Any, valid: Any, counted: Any) -> None:
        """Refuse ids outside 0..K-1 among the ``counted`` ones, naming the first."""
        if counted.shape[0] == 0:
            return
        if int(counted.min()) >= 0 and int(counted.max()) < self.num_classes:
            return
        wrong = np.argwhere(_to_numpy(valid & ((ids < 0) | (ids >= self.num_classes))))
        first = tuple(int(i) for i in wrong[0])
        message = (
            f"{what}: {len(wrong)} pixels are outside the class ids 0..{self.num_classes - 1} "
            f"(first: {int(ids[first])} at index {first})"
        )
        if what == "label":
            raise DataError(f"{message} and are not void ({self.void}); correct the masks")
        raise UsageError(f"{message}; the network and the matrix must have the same classes")


def _check_integers(what: str, ids: Any) -> None:
    if isinstance(ids, np.ndarray):
        good = np.issubdtype(ids.dtype, np.integer)
    elif isinstance(ids, torch.Tensor):
        good = not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool)
    else:
        good = False
    if not good:
        kind = getattr(ids, "dtype", type(ids).__name__)
        raise UsageError(f"{what}: expected an array or tensor of integer class ids, got {kind}")


def _as_int64(predicted: Any, label: Any) -> tuple[Any, Any]:
    """Both as NumPy, or both as tensors on one device if either is a tensor."""
    if isinstance(predicted, np.ndarray) and isinstance(label, np.ndarray):
        return predicted.astype(np.int64), label.astype(np.int64)
    device = predicted.device if isinstance(predicted, torch.Tensor) else label.device
    return _to_tensor(predicted, device), _to_tensor(label, device)


def _to_tensor(ids: Any, device: torch.device) -> torch.Tensor:
    if isinstance(ids, np.ndarray):
        ids = torch.from_numpy(ids.astype(np.int64))
    return ids.to(device=device, dtype=torch.int64)


def _to_numpy(values: Any) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else values
