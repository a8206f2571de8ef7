"""Paint for generated scenes: textures, cluttered backgrounds, strokes and shape outlines.

Everything is drawn from the ``numpy.random.Generator`` that is passed in. Colours are (3,)
float32 RGB, 0 to 255.
"""

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

Numbers = np.random.Generator

OVERSAMPLING = 4
_SHIFT = 3  # outlines are drawn with coordinates of 1/8 pixel


def random_colour(numbers: Numbers) -> np.ndarray:
    """Return a colour of any hue, from pale to strong and from dark to light."""
    rgb = colorsys.hsv_to_rgb(numbers.random(), numbers.uniform(0.15, 1.0), numbers.uniform(0.2, 1))
    return np.array(rgb, np.float32) * 255


def distinct_colour(numbers: Numbers, other: np.ndarray, distance: float = 90.0) -> np.ndarray:
    """Return a random colour that is at least ``distance`` (or nearly so) away from ``other``."""
    best, furthest = other, -1.0
    for _ in range(6):
        colour = random_colour(numbers)
        away = float(np.linalg.norm(colour - other))
        if away > furthest:
            best, furthest = colour, away
        if away >= distance:
            break
    return best


def ramp(height: int, width: int, angle: float) -> np.ndarray:
    """Return (H, W) float32, 0 to 1 across the picture in the direction ``angle`` (radians)."""
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None] * np.float32(np.cos(angle))
    return np.clip(x + y + np.float32(0.5), 0, 1)


def clouds(numbers: Numbers, height: int, width: int, cells: int) -> np.ndarray:
    """Return (H, W) float32 smooth noise, -1 to 1, with about ``cells`` blobs a side."""
    grid = numbers.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32)
    return np.clip(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), -1, 1)


def stripes(numbers: Numbers, height: int, width: int) -> np.ndarray:
    """Return (H, W) float32 soft stripes, -1 to 1, at a random angle."""
    period, angle = numbers.uniform(4, 14), numbers.uniform(0, np.pi)
    y = np.arange(height, dtype=np.float32)[:, None] * np.float32(
        np.sin(angle) * 2 * np.pi / period
    )
    x = np.arange(width, dtype=np.float32)[None] * np.float32(np.cos(angle) * 2 * np.pi / period)
    return np.clip(np.sin(x + y + np.float32(numbers.uniform(0, 6.3))) * 2, -1, 1)


def checks(numbers: Numbers, height: int, width: int) -> np.ndarray:
    """Return (H, W) float32 chequers of -1 and 1 with small cells, at a random angle."""
    period, angle = numbers.uniform(6, 14), numbers.uniform(0, np.pi / 2)
    y = np.arange(height, dtype=np.float32)[:, None] * np.float32(2 * np.pi / period)
    x = np.arange(width, dtype=np.float32)[None] * np.float32(2 * np.pi / period)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.sign(np.sin(c * x + s * y) * np.sin(c * y - s * x))


def speckles(numbers: Numbers, height: int, width: int) -> np.ndarray:
    """Return (H, W) float32 coarse grain, -1 to 1."""
    grain = numbers.uniform(-1, 1, (height // 2 + 1, width // 2 + 1)).astype(np.float32)
    return cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)


_PATTERNS: tuple[Callable[[Numbers, int, int], np.ndarray], ...] = (stripes, checks, speckles)


def texture(numbers: Numbers, height: int, width: int, colour: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) float32 of about ``colour``: shaded, patterned with a second colour."""
    second = random_colour(numbers)
    shade = ramp(height, width, numbers.uniform(0, 2 * np.pi)) - np.float32(0.5)
    light = shade * np.float32(numbers.uniform(20, 70))
    mixture = np.zeros((height, width), np.float32)
    kind = int(numbers.integers(len(_PATTERNS) + 2))
    if kind < len(_PATTERNS):
        strength = np.float32(numbers.uniform(0.08, 0.28))
        mixture += (_PATTERNS[kind](numbers, height, width) + 1) * strength
    elif kind == len(_PATTERNS):
        light = light + clouds(numbers, height, width, 4) * np.float32(35)
    colours = colour + (second - colour) * mixture[..., None]
    return colours + light[..., None]


def background(numbers: Numbers, height: int, width: int) -> np.ndarray:
    """Return a cluttered (H, W, 3) float32 background, 0 to 255."""
    first, second = random_colour(numbers), random_colour(numbers)
    blend = ramp(height, width, numbers.uniform(0, 2 * np.pi))
    blend = np.clip(blend + clouds(numbers, height, width, 5) * np.float32(0.35), 0, 1)[..., None]
    canvas: np.ndarray = first + (second - first) * blend
    light: np.ndarray = clouds(numbers, height, width, int(numbers.integers(8, 20))) * 22
    if numbers.random() < 0.6:
        pattern = _PATTERNS[int(numbers.integers(len(_PATTERNS)))]
        light = light + pattern(numbers, height, width) * np.float32(numbers.uniform(5, 20))
    return with_strokes(numbers, canvas + light[..., None], int(numbers.integers(4, 12)))


def with_strokes(numbers: Numbers, picture: np.ndarray, count: int) -> np.ndarray:
    """Return ``picture``, (H, W, 3) float32, with lines, open arcs, scribbles and dots drawn in.

    None of them is one of the shapes. Values are clipped to 0 to 255 and rounded down.
    """
    canvas = np.clip(picture, 0, 255).astype(np.uint8)  # OpenCV smooths edges in bytes only
    height, width = canvas.shape[:2]
    unit = min(height, width) / 160
    one = 1 << _SHIFT
    for _ in range(count):
        colour = tuple(float(value) for value in random_colour(numbers))
        thickness = max(1, round(numbers.uniform(1, 4) * unit))
        x, y = numbers.uniform(0, width), numbers.uniform(0, height)
        kind = int(numbers.integers(4))
        if kind == 0:
            ends = np.array([[x, y], [numbers.uniform(0, width), numbers.uniform(0, height)]])
            cv2.polylines(canvas, [_fixed(ends)], False, colour, thickness, cv2.LINE_AA, _SHIFT)
        elif kind == 1:
            axes = tuple(int(value * unit * one) for value in numbers.uniform(8, 50, 2))
            start = numbers.uniform(0, 360)
            centre = (int(x * one), int(y * one))
            end = start + numbers.uniform(40, 150)
            cv2.ellipse(
                canvas, centre, axes, 0.0, start, end, colour, thickness, cv2.LINE_AA, _SHIFT
            )
        elif kind == 2:
            steps = numbers.normal(0, 12 * unit, (8, 2)).cumsum(axis=0) + np.array([x, y])
            cv2.polylines(canvas, [_fixed(steps)], False, colour, thickness, cv2.LINE_AA, _SHIFT)
        else:
            for dx, dy in numbers.uniform(-20 * unit, 20 * unit, (6, 2)):
                centre = (int((x + dx) * one), int((y + dy) * one))
                radius = int(numbers.uniform(1, 3) * unit * one)
                cv2.circle(canvas, centre, radius, colour, -1, cv2.LINE_AA, _SHIFT)
    return canvas.astype(np.float32)


def coverage(outlines: list[np.ndarray], size: int) -> np.ndarray:
    """Return (size, size) float32: the share of each pixel inside, 0 to 1, by even-odd rule.

    ``outlines`` are (N, 2) polygons, (x, y) in pixels; pixel i reaches from i to i + 1.
    """
    fine = np.zeros((size * OVERSAMPLING, size * OVERSAMPLING), np.uint8)
    # Sample centres sit at half a fine pixel, which OpenCV counts as whole coordinates.
    points = [_fixed(outline * OVERSAMPLING - 0.5) for outline in outlines]
    cv2.fillPoly(fine, points, 255, cv2.LINE_8, _SHIFT)
    small = cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * (1 << _SHIFT)).astype(np.int32).reshape(-1, 1, 2)
