"""A network made ready to map photographs, one after the other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from torch import nn

from fcnseg.convolutionalize import convolutionalize
from fcnseg.dilate import dilate
from fcnseg.errors import UsageError
from fcnseg.inference.class_maps import ClassMaps
from fcnseg.inference.heatmap import classifier_maps, segmenter_maps
from fcnseg.inference.predictor import Predictor
from fcnseg.palette import Colour
from fcnseg.preprocessing import Preprocessing
from fcnseg.sizes import check_scaled


class Mapper(Protocol):
    """What gives the class maps of a photograph.

    Attributes:
        classes: K names.
        palette: K colours, 8-bit RGB; None for classes that have none.
    """

    classes: tuple[str, ...]
    palette: tuple[Colour, ...] | None

    def __call__(self, image: np.ndarray, name: str = "image") -> ClassMaps:
        """The maps of (H, W, 3) uint8 RGB; ``name`` is what errors call it.

        Raises:
            UsageError: not an image.
            DataError: an image that becomes too large once it is scaled.
            NumericError: scores that are not finite.
        """
        ...


class ClassifierMapper:
    """A classifier, convolutionalized once for all photographs.

    Args:
        classifier: (N, 3, H, W) -> (N, K); stays as it is.
        preprocessing: what it expects.
        classes: its K names.
        stride: pixels from cell to cell of the map, in those of the scaled photograph; None: the
            classifier's own.
        size: pixels that the short side is scaled to first; ``"native"`` for none; None: what the
            classifier was tested at. Not checked here: see :func:`fcnseg.heatmaps.check_settings`.
        device: ``"auto"`` or the name of one.

    Raises:
        UsageError: the classifier cannot be rewritten, or does not have this stride.
    """

    palette: tuple[Colour, ...] | None = None

    def __init__(
        self,
        classifier: nn.Module,
        preprocessing: Preprocessing,
        classes: Sequence[str],
        stride: int | None = None,
        size: int | str | None = None,
        device: str = "auto",
    ) -> None:
        self.classes = tuple(classes)
        self._preprocessing, self._size, self._device = preprocessing, size, device
        self._net = self._fine = convolutionalize(classifier, preprocessing.native_size)
        if stride is not None:
            try:
                self._fine = dilate(self._net, stride, preprocessing.native_size)
            except UsageError as error:
                raise UsageError(f"stride: {error}") from error

    def __call__(self, image: np.ndarray, name: str = "image") -> ClassMaps:
        """See :class:`Mapper`."""
        size = (image.shape[0], image.shape[1])
        side = min(size) if self._size == "native" else self._size
        side = self._preprocessing.test_resize if side is None else side
        assert isinstance(side, int)
        check_scaled(name, size, side, "size")
        how = self._preprocessing, self.classes, image, side, self._device
        maps = classifier_maps(self._fine, *how)
        if self._fine is self._net:
            return maps
        # What the whole photograph shows does not depend on how finely it is looked at.
        return replace(maps, image_score=classifier_maps(self._net, *how).image_score)


class SegmenterMapper:
    """A segmentation model; its maps have one cell a pixel.

    Args:
        predictor: the model on its device.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.classes: tuple[str, ...] = predictor.model.info.classes
        self.palette: tuple[Colour, ...] | None = predictor.model.info.palette

    def __call__(self, image: np.ndarray, name: str = "image") -> ClassMaps:
        """See :class:`Mapper`."""
        return segmenter_maps(self._predictor, image, name)
