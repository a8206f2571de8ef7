"""FCN: a backbone and a head; any size in, the same size out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcnseg.backbones import Backbone
from fcnseg.checks import check_choice
from fcnseg.devices import autocast
from fcnseg.errors import NumericError, UsageError
from fcnseg.heads import VARIANTS, Padding, SkipHead, UpsampleMode
from fcnseg.preprocessing import Preprocessing


@dataclass(frozen=True)
class ModelInfo:
    """What a checkpoint has to say of a model: how to build it and what its classes mean.

    Attributes:
        backbone: name in the catalogue.
        variant: ``"32s"``, ``"16s"``, ``"8s"`` or ``"8s-atonce"``.
        padding: ``"same"`` or ``"paper"``.
        upsample: ``"learned"`` or ``"fixed"``.
        classes: K names.
        palette: K colours, 8-bit RGB.
        preprocessing: what the backbone expects.
    """

    backbone: str
    variant: str
    padding: Padding
    upsample: UpsampleMode
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    preprocessing: Preprocessing

    @property
    def num_classes(self) -> int:
        """Count of classes K."""
        return len(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelInfo":
        """The inverse of :meth:`to_dict`.

        Raises:
            UsageError: a key is missing or unknown, or the variant is.
        """
        known = {f.name for f in fields(cls)}
        if set(values) != known:
            wrong = sorted(set(values) ^ known)
            raise UsageError(f"model description: missing or unknown keys {wrong}")
        check_choice("variant", values["variant"], list(VARIANTS))
        made = dict(values)
        made["classes"] = tuple(values["classes"])
        made["palette"] = tuple(tuple(colour) for colour in values["palette"])
        made["preprocessing"] = Preprocessing.from_dict(values["preprocessing"])
        return cls(**made)


class FCN(nn.Module):
    """A fully convolutional network (Long, Shelhamer and Darrell 2015).

    Args:
        backbone: gives maps at the strides of the head.
        head: fuses them to scores.
        info: how it was built and what its classes mean.
    """

    def __init__(self, backbone: Backbone, head: SkipHead, info: ModelInfo) -> None:
        super().__init__()
        self.backbone, self.head, self.info = backbone, head, info

    def forward(self, image_N3HW: Tensor) -> Tensor:
        """Score every pixel.

        The image is extended with zeros (the mean colour, after preprocessing) at its right and
        bottom to a size at which the geometry of the backbone holds; the scores are cropped to
        the image. With the paper's padding nothing is extended.

        Args:
            image_N3HW: (N, 3, H, W) float, preprocessed; H and W from 1 up.

        Returns:
            (N, K, H, W) scores, before any softmax.

        Raises:
            UsageError: not (N, 3, H, W).
        """
        if image_N3HW.dim() != 4 or image_N3HW.shape[1] != 3 or 0 in image_N3HW.shape:
            raise UsageError(f"FCN: expected an (N, 3, H, W) batch, got {tuple(image_N3HW.shape)}")
        height, width = image_N3HW.shape[2:]
        size = (height, width)
        if self.head.padding == "same":
            size = (self._extended(height), self._extended(width))
            if size != (height, width):
                image_N3HW = F.pad(image_N3HW, (0, size[1] - width, 0, size[0] - height))
        score_NKHW = self.head(self.backbone(image_N3HW), size)
        return score_NKHW[:, :, :height, :width]

    def _extended(self, side: int) -> int:
        multiple = self.backbone.multiple
        return max(-(-side // multiple) * multiple, self.backbone.smallest)


def to_input(model: FCN, images_N3HW: Tensor, device: torch.device) -> Tensor:
    """8-bit RGB images, (N, 3, H, W), to what ``model`` takes: on ``device``, channels last."""
    pixels_N3HW = model.info.preprocessing(images_N3HW.to(device, non_blocking=True))
    return pixels_N3HW.contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def score_images(
    model: FCN, images_N3HW: Tensor, device: torch.device, precision: torch.dtype, what: str
) -> Tensor:
    """Scores of 8-bit images, computed on ``device``, where the model, in evaluation mode, is.

    Args:
        model: the network.
        images_N3HW: (N, 3, H, W) uint8 RGB, on any device.
        device: where to compute.
        precision: torch.float32, or the type of mixed precision.
        what: names the images in the error.

    Returns:
        (N, K, H, W) scores on ``device``.

    Raises:
        NumericError: scores that are not finite; labels made from them would mean nothing.
    """
    with autocast(device, precision):
        score_NKHW: Tensor = model(to_input(model, images_N3HW, device))
    if not bool(torch.isfinite(score_NKHW).all()):
        raise NumericError(
            f"{what}: the network's scores are not finite; use an earlier checkpoint or "
            "--precision fp32"
        )
    return score_NKHW
