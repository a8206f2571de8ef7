"""Losses over the pixels that have a label."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fcnseg.checks import check_choice
from fcnseg.errors import DataError, UsageError


def cross_entropy(
    score_NKHW: Tensor,
    label_NHW: Tensor,
    void: int = 255,
    class_weights: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the softmax cross entropy of the labelled pixels, a scalar.

    ``score_NKHW`` is (N, K, H, W), any float type, computed in float32 (float64 stays);
    ``label_NHW`` is (N, H, W), integer class ids 0..K-1 or ``void``. Void pixels add nothing to
    the loss or to its gradient.

    ``reduction="mean"`` divides by the number of labelled pixels of the whole batch, or with
    ``class_weights`` (K,) by the sum of their weights. ``"sum"`` divides by nothing, as the
    paper's published recipe does; its learning rates are smaller by the number of pixels. If
    nothing is labelled, the loss is exactly 0 and so is every gradient.

    Label values are checked where the data are read, because looking at them here would stall
    an accelerator at every step: on the CPU a value out of range raises :class:`DataError`, on a
    GPU it is a device-side assertion. Shapes and types raise :class:`UsageError`.
    """
    check_choice("reduction", reduction, ("mean", "sum"))
    _check_shapes(score_NKHW, label_NHW, void, class_weights)
    score_NKHW = score_NKHW.to(torch.promote_types(score_NKHW.dtype, torch.float32))
    label_NHW = label_NHW.long()
    weights = None
    if class_weights is not None:
        weights = class_weights.to(device=score_NKHW.device, dtype=score_NKHW.dtype)

    # Unreduced first: the reducing kernel of torch adds atomically on CUDA, which is refused
    # under deterministic algorithms and would break exact resumption.
    try:
        loss_NHW = F.cross_entropy(
            score_NKHW, label_NHW, weight=weights, ignore_index=void, reduction="none"
        )
    except IndexError:
        raise DataError(_out_of_range(label_NHW, score_NKHW.shape[1], void)) from None
    total = loss_NHW.sum()
    if reduction == "sum":
        return total

    labelled = label_NHW != void
    if weights is None:
        mass = labelled.sum().to(total.dtype)
    else:
        mass = (weights[label_NHW.where(labelled, 0)] * labelled).sum()
    return total / mass.where(mass > 0, 1)


def _check_shapes(score: Tensor, label: Tensor, void: int, class_weights: Tensor | None) -> None:
    if score.ndim != 4 or not score.is_floating_point():
        raise UsageError(
            f"score: expected (N, K, H, W) floats, got shape {tuple(score.shape)} of {score.dtype}"
        )
    if label.is_floating_point() or label.dtype == torch.bool:
        raise UsageError(f"label: expected integer class ids, got {label.dtype}")
    n, k, h, w = score.shape
    if tuple(label.shape) != (n, h, w):
        raise UsageError(
            f"label: expected shape {(n, h, w)} for scores of shape {(n, k, h, w)}, "
            f"got {tuple(label.shape)}"
        )
    if 0 <= void < k:
        raise UsageError(f"void: {void} is one of the {k} class ids; choose one outside 0..{k - 1}")
    if class_weights is not None and tuple(class_weights.shape) != (k,):
        raise UsageError(
            f"class_weights: expected one weight for each of {k} classes, "
            f"got shape {tuple(class_weights.shape)}"
        )


def _out_of_range(label: Tensor, num_classes: int, void: int) -> str:
    wrong = label[(label != void) & ((label < 0) | (label >= num_classes))]
    return (
        f"label: {wrong.numel()} pixels are outside the class ids 0..{num_classes - 1} and are "
        f"not void ({void}); first value: {int(wrong[0])}; run `fcnseg check` on the data"
    )
