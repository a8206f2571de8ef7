"""The border of a region as a thin light line with a dark rim, seen on every colour."""

import numpy as np

from fcnseg.render.edges import borders

_LIGHT, _DARK = 255.0, 0.0
_LINE, _RIM = 1.3, 3.2  # widths in pixels, the rim's with the line inside it
_RIM_OPACITY = 0.65
_NEAR = 3  # pixels on each side that a line can touch


def outlined(picture: np.ndarray, lead_HW: np.ndarray) -> np.ndarray:
    """Return ``picture`` (H, W, 3) uint8 with a line along the border of ``lead_HW`` > 0.

    ``lead_HW`` (H, W) float says how far each pixel is inside the region; the line runs where it
    passes zero, between pixels too. Where no region begins or ends nothing is drawn.
    """
    distance = _distance(np.asarray(lead_HW, dtype=np.float32))
    result = picture.astype(np.float32)
    for width, level, opacity in ((_RIM, _DARK, _RIM_OPACITY), (_LINE, _LIGHT, 1.0)):
        # A line of this width covers so much of a pixel whose centre is so far from its middle.
        alpha = (np.clip((width + 1) / 2 - distance, 0, 1) * opacity)[..., None]
        result += (level - result) * alpha
    return np.rint(result).astype(np.uint8)


def _distance(lead: np.ndarray) -> np.ndarray:
    """Pixels to the zero of ``lead``, infinite further than a few pixels from it."""
    near = borders(lead > 0, _NEAR)
    distance = np.full(lead.shape, np.inf, dtype=np.float32)
    if near.any():
        rows, columns = (_slope(lead, axis) for axis in (0, 1))
        steep = np.hypot(rows, columns)[near]
        distance[near] = np.abs(lead[near]) / np.maximum(steep, 1e-6)
    return distance


def _slope(values: np.ndarray, axis: int) -> np.ndarray:
    """Change a pixel along an axis, 0 where there is one pixel alone."""
    return np.gradient(values, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values)
