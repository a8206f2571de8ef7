"""From names to networks: the one place where backbone and head meet."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from fcnseg.backbones import build_backbone
from fcnseg.catalogue import describe
from fcnseg.checks import check_choice
from fcnseg.classifiers import build_classifier
from fcnseg.download import Progress
from fcnseg.engine.checkpoint import load_tensors, read_model
from fcnseg.errors import UsageError, WeightsError
from fcnseg.heads import VARIANTS, Padding, SkipHead, UpsampleMode
from fcnseg.model import FCN, OUTPUT_STRIDES, ModelInfo
from fcnseg.own_classifier import ClassifierInfo, OwnClassifier
from fcnseg.palette import voc_palette
from fcnseg.preprocessing import Preprocessing

Net = TypeVar("Net", bound=nn.Module)


def build_fcn(
    backbone: str,
    variant: str,
    num_classes: int,
    weights: str = "none",
    padding: Padding = "same",
    upsample: UpsampleMode = "learned",
    classes: Sequence[str] | None = None,
    palette: Sequence[tuple[int, int, int]] | None = None,
    preprocessing: Preprocessing | None = None,
    progress: Progress | None = None,
    output_stride: int = 32,
    short_side: int | None = None,
) -> FCN:
    """An FCN, ready to train: (N, 3, H, W) preprocessed -> (N, num_classes, H, W) scores.

    >>> model = build_fcn("resnet18", "8s", num_classes=3, classes=["sea", "ship", "sky"])
    >>> model(torch.zeros(1, 3, 33, 47)).shape
    torch.Size([1, 3, 33, 47])

    Args:
        backbone: a name that ``fcnseg models`` lists.
        variant: ``"32s"``, ``"16s"``, ``"8s"`` or ``"8s-atonce"``.
        num_classes: score maps K, background included.
        weights: of the classifier: ``"auto"``, ``"none"`` or a file.
        padding: ``"same"`` or ``"paper"``.
        upsample: ``"learned"``, ``"fixed"`` or ``"dense"``.
        classes: K names; numbered ones if None.
        palette: K colours, 8-bit RGB; PASCAL VOC's if None.
        preprocessing: what the network expects of images; what its classifier does if None.
        progress: called with (bytes done, bytes in all or None) while weights are downloaded.
        output_stride: the coarsest stride left in the backbone, 32, 16 or 8: what went further is
            dilated, for finer score maps at more memory and time.
        short_side: what prediction and evaluation scale the short side of a photograph to, in
            pixels; None: they take it as it is.

    Raises:
        UsageError: a name, a variant or a count that does not fit.
        WeightsError: the weights cannot be had or do not fit.
    """
    check_choice("--variant", variant, list(VARIANTS))
    check_choice("--output-stride", output_stride, OUTPUT_STRIDES)
    if num_classes < 1 or num_classes > 255:
        raise UsageError(f"num_classes: expected 1 to 255 (255 is void), got {num_classes}")
    names = tuple(classes or (f"class {i}" for i in range(num_classes)))
    colours = tuple(palette or voc_palette(num_classes))
    if not len(names) == len(colours) == num_classes:
        raise UsageError(
            f"num_classes is {num_classes}, but there are {len(names)} class names and "
            f"{len(colours)} colours; they must be as many"
        )
    info = ModelInfo(
        backbone=backbone,
        variant=variant,
        padding=padding,
        upsample=upsample,
        classes=names,
        palette=colours,
        preprocessing=preprocessing or describe(backbone).preprocessing,
        output_stride=output_stride,
        short_side=short_side,
    )
    return _assemble(info, weights, progress)


def load(path: str | Path) -> FCN:
    """A trained FCN from a checkpoint, in evaluation mode, on the CPU; needs no network.

    Raises:
        WeightsError: the file is missing, damaged or not one of ours.
    """
    described, tensors = read_model(path)
    try:
        info = ModelInfo.from_dict(described)
        model = _empty(lambda: _assemble(info, "none"))
    except UsageError as error:
        raise WeightsError(f"{path}: {error}; it was written by another version") from error
    load_tensors(path, model, tensors)
    return model.eval()


def load_classifier(path: str | Path) -> OwnClassifier:
    """A trained classifier from a checkpoint, in evaluation mode, on the CPU.

    Raises:
        WeightsError: the file is missing, damaged or holds no classifier of ours.
    """
    described, tensors = read_model(path, "classifier")
    try:
        info = ClassifierInfo.from_dict(described)
        count = info.num_classes
        net = _empty(lambda: build_classifier(info.backbone, num_classes=count))
        model = OwnClassifier(net, info)
    except UsageError as error:
        raise WeightsError(f"{path}: {error}; it was written by another version") from error
    load_tensors(path, model, tensors)
    return model.eval()


def _empty(make: Callable[[], Net]) -> Net:
    """The network that ``make`` builds, whose numbers are about to be replaced."""
    # Shapes first: numbers that are replaced at once need not be drawn.
    with torch.device("meta"):
        net = make()
    stored = set(net.state_dict())
    if all(name in stored for name, _ in net.named_buffers()):
        return net.to_empty(device="cpu")
    return make()  # what no file stores, such as the filter of a blur pool, only building can give


def _assemble(info: ModelInfo, weights: str, progress: Progress | None = None) -> FCN:
    strides = VARIANTS[info.variant].strides
    backbone = build_backbone(
        info.backbone, weights, info.padding, strides, progress, info.output_stride
    )
    head = SkipHead(
        backbone.taps,
        backbone.channels,
        info.num_classes,
        info.variant,
        info.upsample,
        info.padding,
    )
    return FCN(backbone, head, info)
