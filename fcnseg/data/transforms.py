"""Augmentation of training samples: random scale, crop, flip and colour, image and label alike.

Labels are resampled by nearest neighbour on pixel centres, so they are never interpolated and
never gain a label but void, which fills what lies outside the image.
"""

import os
import random
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network when imported

import albumentations as A
import cv2

from fcnseg.checks import check_image, check_labels, check_same_size
from fcnseg.data.sample import VOID, Colour
from fcnseg.errors import UsageError


class TrainingTransform:
    """Random scale, crop, mirror image and colour, all drawn from the seed of the call.

    Args:
        crop_size: (height, width) of the result, in pixels.
        scale: (lowest, highest) factor of the random scale; (1, 1) keeps the size.
        flip: probability of the mirror image, 0 to 1.
        colour: whether brightness, contrast, saturation and hue vary.
        fill: (r, g, b) around images smaller than the crop; their labels are 255 there.

    Raises:
        UsageError: a value is out of range.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        scale: tuple[float, float] = (0.5, 2.0),
        flip: float = 0.5,
        colour: bool = True,
        fill: Colour = (0, 0, 0),
    ) -> None:
        if len(crop_size) != 2 or min(crop_size) < 1:
            raise UsageError(f"--crop-size: expected height and width above 0, got {crop_size}")
        low, high = scale
        if not 0 < low <= high < float("inf"):
            raise UsageError(f"scale: expected 0 < lowest <= highest, got {scale}")
        if not 0 <= flip <= 1:
            raise UsageError(f"flip: expected a probability from 0 to 1, got {flip}")
        self.crop_size = (int(crop_size[0]), int(crop_size[1]))
        self.scale = (float(low), float(high))
        self.flip = float(flip)
        self.colour = bool(colour)
        self.fill = (int(fill[0]), int(fill[1]), int(fill[2]))
        self._finish = A.Compose(_steps(self.crop_size, self.flip, self.colour, self.fill))

    def __call__(
        self, image: np.ndarray, label: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a new (h, w, 3) uint8 image and (h, w) uint8 label of the crop size.

        Args:
            image: (H, W, 3) uint8 RGB; not changed.
            label: (H, W) uint8 class ids; not changed.
            seed: 0 or more; the same seed gives the same result in any process.

        Raises:
            UsageError: shapes, types or sizes are wrong, or the seed is negative.
        """
        check_image("image", image)
        check_labels("label", label)
        check_same_size("image", image.shape[:2], "label", label.shape)
        if seed < 0:
            raise UsageError(f"seed: expected 0 or more, got {seed}")
        numbers = np.random.default_rng(int(seed))
        factor = numbers.uniform(*self.scale)
        image, label = _scaled_crop(image, label, factor, self.crop_size, numbers)
        # One state handed to every step: `set_random_seed` gives each step its own copy of the
        # same state, so that the draws of different steps would hang together.
        self._finish.set_random_state(numbers, random.Random(int(numbers.integers(2**63))))
        done = self._finish(image=image, mask=label)
        return np.ascontiguousarray(done["image"]), np.ascontiguousarray(done["mask"])


def _steps(crop_size: tuple[int, int], flip: float, colour: bool, fill: Colour) -> list[Any]:
    steps: list[Any] = [A.HorizontalFlip(p=flip)]
    if colour:
        jitter = A.ColorJitter(
            brightness=(0.7, 1.3), contrast=(0.7, 1.3), saturation=(0.6, 1.4), hue=(-0.03, 0.03)
        )
        jitter.p = 0.8
        steps.append(jitter)
    # Padding comes last, so that the colours leave the fill as it is.
    steps.append(
        A.PadIfNeeded(
            min_height=crop_size[0],
            min_width=crop_size[1],
            position="random",
            border_mode=cv2.BORDER_CONSTANT,
            fill=fill,
            fill_mask=VOID,
            p=1.0,
        )
    )
    return steps


def _scaled_crop(
    image: np.ndarray,
    label: np.ndarray,
    factor: float,
    crop_size: tuple[int, int],
    numbers: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Scale by ``factor`` and cut out at most ``crop_size`` at a random place.

    The part that is needed is cut out before scaling, so that a photograph of 50 million pixels
    costs no more than the crop.
    """
    source, target = [], []
    for length, wanted in zip(image.shape[:2], crop_size, strict=True):
        scaled = max(1, round(length * factor))
        size = min(wanted, scaled)
        need = min(length, max(1, round(size * length / scaled)))
        start = int(numbers.integers(length - need + 1))
        source.append(slice(start, start + need))
        target.append(size)
    image, label = image[source[0], source[1]], label[source[0], source[1]]
    if image.shape[:2] == tuple(target):
        return image, label
    resized = cv2.resize(
        image,
        (target[1], target[0]),
        interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR,
    )
    # INTER_NEAREST takes the upper left pixel, which shifts labels by up to half a pixel.
    return resized, cv2.resize(label, (target[1], target[0]), interpolation=cv2.INTER_NEAREST_EXACT)
