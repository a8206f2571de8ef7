"""Augmentation of training samples: random scale, crop, turn, flip, colour and blur.

Image and label go through the same geometry (``cropping.py``). Labels are resampled by nearest
neighbour on pixel centres, so they are never interpolated and never gain a label but void, which
fills what lies outside the image. The steps after it are albumentations'.
"""

import os
import random
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network when imported

import albumentations as A
import cv2

from fcnseg.checks import check_image, check_labels, check_same_size
from fcnseg.data.colours import colour_map, mean_colour, recoloured
from fcnseg.data.cropping import Crop, beyond, cut_image, cut_label, draw_crop, largest_share
from fcnseg.data.sample import VOID, Colour
from fcnseg.errors import UsageError

_COLOURED = 0.8
_BLUR_SIGMA = (0.3, 1.5)
_MORE_CROPS = 10


class TrainingTransform:
    """Random crops of a sample, all drawn from the seed of the call.

    Args:
        crop_size: (height, width) of the result, in pixels; None for whole images, scaled and
            turned in place.
        scale: (smallest, largest) factor of the random scaling; (1, 1) keeps the size.
        flip: probability of the mirror image, 0 to 1.
        rotate: largest angle of the random rotation, 0 to 180 degrees either way.
        colour: strength of the random colours, 0 to 1. At 1, four of five samples are changed:
            brightness and contrast by factors of 0.7 to 1.3, saturation by 0.6 to 1.4, hue by up
            to 0.03 turns; the ranges shrink with the strength, and at 0 nothing changes.
        blur: probability of blurring, 0 to 1; Gaussian, with a sigma of 0.3 to 1.5 pixels of the
            result.
        max_class_share: above 0, at most 1. A crop in which one class has more than this share of
            the labelled pixels is drawn again, at another place and at most ten times; if none
            will do, it is the one of the smallest such share.
        fill: (r, g, b) of what lies outside the image; its labels are 255.

    Raises:
        UsageError: a value is out of range.
    """

    def __init__(
        self,
        crop_size: tuple[int, int] | None,
        scale: tuple[float, float] = (0.5, 2.0),
        flip: float = 0.5,
        rotate: float = 0.0,
        colour: float = 1.0,
        blur: float = 0.0,
        max_class_share: float = 1.0,
        fill: Colour = (0, 0, 0),
    ) -> None:
        if crop_size is not None and (len(crop_size) != 2 or min(crop_size) < 1):
            raise UsageError(f"--crop-size: expected height and width above 0, got {crop_size}")
        low, high = scale
        if not 0 < low <= high < float("inf"):
            raise UsageError(
                f"--scale-min, --scale-max: expected 0 < smallest <= largest, got {low} and {high}"
            )
        for flag, value, most in (
            ("--flip", flip, 1),
            ("--rotate", rotate, 180),
            ("--colour", colour, 1),
            ("--blur", blur, 1),
        ):
            if not 0 <= value <= most:
                raise UsageError(f"{flag}: expected 0 to {most}, got {value}")
        if not 0 < max_class_share <= 1:
            raise UsageError(
                f"--max-class-share: expected above 0 and at most 1, got {max_class_share}"
            )
        self.crop_size = None if crop_size is None else (int(crop_size[0]), int(crop_size[1]))
        self.scale = (float(low), float(high))
        self.rotate = float(rotate)
        self.max_class_share = float(max_class_share)
        self.fill = (int(fill[0]), int(fill[1]), int(fill[2]))
        self._finish = A.Compose(
            _steps(self.crop_size, float(flip), float(colour), float(blur), self.fill),
            additional_targets={"beyond": "mask"},
        )

    def __call__(
        self, image: np.ndarray, label: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a new (h, w, 3) uint8 image and (h, w) uint8 label of the crop size.

        Args:
            image: (H, W, 3) uint8 RGB; not changed, and may be read-only.
            label: (H, W) uint8 class ids; likewise.
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
        crop, part = self._draw(label, numbers)
        parts = {"image": cut_image(image, crop), "mask": part}
        if (outside := beyond(crop)) is not None:
            parts["beyond"] = outside
        # One state handed to every step: `set_random_seed` gives each step its own copy of the
        # same state, so that the draws of different steps would hang together.
        self._finish.set_random_state(numbers, random.Random(int(numbers.integers(2**63))))
        done = self._finish(**parts)
        # Last, so that colours and blur leave the fill as it is.
        if outside is not None:
            done["image"][done["beyond"] != 0] = self.fill
        return np.ascontiguousarray(done["image"]), np.ascontiguousarray(done["mask"])

    def _draw(self, label: np.ndarray, numbers: np.random.Generator) -> tuple[Crop, np.ndarray]:
        """Return a crop that no class fills too much, if one is found, and its labels."""
        factor = numbers.uniform(*self.scale)
        angle = numbers.uniform(-self.rotate, self.rotate) if self.rotate else 0.0
        size = (label.shape[0], label.shape[1])
        whole = (max(round(size[0] * factor), 1), max(round(size[1] * factor), 1))
        how = (size, self.crop_size or whole, factor, angle, numbers)
        best = draw_crop(*how)
        best_label = cut_label(label, best)
        if self.max_class_share == 1:
            return best, best_label
        smallest = largest_share(best_label)
        for _ in range(_MORE_CROPS):
            if smallest <= self.max_class_share:
                break
            crop = draw_crop(*how)
            crop_label = cut_label(label, crop)
            share = largest_share(crop_label)
            if share < smallest:
                best, best_label, smallest = crop, crop_label, share
        return best, best_label


class _Colours(A.ImageOnlyTransform):
    """Brightness, contrast, saturation and hue at once, in random strengths."""

    def __init__(self, strength: float, p: float) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        del params

        def around(middle: float, most: float) -> float:
            reach = most * self.strength
            return self.py_random.uniform(middle - reach, middle + reach)

        drawn = around(1, 0.3), around(1, 0.3), around(1, 0.4), around(0, 0.03)
        return {"matrix": colour_map(*drawn, mean_colour(data["image"]))}

    def apply(self, img: np.ndarray, matrix: np.ndarray, **params: Any) -> np.ndarray:
        del params
        return recoloured(img, matrix)


def _steps(
    crop_size: tuple[int, int] | None, flip: float, colour: float, blur: float, fill: Colour
) -> list[Any]:
    steps: list[Any] = []
    if flip:
        steps.append(A.HorizontalFlip(p=flip))
    if colour:
        steps.append(_Colours(colour, p=_COLOURED))
    if blur:
        steps.append(A.GaussianBlur(blur_limit=0, sigma_limit=_BLUR_SIGMA, p=blur))
    if crop_size is None:
        return steps
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
