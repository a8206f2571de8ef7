"""Segmentation networks of torchvision, with their published weights: nothing to train.

They were trained on the images of COCO that show one of PASCAL VOC's 20 classes, and score these
and the background.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from fcnseg.catalogue import catalogue, published_digest
from fcnseg.checks import check_batch, nearest
from fcnseg.download import Progress, cache_path, fetch
from fcnseg.errors import UsageError, WeightsError
from fcnseg.palette import voc_palette
from fcnseg.preprocessing import Preprocessing
from fcnseg.weights.state import load_into, read_state

_PREFIX = "torchvision/"
_NETWORKS = (
    *("fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101"),
    *("deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"),
)
_OTHERWISE = "give your own copy by --weights FILE"
_AUXILIARY = "aux_classifier."  # helps training, scores nothing


@dataclass(frozen=True)
class NetworkInfo:
    """What a network of :func:`segmenters` scores, and where its weights come from.

    Attributes:
        name: as in ``--model``.
        classes: the 21 names of PASCAL VOC, background first.
        palette: their colours, 8-bit RGB.
        preprocessing: what the network expects.
        short_side: pixels that the short side of a photograph is scaled to first.
        url: where the published weights are downloaded from.
        sha256: the first digits of their sha256, as far as they are published.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    preprocessing: Preprocessing
    short_side: int
    url: str
    sha256: str

    @property
    def num_classes(self) -> int:
        """Count of classes K."""
        return len(self.classes)


def segmenters() -> tuple[str, ...]:
    """Names of all networks, as ``--model`` takes them."""
    return tuple(_PREFIX + name for name in _NETWORKS)


def describe_segmenter(name: str) -> NetworkInfo:
    """The network of a name; builds nothing and reads no file.

    Raises:
        UsageError: no such network; the message has the nearest name.
    """
    own_name = _own_name(name)
    weights = models.get_model_weights(own_name)["COCO_WITH_VOC_LABELS_V1"]
    preset = weights.transforms()
    (short_side,) = preset.resize_size
    classes = tuple(c.strip("_") for c in weights.meta["categories"])  # __background__
    return NetworkInfo(
        name=name,
        classes=classes,
        palette=voc_palette(len(classes)),
        preprocessing=Preprocessing(
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            native_size=short_side,
            test_resize=short_side,
        ),
        short_side=short_side,
        url=weights.url,
        sha256=published_digest(weights.url),
    )


def segmenter_weights_at_hand(name: str) -> str | None:
    """Where the published weights lie on this machine, None if they would be downloaded."""
    path = cache_path(describe_segmenter(name).url)
    return str(path) if path.is_file() else None


class TorchvisionSegmenter(nn.Module):
    """A segmentation network of torchvision that gives its scores alone.

    Its tensors have torchvision's names.

    Args:
        backbone: (N, 3, H, W) -> maps by name.
        classifier: the map ``"out"``, or all where there is none of this name -> scores.
        info: what it scores.
    """

    def __init__(self, backbone: nn.Module, classifier: nn.Module, info: NetworkInfo) -> None:
        super().__init__()
        self.backbone, self.classifier, self.info = backbone, classifier, info

    def forward(self, image_N3HW: Tensor) -> Tensor:
        """Score every pixel: preprocessed (N, 3, H, W) -> (N, 21, H, W), before any softmax.

        Raises:
            UsageError: not (N, 3, H, W).
        """
        check_batch(self.info.name, image_N3HW)
        features = self.backbone(image_N3HW)
        score_NKhw = self.classifier(features.get("out", features))
        # In the type of the image: mixed precision would leave steps between the cells.
        score_NKhw = score_NKhw.to(image_N3HW.dtype)
        return F.interpolate(score_NKhw, image_N3HW.shape[2:], mode="bilinear")


def load_segmenter(
    name: str,
    weights: str | os.PathLike[str] = "auto",
    progress: Progress | None = None,
) -> TorchvisionSegmenter:
    """A segmentation network with its weights, in evaluation mode, on the CPU.

    Args:
        name: one of :func:`segmenters`.
        weights: ``"auto"``: the published ones, from the cache or a download; otherwise the path
            of a state dict of torchvision's network, with or without its auxiliary classifier,
            which is left out.
        progress: called with (bytes done, bytes in all or None) while weights are downloaded.

    Raises:
        UsageError: no such network.
        WeightsError: the weights cannot be had, are damaged or do not fit; the message says where
            to put the file by hand.
    """
    info = describe_segmenter(name)
    path = Path(weights)
    if weights == "auto":
        path = fetch(
            info.url, info.sha256, fault=WeightsError, otherwise=_OTHERWISE, progress=progress
        )
    state = read_state(path)
    # Shapes first: numbers that are replaced at once need not be drawn.
    with torch.device("meta"):
        net = models.get_model(_own_name(name), weights=None, weights_backbone=None)
    model = TorchvisionSegmenter(net.backbone, net.classifier, info).to_empty(device="cpu")
    for own, buffer in model.named_buffers():
        if own.endswith("num_batches_tracked"):
            buffer.zero_()  # the one kind of tensor that a file may lack
    if hasattr(net, "aux_classifier"):  # None here, in files of these networks perhaps not
        state = {n: tensor for n, tensor in state.items() if not n.startswith(_AUXILIARY)}
    load_into(model, state, path)
    return model.eval()


def _own_name(name: str) -> str:
    """The name within torchvision."""
    own_name = name.removeprefix(_PREFIX)
    if name in segmenters():
        return own_name
    if own_name in catalogue() or name.startswith("timm/"):
        raise UsageError(
            f"--model {name}: a classifier, not a segmentation network; `fcnseg heatmap --backbone "
            f"{own_name}` shows where it sees its classes, and `fcnseg train --backbone "
            f"{own_name}` makes a segmentation network of it"
        )
    if Path(name).is_file():
        raise UsageError(f"--model {name}: is a file; give it by --checkpoint or --weights")
    if own_name in _NETWORKS:
        raise UsageError(f"--model {name}: unknown; did you mean {_PREFIX + own_name!r}?")
    raise UsageError(
        f"--model {name}: unknown{nearest(own_name, _NETWORKS)}; expected {_PREFIX} and one of "
        f"{', '.join(_NETWORKS)}"
    )
