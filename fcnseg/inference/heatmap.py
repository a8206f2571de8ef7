"""Where a network sees its classes in a photograph.

A classifier made fully convolutional classifies each cell of its last map by itself; geometry
says where in the photograph the cells lie, and the maps are laid over it from there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx
from torch.nn import functional as F

from fcnseg.checks import check_image, nearest
from fcnseg.devices import choose_device
from fcnseg.errors import NumericError, UsageError
from fcnseg.geometry import Geometry
from fcnseg.inference.predictor import Predictor
from fcnseg.preprocessing import Preprocessing
from fcnseg.trace import trace_features
from fcnseg.upsample import resample


@dataclass(frozen=True)
class ClassMaps:
    """Class scores over an image and where their cells lie.

    Attributes:
        score: (K, h, w) float32, as the network gave them, before softmax.
        classes: K names.
        stride: (vertical, horizontal) pixels of the image from cell to cell.
        offset: (vertical, horizontal) pixel at which cell (0, 0) is centred.
        image_score: (K,) float32 in [0, 1]: the class probabilities of the image as a whole,
            which rank the classes.
    """

    score: np.ndarray
    classes: tuple[str, ...]
    stride: tuple[float, float]
    offset: tuple[float, float]
    image_score: np.ndarray

    def top(self, count: int) -> list[int]:
        """The ids of the ``count`` best classes of the image, best first."""
        return [int(i) for i in np.argsort(-self.image_score, kind="stable")[:count]]

    def probabilities(self, ids: Sequence[int], size: Sequence[int]) -> np.ndarray:
        """Softmax over all classes in each cell, laid over the image.

        Args:
            ids: the classes to give.
            size: (H, W) of the image in pixels.

        Returns:
            (len(ids), H, W) float32 in [0, 1], bilinear between cell centres.
        """
        probability = torch.from_numpy(self.score).softmax(0)[list(ids)]
        laid = resample(probability[None], self.stride, self.offset, size)[0]
        return laid.clamp(0, 1).numpy()

    def hottest(self, class_id: int) -> tuple[float, float]:
        """The (row, column) in the image of the cell with the highest probability of a class."""
        probability = torch.from_numpy(self.score).softmax(0)[class_id]
        row, column = divmod(int(probability.argmax()), probability.shape[1])
        return (
            self.offset[0] + self.stride[0] * row,
            self.offset[1] + self.stride[1] * column,
        )


def find_classes(classes: Sequence[str], names: Sequence[str]) -> list[int]:
    """The ids of classes by their names, whatever the case.

    A whole name wins over whole words of a name, and these over any part of it: ``cat`` means
    the classes with the word, not ``catamaran``, unless no class has the word.

    Raises:
        UsageError: no class has this in its name; the message has the nearest name.
    """
    found: list[int] = []
    lower = [c.lower() for c in classes]
    for name in names:
        wanted = name.strip().lower()
        word = re.compile(rf"\b{re.escape(wanted)}\b")
        ids = (
            [i for i, c in enumerate(lower) if c == wanted]
            or [i for i, c in enumerate(lower) if word.search(c)]
            or [i for i, c in enumerate(lower) if wanted in c]
        )
        if not wanted or not ids:
            hint = nearest(wanted, classes) or nearest(wanted, lower)
            raise UsageError(f"--classes {name!r}: no class has this in its name{hint}")
        found += ids
    return list(dict.fromkeys(found))


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
    factor = (short_side or preprocessing.test_resize) / min(height, width)
    size = (max(round(height * factor), 1), max(round(width * factor), 1))
    on = choose_device(device)
    net.eval().to(on)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(on)
    pixels, place = _placed(net, _resized(pixels, size), preprocessing)
    with torch.inference_mode():
        score = net(preprocessing(pixels))[0].float().cpu()
    if not bool(torch.isfinite(score).all()):
        raise NumericError("the classifier's scores are not finite; check its weights")
    # A pixel p of the photograph is the pixel (p + 0.5) * scale - 0.5 of the scaled one.
    scale = (size[0] / height, size[1] / width)
    offset = [(o + 0.5) / s - 0.5 for o, s in zip(place.offset, scale, strict=True)]
    stride = [d / s for d, s in zip(place.stride, scale, strict=True)]
    return ClassMaps(
        score=score.numpy(),
        classes=tuple(classes),
        stride=(stride[0], stride[1]),
        offset=(offset[0], offset[1]),
        image_score=score.mean((1, 2)).softmax(0).numpy(),
    )


def _placed(
    net: fx.GraphModule, pixels: Tensor, preprocessing: Preprocessing
) -> tuple[Tensor, Geometry]:
    """The image and the geometry of its last map; a small one is first extended to one cell.

    It grows to the native size with the colour that means nothing to the network, at the right
    and the bottom, so that pixels keep their places.
    """
    height, width = pixels.shape[2:]
    try:
        features = trace_features(net, (height, width))
    except UsageError:
        native = preprocessing.native_size
        size = (max(height, native), max(width, native))
        if size == (height, width):
            raise
        fill = torch.tensor(preprocessing.fill, dtype=torch.uint8, device=pixels.device)
        larger = fill.view(1, 3, 1, 1).repeat(1, 1, *size)
        larger[:, :, :height, :width] = pixels
        pixels, features = larger, trace_features(net, size)
    geometry = features[_last_map(net)].geometry
    assert geometry is not None
    return pixels, geometry


def segmenter_maps(predictor: Predictor, image: np.ndarray) -> ClassMaps:
    """Class maps of a segmentation model, one cell a pixel; see :func:`classifier_maps`.

    The score of the whole image is the mean probability of the class over its pixels.
    """
    prediction = predictor(image)
    assert prediction.scores is not None
    return ClassMaps(
        score=prediction.scores,
        classes=predictor.model.info.classes,
        stride=(1.0, 1.0),
        offset=(0.0, 0.0),
        image_score=prediction.probabilities().mean(axis=(1, 2)),
    )


def _resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with antialiasing, as the classifiers were tested; uint8 in and out."""
    if size == tuple(pixels.shape[2:]):
        return pixels
    scaled = F.interpolate(pixels.float(), size, mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8)


def _last_map(net: fx.GraphModule) -> str:
    output = next(node for node in net.graph.nodes if node.op == "output")
    return str(output.all_input_nodes[0].name)
