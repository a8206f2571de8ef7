"""Scaled, turned crops of an image and its labels.

A crop is drawn first and cut out afterwards, so that labels alone can say whether it is wanted.
Only the part of a photograph that the crop shows is touched, whatever the photograph's size.

Positions are those of pixel centres: pixel i covers i to i + 1. Image and labels are resampled on
one grid, the labels by nearest neighbour, so that they never gain a class.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from fcnseg.data.sample import VOID

# OpenCV turns no image with a longer side.
_LONGEST_WARPED = 32766


@dataclass(frozen=True, eq=False)
class Crop:
    """A part of an image, scaled and perhaps turned.

    Attributes:
        rows, columns: (start, end) of the part of the image that is needed, in its pixels.
        scaled: (height, width) that this part is scaled to.
        size: (height, width) of the crop.
        turn: (2, 3) float64, from (x, y, 1) of a pixel of the crop to (x, y) of the scaled part;
            None where the scaled part is the crop.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    scaled: tuple[int, int]
    size: tuple[int, int]
    turn: np.ndarray | None = None


def draw_crop(
    image_size: tuple[int, int],
    crop_size: tuple[int, int],
    factor: float,
    angle: float,
    numbers: np.random.Generator,
) -> Crop:
    """Choose where to cut, at most ``crop_size``, smaller where the scaled image is.

    Args:
        image_size: (height, width) in pixels.
        crop_size: (height, width) of the largest result.
        factor: of the scaling.
        angle: in degrees, about the middle of what is cut out.
        numbers: decides on the place.
    """
    wholes, ends, sizes = [], [], []
    for length, wanted in zip(image_size, crop_size, strict=True):
        whole = max(1, round(length * factor))
        side = min(wanted, whole)
        need = min(length, max(1, round(side * length / whole)))
        start = int(numbers.integers(length - need + 1))
        wholes.append(whole)
        ends.append((start, start + need))
        sizes.append(side)
    size = (sizes[0], sizes[1])
    if angle == 0:
        return Crop(ends[0], ends[1], size, size)
    return _turned(image_size, (wholes[0], wholes[1]), ends, size, crop_size, angle)


def _turned(
    image_size: tuple[int, int],
    whole_size: tuple[int, int],
    ends: list[tuple[int, int]],
    size: tuple[int, int],
    crop_size: tuple[int, int],
    angle: float,
) -> Crop:
    """Turn a crop about its middle, and take what then comes into sight."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # What is smaller than the crop grows, so that its corners are not lost.
    height, width = (min(a, b) for a, b in zip(crop_size, _extent(size, cos, sin), strict=True))
    parts, scaled, middle = [], [], []
    seen = _extent((height, width), cos, sin)
    for (start, end), length, whole, reach in zip(ends, image_size, whole_size, seen, strict=True):
        centre, half = (start + end) / 2, (reach / 2 + 1) * length / whole
        first, last = max(0, math.floor(centre - half)), min(length, math.ceil(centre + half))
        parts.append((first, last))
        scaled.append(max(1, round((last - first) * whole / length)))
        middle.append((centre - first) * scaled[-1] / (last - first))
    # The centre of pixel (x, y) is at (x + 0.5, y + 0.5).
    matrix = np.array([(cos, -sin, 0.0), (sin, cos, 0.0)])
    own_middle = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix[:, 2] = np.array(middle[::-1]) - 0.5 - matrix[:, :2] @ own_middle
    return Crop(parts[0], parts[1], (scaled[0], scaled[1]), (height, width), matrix)


def _extent(size: tuple[int, int], cos: float, sin: float) -> tuple[int, int]:
    """Return the (height, width) of the upright rectangle around a turned one."""
    (height, width), c, s = size, abs(cos), abs(sin)
    return math.ceil(height * c + width * s - 1e-9), math.ceil(height * s + width * c - 1e-9)


def cut_image(image: np.ndarray, crop: Crop) -> np.ndarray:
    """Return a new (h, w, 3) uint8 array; beyond the image its border is repeated."""
    part = image[slice(*crop.rows), slice(*crop.columns)]
    if part.shape[:2] != crop.scaled:
        part = _scaled_smoothly(part, crop.scaled)
    elif crop.turn is None:
        return part.copy()
    if crop.turn is None:
        return part
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = crop.size[::-1]
    return cv2.warpAffine(part, crop.turn, size, flags=how, borderMode=cv2.BORDER_REPLICATE)


def _scaled_smoothly(part: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return (h, w, 3) of ``size``: bilinear, with the averaging that shrinking needs."""
    shrinks = [old / new for old, new in zip(part.shape[:2], size, strict=True)]
    if max(shrinks) > 2:
        return cv2.resize(part, size[::-1], interpolation=cv2.INTER_AREA)
    if max(shrinks) > 1:
        # A third of the time of INTER_AREA; a Gaussian as wide as the pixels that are left out.
        y, x = (max((shrink - 1) / 2, 1e-3) for shrink in shrinks)
        part = cv2.GaussianBlur(part, (3, 3), sigmaX=x, sigmaY=y)
    return cv2.resize(part, size[::-1], interpolation=cv2.INTER_LINEAR)


def cut_label(label: np.ndarray, crop: Crop) -> np.ndarray:
    """Return a new (h, w) uint8 array of class ids; beyond the image they are void."""
    part = label[slice(*crop.rows), slice(*crop.columns)]
    if crop.turn is not None:
        return _turned_nearest(part, crop, crop.turn)
    if part.shape == crop.scaled:
        return part.copy()
    return _scaled_nearest(part, crop)


def beyond(crop: Crop) -> np.ndarray | None:
    """Return (h, w) uint8, not 0 where a crop shows nothing of the image; None: it shows all."""
    if crop.turn is None:
        return None
    size = crop.rows[1] - crop.rows[0], crop.columns[1] - crop.columns[0]
    return _turned_nearest(np.zeros(size, np.uint8), crop, crop.turn)


def _scaled_nearest(part: np.ndarray, crop: Crop) -> np.ndarray:
    # INTER_NEAREST takes the upper left pixel, which shifts labels by up to half a pixel.
    return cv2.resize(part, crop.scaled[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _turned_nearest(part: np.ndarray, crop: Crop, turn: np.ndarray) -> np.ndarray:
    if max(part.shape) > _LONGEST_WARPED:
        part = _scaled_nearest(part, crop)
    # Scaled and turned at once: what is rounded twice is off by up to a pixel.
    ratio = np.array([part.shape[1] / crop.scaled[1], part.shape[0] / crop.scaled[0]])
    matrix = turn * ratio[:, None]
    matrix[:, 2] += (ratio - 1) / 2
    how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, matrix, crop.size[::-1], flags=how, borderValue=VOID)


def largest_share(label: np.ndarray) -> float:
    """Return the share, 0 to 1, of the labelled pixels that the largest class has.

    Infinite where no pixel is labelled: nothing is worse to train on.
    """
    counts = cv2.calcHist([label], [0], None, [256], [0, 256]).ravel()[:VOID]
    labelled = float(counts.sum())
    return float(counts.max()) / labelled if labelled else math.inf
