"""Where a network sees its classes in a photograph.

A classifier made fully convolutional classifies each cell of its last map by itself; geometry
says where in the photograph the cells lie, and the maps are laid over it from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, fx

from fcnseg.checks import check_image
from fcnseg.devices import choose_device
from fcnseg.errors import NumericError, UsageError
from fcnseg.geometry import Axis, Geometry
from fcnseg.inference.class_maps import ClassMaps
from fcnseg.inference.prediction import Prediction
from fcnseg.inference.predictor import Predictor
from fcnseg.inference.reach import Reach, reach
from fcnseg.preprocessing import Preprocessing, from_array, resize
from fcnseg.sizes import scaled_size
from fcnseg.trace import trace_features

# Photographs of one size have their cells in the same places, and finding these takes as long as a
# small network does.
_PLACES: WeakKeyDictionary[fx.GraphModule, dict[tuple[int, int], Geometry]] = WeakKeyDictionary()


def classifier_maps(
    net: fx.GraphModule,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    image: np.ndarray,
    short_side: int | None = None,
    device: str = "auto",
) -> ClassMaps:
    """Class maps of a convolutionalized classifier over one photograph.

    Args:
        net: from :func:`fcnseg.convolutionalize.convolutionalize`.
        preprocessing: what the classifier expects.
        classes: its K class names.
        image: (H, W, 3) uint8 RGB.
        short_side: pixels to scale the short side to first, since a classifier knows objects at
            the size it was trained at; None for what it was tested at.
        device: ``"auto"`` or the name of one.

    Returns:
        Maps whose stride and offset are in pixels of ``image`` itself. An image smaller than
        the classifier's window is extended at the right and the bottom. The score of the whole
        image is the softmax of the mean of the map, the *dense evaluation* of the VGG paper; for
        a network whose tail is affine it is exactly the classifier's on the uncropped image.

    Raises:
        UsageError: not an image.
        NumericError: scores that are not finite.
    """
    check_image("image", image)
    height, width = image.shape[:2]
    size = scaled_size((height, width), short_side or preprocessing.test_resize)
    on = choose_device(device)
    net.eval().to(on)
    pixels = from_array(image)[None].to(on)
    laid = _laid_out(net, resize(pixels, size, preprocessing.interpolation), preprocessing)
    score = _read(_scored(net, preprocessing, laid))
    if not bool(torch.isfinite(score).all()):
        raise NumericError("the classifier's scores are not finite; check its weights")
    # A pixel p of the photograph is the pixel (p + 0.5) * scale - 0.5 of the scaled one.
    scale = (size[0] / height, size[1] / width)
    offset = [(o + 0.5) / s - 0.5 for o, s in zip(laid.offset, scale, strict=True)]
    stride = [d / s for d, s in zip(laid.place.stride, scale, strict=True)]
    field = [f / s for f, s in zip(laid.place.field, scale, strict=True)]
    return ClassMaps(
        score=score.numpy(),
        classes=tuple(classes),
        stride=(stride[0], stride[1]),
        offset=(offset[0], offset[1]),
        image_score=score.mean((1, 2)).softmax(0).numpy(),
        field=None if laid.place.sees_all else (field[0], field[1]),
        sees_all=laid.place.sees_all,
    )


@dataclass(frozen=True)
class _Layout:
    """An image as a network gets it, and the cells of its map that lie in the image."""

    pixels: Tensor
    cells: tuple[int, int]
    place: Geometry
    offset: tuple[float, float]


def _laid_out(net: fx.GraphModule, pixels: Tensor, preprocessing: Preprocessing) -> _Layout:
    """Extend an image, in the colour that means nothing to the network, until its map covers it.

    At the right and the bottom up to the size at which a small image gives a cell. At the top and
    the left where the map begins late and goes on behind the image: networks padded as TensorFlow
    does it, once they are dilated.
    """
    fill, native = preprocessing.fill, preprocessing.native_size
    height, width = pixels.shape[2:]
    try:
        place = _last_place(net, (height, width))
    except UsageError:
        if native <= min(height, width):
            raise
        pixels = _extended(pixels, fill, (0, 0), (max(height, native), max(width, native)))
        height, width = pixels.shape[2:]
        place = _last_place(net, (height, width))
    late = [_late(axis, side) for axis, side in ((place.y, height), (place.x, width))]
    if any(late):
        pixels = _extended(pixels, fill, (late[0], late[1]), (height + late[0], width + late[1]))
        place = _last_place(net, tuple(pixels.shape[2:]))
    offset = [axis.offset - before for axis, before in zip((place.y, place.x), late, strict=True)]
    cells = [
        max(sum(o + axis.stride * i <= side - 1 for i in range(axis.size)), 1)
        for axis, o, side in zip((place.y, place.x), offset, (height, width), strict=True)
    ]
    return _Layout(pixels, (cells[0], cells[1]), place, (offset[0], offset[1]))


@torch.inference_mode()
def _scored(net: fx.GraphModule, preprocessing: Preprocessing, laid: _Layout) -> Tensor:
    """(K, h, w) float32 scores of the cells in the image, on the device of its pixels."""
    score_NKhw = net(preprocessing(laid.pixels))
    return score_NKhw[0, :, : laid.cells[0], : laid.cells[1]].float()


def _read(score_Khw: Tensor) -> Tensor:
    return score_Khw.cpu()


def _late(axis: Axis, side: int) -> int:
    """Pixels to add before an image of ``side`` for its first cell to lie within one stride."""
    behind = axis.offset + axis.stride * (axis.size - 1) > side - 1
    return int(axis.stride * (axis.offset // axis.stride)) if behind else 0


def _extended(
    pixels: Tensor, fill: Sequence[int], start: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    colour = torch.tensor(fill, dtype=torch.uint8, device=pixels.device)
    larger = colour.view(1, 3, 1, 1).repeat(1, 1, *size)
    (top, left), (height, width) = start, pixels.shape[2:]
    larger[:, :, top : top + height, left : left + width] = pixels
    return larger


def _last_place(net: fx.GraphModule, size: Sequence[int]) -> Geometry:
    known, own = _PLACES.setdefault(net, {}), (size[0], size[1])
    if own not in known:
        geometry = trace_features(net, own)[_last_map(net)].geometry
        assert geometry is not None
        known[own] = geometry
    return known[own]


def segmenter_maps(predictor: Predictor, image: np.ndarray, name: str = "image") -> ClassMaps:
    """Class maps of a segmentation model, one cell a pixel; see :func:`classifier_maps`.

    The score of the whole image is the mean probability of the class over its pixels. ``name``
    is what errors call the image.
    """
    return prediction_maps(predictor, predictor(image, name=name))


def prediction_maps(predictor: Predictor, prediction: Prediction) -> ClassMaps:
    """The same of what the predictor gave for an image already, with its scores."""
    assert prediction.scores is not None
    known, size = reach(predictor.model), (prediction.labels.shape[0], prediction.labels.shape[1])
    return ClassMaps(
        score=prediction.scores,
        classes=predictor.model.info.classes,
        stride=(1.0, 1.0),
        offset=(0.0, 0.0),
        image_score=prediction.probabilities().mean(axis=(1, 2)),
        field=_reached(known, predictor, size) if known and not known.sees_all else None,
        sees_all=known is not None and known.sees_all,
    )


def _reached(known: Reach, predictor: Predictor, size: tuple[int, int]) -> tuple[float, float]:
    """The square of pixels that a pixel's scores depend on, in pixels of the photograph."""
    side, scaled = 2 * known.pixels + 1, size
    if predictor.model.info.short_side is not None:
        scaled = scaled_size(scaled, predictor.model.info.short_side)
    return side * size[0] / scaled[0], side * size[1] / scaled[1]


def _last_map(net: fx.GraphModule) -> str:
    output = next(node for node in net.graph.nodes if node.op == "output")
    return str(output.all_input_nodes[0].name)
