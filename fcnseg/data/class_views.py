"""Random views of an image for training a classifier: a part of it, mirrored, in other colours."""

import math

import numpy as np

from fcnseg.checks import check_image
from fcnseg.data.colours import colour_map, mean_colour, recoloured
from fcnseg.data.cropping import Crop, cut_image
from fcnseg.errors import UsageError

_ASPECT = 4 / 3  # the longest side of a part, relative to its shortest
_TRIES = 10


class RandomView:
    """A random part of an image at a fixed size, as ImageNet's classifiers were trained.

    Args:
        size: side in pixels of the square that comes out.
        smallest_share: of the image's area that a part has at least, above 0, at most 1. At 1 it
            is the whole image, whatever its shape.
        flip: probability of the mirror image, 0 to 1.
        colour: strength of the random colours, 0 to 1: at 1 brightness and contrast change by
            factors of 0.7 to 1.3, saturation by 0.6 to 1.4, hue by up to 0.03 turns.

    Raises:
        UsageError: a value is out of range.
    """

    def __init__(
        self, size: int, smallest_share: float = 0.5, flip: float = 0.5, colour: float = 1.0
    ) -> None:
        if size < 1:
            raise UsageError(f"--image-size: expected 1 pixel or more, got {size}")
        if not 0 < smallest_share <= 1:
            raise UsageError(f"--crop-share: expected above 0, at most 1, got {smallest_share}")
        for flag, value in (("--flip", flip), ("--colour", colour)):
            if not 0 <= value <= 1:
                raise UsageError(f"{flag}: expected 0 to 1, got {value}")
        self.size, self.smallest_share = size, smallest_share
        self.flip, self.colour = flip, colour

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> a new (size, size, 3) uint8, a function of image and ``seed``."""
        check_image("image", image)
        numbers = np.random.default_rng(seed)
        rows, columns = self._part((image.shape[0], image.shape[1]), numbers)
        view = cut_image(image, Crop(rows, columns, (self.size,) * 2, (self.size,) * 2))
        if numbers.random() < self.flip:
            view = view[:, ::-1]
        if self.colour:
            near, far = numbers.uniform(-self.colour, self.colour, (2, 2))
            drawn = 1 + 0.3 * near[0], 1 + 0.3 * near[1], 1 + 0.4 * far[0], 0.03 * far[1]
            view = recoloured(view, colour_map(*drawn, mean_colour(view)))
        return np.ascontiguousarray(view)

    def _part(
        self, size: tuple[int, int], numbers: np.random.Generator
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """The (start, end) of the rows and of the columns of a part."""
        height, width = size
        if self.smallest_share == 1:
            return (0, height), (0, width)
        reach = math.log(_ASPECT)
        for _ in range(_TRIES):
            area = height * width * numbers.uniform(self.smallest_share, 1)
            aspect = math.exp(numbers.uniform(-reach, reach))
            h, w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
            if 1 <= h <= height and 1 <= w <= width:
                return _placed(h, height, numbers), _placed(w, width, numbers)
        # A strip has no part of such a share and shape: as much of it as has the shape.
        h, w = min(height, round(width * _ASPECT)), min(width, round(height * _ASPECT))
        return _placed(max(1, h), height, numbers), _placed(max(1, w), width, numbers)


def _placed(length: int, whole: int, numbers: np.random.Generator) -> tuple[int, int]:
    start = int(numbers.integers(whole - length + 1))
    return start, start + length
