"""A classifier of one's own classes, and what its checkpoint says of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from fcnseg.catalogue import describe
from fcnseg.checks import check_image
from fcnseg.classifiers import build_classifier
from fcnseg.download import Progress
from fcnseg.errors import UsageError
from fcnseg.last_layer import last_layer
from fcnseg.preprocessing import Preprocessing, centre_crop, from_array, resize
from fcnseg.sizes import scaled_size
from fcnseg.weights.state import shown

SMALLEST_SIZE = 32
"""Pixels that the images of a classifier have at least."""

_LONGEST = 4  # times its width: of an image that is longer, the centre shows nothing of the ends


@dataclass(frozen=True)
class ClassifierInfo:
    """What a checkpoint has to say of a classifier.

    Attributes:
        backbone: name in the catalogue.
        classes: K names.
        preprocessing: what it expects; ``native_size`` is the size it was trained at.
    """

    backbone: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    kind: ClassVar[str] = "classifier"

    @property
    def num_classes(self) -> int:
        """Count of classes K."""
        return len(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ClassifierInfo":
        """The inverse of :meth:`to_dict`.

        Raises:
            UsageError: a key is missing or unknown, or a value is not of its kind.
        """
        known = {"backbone", "classes", "preprocessing"}
        if not isinstance(values, Mapping) or set(values) != known:
            raise UsageError(f"classifier description: expected the keys {', '.join(known)}")
        backbone, classes = values["backbone"], values["classes"]
        if not isinstance(backbone, str) or shown(backbone) != backbone:
            raise UsageError("classifier description: backbone: expected a short name")
        names = isinstance(classes, (list, tuple)) and all(isinstance(c, str) for c in classes)
        if not names or len(classes) < 2:
            raise UsageError("classifier description: classes: expected two names or more")
        if not isinstance(values["preprocessing"], Mapping):
            raise UsageError("classifier description: preprocessing: expected keys and values")
        return cls(backbone, tuple(classes), Preprocessing.from_dict(values["preprocessing"]))


class OwnClassifier(nn.Module):
    """A network of the catalogue with a last layer for K classes of one's own.

    Args:
        net: (N, 3, H, W) preprocessed -> (N, K) scores.
        info: what it is and what its classes mean.
    """

    def __init__(self, net: nn.Module, info: ClassifierInfo) -> None:
        super().__init__()
        self.net, self.info = net, info
        self._last = last_layer(net, info.preprocessing.native_size)

    @property
    def head(self) -> nn.Module:
        """The last layer, which starts from nothing."""
        return self.net.get_submodule(self._last)

    def forward(self, image_N3HW: Tensor) -> Tensor:
        """Class scores: (N, 3, H, W) float, preprocessed -> (N, K), before any softmax."""
        scores: Tensor = self.net(image_N3HW)
        return scores


def build_own_classifier(
    backbone: str,
    classes: tuple[str, ...],
    weights: str = "none",
    size: int | None = None,
    progress: Progress | None = None,
) -> OwnClassifier:
    """A classifier ready to train; its last layer is random.

    Args:
        backbone: a name that ``fcnseg models`` lists.
        classes: K names, two or more.
        weights: of all layers but the last, as in
            :func:`~fcnseg.classifiers.build_classifier`.
        size: side in pixels of the images that it is trained on; None: the network's own.
        progress: called with (bytes done, bytes in all or None) while weights are downloaded.

    Raises:
        UsageError: no such backbone, fewer than two classes, or a size that is too small.
        WeightsError: the weights cannot be had or do not fit.
    """
    if len(classes) < 2:
        raise UsageError(f"a classifier needs two classes or more, got {len(classes)}")
    preprocessing = sized(describe(backbone).preprocessing, size)
    net = build_classifier(backbone, weights, progress, num_classes=len(classes))
    return OwnClassifier(net, ClassifierInfo(backbone, tuple(classes), preprocessing))


def sized(preprocessing: Preprocessing, size: int | None) -> Preprocessing:
    """The same for images of another side in pixels; tests show as much around them as before.

    Raises:
        UsageError: a size below :data:`SMALLEST_SIZE`.
    """
    if size is None:
        return preprocessing
    if size < SMALLEST_SIZE:
        raise UsageError(f"--image-size: expected {SMALLEST_SIZE} pixels or more, got {size}")
    resize_to = round(preprocessing.test_resize * size / preprocessing.native_size)
    return replace(preprocessing, native_size=size, test_resize=resize_to)


class CentreView:
    """The view of an image that a classifier is tested on: scaled, then its centre.

    Args:
        preprocessing: says the scale of the short side and the size of the crop.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def __call__(self, image: np.ndarray, seed: int = 0) -> np.ndarray:
        """(H, W, 3) uint8 RGB, any size -> (S, S, 3) uint8; ``seed`` changes nothing."""
        del seed
        check_image("image", image)
        how = self.preprocessing
        image = without_ends(image)
        pixels = from_array(image)[None]
        size = scaled_size((image.shape[0], image.shape[1]), how.test_resize)
        view = centre_crop(resize(pixels, size, how.interpolation), how.native_size)
        return view[0].permute(1, 2, 0).contiguous().numpy()


def without_ends(image: np.ndarray) -> np.ndarray:
    """The middle of a long strip, which would become very long when it is scaled."""
    most = _LONGEST * min(image.shape[:2])
    top, left = (max(0, (side - most) // 2) for side in image.shape[:2])
    return image[top : top + most, left : left + most]
