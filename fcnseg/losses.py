"""Losses: over the pixels that have a label, and over what a network sees in two images."""

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    score_NKHW = _at_least_float32(score_NKHW)
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


def labelled_mass(label_NHW: Tensor, void: int = 255, class_weights: Tensor | None = None) -> float:
    """What the mean of :func:`cross_entropy` divides its sum by: labelled pixels, or their weights.

    Summed over batches it makes the mean of a step of several batches or processes. Meant for
    labels and weights on the CPU, where reading them stalls no accelerator.

    Raises:
        DataError: with ``class_weights``, a label is outside the classes and not ``void``.
    """
    labels = label_NHW.numpy()
    if class_weights is None:
        return float(np.count_nonzero(labels != void))
    k = len(class_weights)
    if label_NHW.dtype == torch.uint8:  # no copy of the labelled ones
        counts = torch.bincount(label_NHW.flatten(), minlength=256)
        counts[[void] if 0 <= void < 256 else []] = 0
        outside = bool(counts[k:].any())
    else:
        found = torch.from_numpy(labels[labels != void].astype(np.int64))
        outside = bool(((found < 0) | (found >= k)).any())
        counts = found if outside else torch.bincount(found, minlength=k)
    if outside:
        raise DataError(_out_of_range(label_NHW, k, void))
    return float(counts[:k].double() @ class_weights.double())


def dice_loss(score_NKHW: Tensor, label_NHW: Tensor, void: int = 255) -> Tensor:
    """Return 1 minus the soft Dice coefficient of the classes that are in the batch, a scalar.

    Over the labelled pixels of the whole batch the coefficient of a class is twice the
    probability that lies on its pixels, divided by all of its probability plus the number of its
    pixels (Milletari et al. 2016, with plain sums in place of squares); the mean is over the
    classes that the labels have. Small classes so count as much as large ones.

    Takes and raises what :func:`cross_entropy` does. Void pixels change neither the loss nor the
    gradient; if nothing is labelled, both are exactly 0.
    """
    _check_shapes(score_NKHW, label_NHW, void, None)
    k = score_NKHW.shape[1]
    labelled = label_NHW != void
    if label_NHW.device.type == "cpu" and bool(
        (labelled & ((label_NHW < 0) | (label_NHW >= k))).any()
    ):
        raise DataError(_out_of_range(label_NHW, k, void))
    score_NKHW = _at_least_float32(score_NKHW)
    probability_NKHW = score_NKHW.softmax(1) * labelled[:, None]
    classes = torch.arange(k, device=label_NHW.device)
    # One comparison with all classes, not a scatter: those add in no fixed order on CUDA.
    is_class_NKHW = label_NHW.long()[:, None] == classes[:, None, None]
    pixels_K = is_class_NKHW.sum((0, 2, 3))
    overlap_K = (probability_NKHW * is_class_NKHW).sum((0, 2, 3))
    both_K = probability_NKHW.sum((0, 2, 3)) + pixels_K
    present_K = pixels_K > 0
    loss_K = (1 - 2 * overlap_K / both_K.where(present_K, 1)) * present_K
    return loss_K.sum() / present_K.sum().clamp(min=1)


class PerceptualLoss(nn.Module):
    """How far apart two images are in the features of a fixed network (Johnson et al. 2016).

    At each chosen level it is the mean, over all channels and cells of the map, of the absolute
    (``"l1"``) or squared (``"l2"``) difference of the two images' features; levels are added with
    their weights. The gradient goes to the first image alone.

    A module is copied, and the copy stays frozen and in evaluation mode whatever
    :meth:`train` says; the one that was given, and what it is used for besides, are not touched.
    Another callable is called as it is.

    An image that is changed until VGG16 sees in it what it sees in a photograph::

        from fcnseg.backbones import build_backbone

        vgg = build_backbone("vgg16", weights="auto", strides=(4, 8))
        loss = PerceptualLoss(vgg, {4: 1.0, 8: 0.5})
        image = torch.zeros_like(photograph, requires_grad=True)  # (1, 3, H, W), preprocessed
        optimizer = torch.optim.Adam([image], lr=0.05)
        for _ in range(200):
            optimizer.zero_grad()
            loss(image, photograph).backward()
            optimizer.step()

    Args:
        features: (N, 3, H, W) -> {level: (N, C, h, w)}, such as a
            :class:`~fcnseg.backbones.Backbone`; a level is the stride of its map.
        levels: level -> its weight; None: every level that the network gives, each with weight 1.
        distance: ``"l1"`` or ``"l2"``.

    Raises:
        UsageError: no such distance, no level, or a weight below 0.
    """

    def __init__(
        self,
        features: Callable[[Tensor], Mapping[int, Tensor]],
        levels: Mapping[int, float] | None = None,
        distance: str = "l1",
    ) -> None:
        super().__init__()
        check_choice("distance", distance, ("l1", "l2"))
        if levels is not None and (not levels or min(levels.values()) < 0):
            raise UsageError(f"levels: expected levels with weights of 0 or more, got {levels}")
        if isinstance(features, nn.Module):
            features = copy.deepcopy(features).requires_grad_(False)
        self.features = features
        self.levels, self.distance = None if levels is None else dict(levels), distance
        self.eval()

    def train(self, mode: bool = True) -> "PerceptualLoss":
        """Stay in evaluation mode: batch norm and dropout would change what is compared."""
        del mode
        return super().train(False)

    def forward(self, image_N3HW: Tensor, target_N3HW: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            image_N3HW: (N, 3, H, W) floats, preprocessed for the network; it gets the gradient.
            target_N3HW: the same shape; it gets none.

        Raises:
            UsageError: the shapes differ, or the network gives no map at a level.
        """
        if image_N3HW.shape != target_N3HW.shape:
            raise UsageError(
                f"image and target: expected one shape, got {tuple(image_N3HW.shape)} and "
                f"{tuple(target_N3HW.shape)}"
            )
        maps = self.features(image_N3HW)
        with torch.no_grad():
            target_maps = self.features(target_N3HW)
        levels = dict.fromkeys(maps, 1.0) if self.levels is None else self.levels
        missing = [level for level in levels if level not in maps]
        if missing:
            have = ", ".join(map(str, sorted(maps)))
            raise UsageError(f"levels: the network has maps at {have}, none at {missing[0]}")
        distance = F.l1_loss if self.distance == "l1" else F.mse_loss
        parts = [
            weight * distance(_at_least_float32(maps[level]), _at_least_float32(target_maps[level]))
            for level, weight in levels.items()
        ]
        return torch.stack(parts).sum()


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


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
