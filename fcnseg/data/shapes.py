"""Generated scenes of textured shapes, which need no files and never run out.

The class of an object is its outline and nothing else: colour, texture, size and rotation are
drawn alike for all classes.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from fcnseg.checks import check_choice
from fcnseg.data import painting
from fcnseg.data.sample import VOID, Colour, Sample
from fcnseg.errors import UsageError

_COLOURS: dict[str, Colour] = {
    "background": (0, 0, 0),
    "circle": (230, 70, 70),
    "square": (70, 140, 235),
    "triangle": (250, 200, 50),
    "star": (175, 95, 225),
    "ring": (60, 190, 125),
}
CLASSES = tuple(_COLOURS)
PALETTE = tuple(_COLOURS.values())
SPLITS = ("train", "val")

_SMALLEST, _LARGEST = 0.34, 0.62  # width of an object relative to the image's shorter side
_MOST_HIDDEN = 0.3  # share of an object that later objects may cover
_BORDER = 1 / 80  # void on each side of an outline, relative to the shorter side
_TRIES = 10
_STREAM = 0x5AE5  # keeps these random numbers apart from those of other uses of the same seed


class Shapes:
    """Scenes of up to 4 overlapping shapes on a cluttered background, 6 classes.

    A void border runs along every outline. A scene is a function of (seed, split, index) and the
    size; the splits share no scene.

    Args:
        split: "train" or "val".
        length: number of scenes.
        size: (height, width) in pixels, 48 or more each.
        seed: 0 or more.

    Raises:
        UsageError: a value is out of range.
    """

    def __init__(
        self,
        split: str = "train",
        length: int = 1000,
        size: tuple[int, int] = (160, 160),
        seed: int = 0,
    ) -> None:
        check_choice("shapes split", split, SPLITS)
        if length < 1:
            raise UsageError(f"shapes: expected a length of 1 or more, got {length}")
        if len(size) != 2 or min(size) < 48:
            raise UsageError(f"shapes: expected a size of 48x48 pixels or more, got {size}")
        if seed < 0:
            raise UsageError(f"--seed: expected 0 or more, got {seed}")
        self.name = f"shapes/{split}"
        self.classes = CLASSES
        self.palette = PALETTE
        self._split, self._length, self._size, self._seed = split, length, tuple(size), seed

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        sample_id = self.id(index)
        entropy = [_STREAM, self._seed, SPLITS.index(self._split), index]
        image, label = _scene(np.random.default_rng(entropy), *self._size)
        return Sample(image, label, sample_id)

    def label(self, index: int) -> np.ndarray:
        return self[index].label

    def id(self, index: int) -> str:
        if not 0 <= index < self._length:
            raise IndexError(f"{self.name} has scenes 0 to {self._length - 1}, not {index}")
        return f"{self._split}-{index:06d}"

    def files(self, index: int) -> tuple[Path, ...]:  # noqa: ARG002
        return ()


def _scene(numbers: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    canvas = painting.background(numbers, height, width)
    label = np.zeros((height, width), np.uint8)
    owner = np.zeros((height, width), np.uint8)  # which object shows at a pixel; 0: none
    areas = [height * width]
    border = max(1, round(min(height, width) * _BORDER))
    for _ in range(int(numbers.integers(2, 5))):
        class_id = int(numbers.integers(1, len(CLASSES)))
        placed = _place(numbers, class_id, owner, areas)
        if placed is None:
            continue
        cover, window = placed
        _paint(numbers, canvas[window], cover)
        inside = cover >= 0.5
        _mark(label[window], inside, class_id, border)
        owner[window][inside] = len(areas)
        areas.append(int(inside.sum()))
    grain = numbers.random(canvas.shape, np.float32) - np.float32(0.5)
    canvas += grain * np.float32(numbers.uniform(6, 32))
    return np.clip(canvas, 0, 255).astype(np.uint8), label


def _place(
    numbers: np.random.Generator, class_id: int, owner: np.ndarray, areas: list[int]
) -> tuple[np.ndarray, tuple[slice, slice]] | None:
    """Find a place that leaves enough of every object to be seen; None after some tries.

    Returns (h, w) float32 coverage, 0 to 1, and the window of the scene that it belongs to.
    """
    height, width = owner.shape
    seen = np.bincount(owner.ravel(), minlength=len(areas))
    for _ in range(_TRIES):
        diameter = min(height, width) * numbers.uniform(_SMALLEST, _LARGEST)
        box = int(np.ceil(diameter * 1.1)) + 8
        # Objects may leave the picture by a sixth of their width.
        margin = diameter / 3
        x, y = numbers.uniform(margin, width - margin), numbers.uniform(margin, height - margin)
        left, top = int(np.floor(x - box / 2)), int(np.floor(y - box / 2))
        outlines = _OUTLINES[CLASSES[class_id]](numbers, diameter / 2)
        centre = np.array([x - left, y - top])
        cover = painting.coverage([outline + centre for outline in outlines], box)
        window = (
            slice(max(top, 0), min(top + box, height)),
            slice(max(left, 0), min(left + box, width)),
        )
        cover = cover[
            window[0].start - top : window[0].stop - top,
            window[1].start - left : window[1].stop - left,
        ]
        hidden = np.bincount(owner[window][cover >= 0.5], minlength=len(areas))
        left_over = (seen - hidden)[1:] / np.array(areas[1:])
        if (left_over >= 1 - _MOST_HIDDEN).all():
            return cover, window
    return None


def _paint(numbers: np.random.Generator, canvas: np.ndarray, cover: np.ndarray) -> None:
    """Lay a textured object with a soft shadow on its window of the canvas."""
    height, width = cover.shape
    behind = canvas[cover >= 0.5].mean(axis=0)
    dx, dy = numbers.uniform(-3, 3, 2)
    move = np.array([[1, 0, dx], [0, 1, dy]])
    shadow = cv2.warpAffine(cover, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    shadow = cv2.GaussianBlur(shadow, (0, 0), 2.5) * np.float32(numbers.uniform(0, 0.5))
    canvas *= (1 - shadow)[..., None]
    paint = painting.texture(numbers, height, width, painting.distinct_colour(numbers, behind))
    if numbers.random() < 0.3:
        paint = painting.with_strokes(numbers, paint, 2)
    canvas += (paint - canvas) * cover[..., None]


def _mark(label: np.ndarray, inside: np.ndarray, class_id: int, border: int) -> None:
    """Write the class into its window of the labels, with void along the outline."""
    block = np.ones((2 * border + 1, 2 * border + 1), np.uint8)
    binary = inside.astype(np.uint8)
    # Beyond the window lies more of the picture or its edge: neither is an outline.
    grown = cv2.dilate(binary, block, borderType=cv2.BORDER_REPLICATE)
    core = cv2.erode(binary, block, borderType=cv2.BORDER_REPLICATE)
    label[grown > 0] = VOID
    label[core > 0] = class_id


def _turned(numbers: np.random.Generator, outline: np.ndarray) -> np.ndarray:
    angle = numbers.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return outline @ np.array([[c, s], [-s, c]])


def _around(count: int, radius: float | np.ndarray) -> np.ndarray:
    angles = np.arange(count) * (2 * np.pi / count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.reshape(radius, (-1, 1))


def _circle(numbers: np.random.Generator, radius: float) -> list[np.ndarray]:  # noqa: ARG001
    return [_around(64, radius)]


def _square(numbers: np.random.Generator, radius: float) -> list[np.ndarray]:
    return [_turned(numbers, _around(4, radius))]


def _triangle(numbers: np.random.Generator, radius: float) -> list[np.ndarray]:
    return [_turned(numbers, _around(3, radius))]


def _star(numbers: np.random.Generator, radius: float) -> list[np.ndarray]:
    return [_turned(numbers, _around(10, np.tile([radius, radius * 0.45], 5)))]


def _ring(numbers: np.random.Generator, radius: float) -> list[np.ndarray]:
    return [_around(64, radius), _around(64, radius * numbers.uniform(0.45, 0.6))]


_OUTLINES: dict[str, Callable[[np.random.Generator, float], list[np.ndarray]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
}
"""Outlines about (0, 0), (x, y) in pixels, that fit into a circle of the given radius."""
