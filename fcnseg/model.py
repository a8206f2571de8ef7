"""FCN: a backbone and a head; any size in, the same size out.

Prediction and evaluation take every network that looks like one from outside, a
:class:`Segmenter`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn, sym_max
from torch.nn import functional as F

from fcnseg.backbones import Backbone
from fcnseg.checks import check_batch, check_choice
from fcnseg.devices import autocast
from fcnseg.errors import DataError, NumericError, UsageError
from fcnseg.heads import VARIANTS, Padding, SkipHead, UpsampleMode
from fcnseg.preprocessing import Preprocessing, resize
from fcnseg.sizes import MOST_SCALED, scaled_size
from fcnseg.weights.state import shown

OUTPUT_STRIDES = (8, 16, 32)
"""Strides that the coarsest map of a backbone may have."""

_Own = TypeVar("_Own")
_KEYS_SHOWN = 4
_LATER = {"output_stride": 32, "short_side": None}


@dataclass(frozen=True)
class ModelInfo:
    """What a checkpoint has to say of a model: how to build it and what its classes mean.

    Attributes:
        backbone: name in the catalogue.
        variant: ``"32s"``, ``"16s"``, ``"8s"`` or ``"8s-atonce"``.
        padding: ``"same"`` or ``"paper"``.
        upsample: ``"learned"``, ``"fixed"`` or ``"dense"``.
        classes: K names.
        palette: K colours, 8-bit RGB.
        preprocessing: what the backbone expects.
        output_stride: coarsest stride in the backbone; layers beyond it are dilated.
        short_side: pixels that the short side of a photograph is scaled to before it is scored,
            as in training; None: photographs are scored as they are.
    """

    backbone: str
    variant: str
    padding: Padding
    upsample: UpsampleMode
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    preprocessing: Preprocessing
    output_stride: int = 32
    short_side: int | None = None
    kind: ClassVar[str] = "model"

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
            UsageError: a key is missing or unknown, a value is not of its kind, or there are not
                1 to 255 classes with as many colours.
        """
        if not isinstance(values, Mapping):
            raise UsageError(f"model description: expected keys and values, got {_said(values)}")
        known = {f.name for f in fields(cls)}
        # Models without these are older than the settings.
        if set(values) | _LATER.keys() != known:
            wrong = [shown(str(key)) for key in sorted((set(values) ^ known) - _LATER.keys())]
            raise UsageError(f"model description: missing or unknown keys {wrong[:_KEYS_SHOWN]}")
        _check_values({**_LATER, **values})
        check_choice("variant", values["variant"], list(VARIANTS))
        made = dict(values)
        made["classes"] = tuple(values["classes"])
        made["palette"] = tuple(tuple(colour) for colour in values["palette"])
        made["preprocessing"] = Preprocessing.from_dict(values["preprocessing"])
        return cls(**made)


def _check_values(values: Mapping[str, Any]) -> None:
    """Raise :class:`UsageError` unless every value of a model's description is of its kind."""
    classes, palette = values["classes"], values["palette"]
    stride = values["output_stride"]
    faults = {
        key: "a short name"
        for key in ("backbone", "variant", "padding", "upsample")
        if not isinstance(values[key], str) or shown(values[key]) != values[key]
    }
    if type(stride) is not int or stride not in OUTPUT_STRIDES:
        faults["output_stride"] = "8, 16 or 32"
    side = values["short_side"]
    if side is not None and (type(side) is not int or not 1 <= side <= MOST_SCALED):
        faults["short_side"] = "a number of pixels or nothing"
    if not _is_list(classes) or not all(isinstance(name, str) for name in classes):
        faults["classes"] = "a list of names"
    if not _is_list(palette) or not all(map(_is_colour, palette)):
        faults["palette"] = "a list of colours, each of three whole numbers from 0 to 255"
    if not isinstance(values["preprocessing"], Mapping):
        faults["preprocessing"] = "keys and values"
    if faults:
        key, expected = next(iter(faults.items()))
        raise UsageError(f"model description: {key}: expected {expected}, got {_said(values[key])}")
    if not 1 <= len(classes) == len(palette) <= 255:
        raise UsageError(
            "model description: expected 1 to 255 classes and a colour for each, got "
            f"{len(classes)} and {len(palette)}"
        )


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_colour(value: Any) -> bool:
    return (
        _is_list(value) and len(value) == 3 and all(type(c) is int and 0 <= c < 256 for c in value)
    )


def _said(value: Any) -> str:
    """A value out of an untrusted file, fit for a message."""
    plain = value is None or isinstance(value, (str, int, float))
    return shown(repr(value)) if plain else f"a {type(value).__name__}"


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
        check_batch("FCN", image_N3HW)
        height, width = image_N3HW.shape[2:]
        size = (height, width)
        if self.head.padding == "same":
            size = (self.extended(height), self.extended(width))
            if torch.compiler.is_exporting() or size != (height, width):
                image_N3HW = F.pad(image_N3HW, (0, size[1] - width, 0, size[0] - height))
        score_NKHW = self.head(self.backbone(image_N3HW), size)
        return score_NKHW[:, :, :height, :width]

    def extended(self, side: int) -> int:
        """What a side of an image, in pixels, is extended to with the padding ``"same"``."""
        multiple = self.backbone.multiple
        cells = (side + multiple - 1) // multiple
        least = self.backbone.smallest // multiple
        # A size in an exported program is a symbol, of which only sym_max takes the larger.
        return multiple * (max(cells, least) if isinstance(side, int) else sym_max(cells, least))


class SegmenterInfo(Protocol):
    """What prediction needs to know of a network; see :class:`ModelInfo`."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]: ...
    @property
    def preprocessing(self) -> Preprocessing: ...
    @property
    def short_side(self) -> int | None:
        """Pixels that the short side of a photograph is scaled to first; None: not scaled."""
        ...


class Segmenter(Protocol):
    """A module, preprocessed (N, 3, H, W) -> (N, K, H, W) scores, that says what it scores.

    An :class:`FCN` is one, and so is what :func:`fcnseg.segmenters.load_segmenter` gives.
    """

    training: bool

    @property
    def info(self) -> SegmenterInfo: ...
    def __call__(self, image_N3HW: Tensor, /) -> Tensor: ...
    def train(self: _Own, mode: bool = True) -> _Own: ...
    def eval(self: _Own) -> _Own: ...
    def to(self: _Own, *args: Any, **kwargs: Any) -> _Own: ...


def to_input(preprocessing: Preprocessing, images_N3HW: Tensor, device: torch.device) -> Tensor:
    """8-bit RGB images, (N, 3, H, W), to what a network takes: on ``device``, channels last."""
    pixels_N3HW = preprocessing(images_N3HW.to(device, non_blocking=True))
    return pixels_N3HW.contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def score_images(
    model: Segmenter, images_N3HW: Tensor, device: torch.device, precision: torch.dtype, what: str
) -> Tensor:
    """Scores of 8-bit images, computed on ``device``, where the model, in evaluation mode, is.

    Where the model wants another size, the images are scaled to it, and the scores are brought
    back: bilinear, so that each pixel has the score of its own place.

    Args:
        model: the network.
        images_N3HW: (N, 3, H, W) uint8 RGB, on any device.
        device: where to compute.
        precision: torch.float32, or the type of mixed precision.
        what: names the images in the error.

    Returns:
        (N, K, H, W) scores on ``device``.

    Raises:
        DataError: images so long that they cannot be scaled to the model's size.
        NumericError: scores that are not finite; labels made from them would mean nothing.
    """
    height, width = images_N3HW.shape[2:]
    if model.info.short_side is not None:
        size = scaled_size((height, width), model.info.short_side)
        if size[0] * size[1] > MOST_SCALED:
            raise DataError(
                f"{what}: {width}x{height} px would be scaled to {size[1]}x{size[0]}; crop it"
            )
        images_N3HW = resize(images_N3HW, size)
    with autocast(device, precision):
        score_NKHW = model(to_input(model.info.preprocessing, images_N3HW, device))
    if score_NKHW.shape[2:] != (height, width):
        score_NKHW = F.interpolate(score_NKHW.float(), (height, width), mode="bilinear")
    _check_finite(score_NKHW, what)
    return score_NKHW


def _check_finite(score_NKHW: Tensor, what: str) -> None:
    if not bool(torch.isfinite(score_NKHW).all()):
        raise NumericError(
            f"{what}: the network's scores are not finite; use an earlier checkpoint or "
            "--precision fp32"
        )
