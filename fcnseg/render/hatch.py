"""Void shown as hatching, which no class colour can be mistaken for."""

import numpy as np

from fcnseg.render.photograph import blend, greyed

_PERIOD, _LINE = 10, 2
_LIGHT, _DARK = 255, 20


def hatched(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return ``image`` (H, W, 3) uint8 with light and dark diagonal lines where (H, W) is True.

    The photograph shows through between the lines, in grey.
    """
    result = image.copy()
    if not where.any():
        return result
    y, x = np.ogrid[: where.shape[0], : where.shape[1]]
    place = (x + y) % _PERIOD
    lines = greyed(image)
    for first, level in ((0, _LIGHT), (_LINE, _DARK)):
        line = (place >= first) & (place < first + _LINE)
        lines[line] = level
    shown = blend(greyed(image), lines, 0.85)
    result[where] = shown[where]
    return result
