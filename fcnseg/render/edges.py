"""Where one region of an image ends and another begins."""

import numpy as np


def borders(labels: np.ndarray, width: int) -> np.ndarray:
    """The pixels within ``width`` of another label, counted along rows and columns."""
    border = np.zeros(labels.shape, dtype=bool)
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    for _ in range(width - 1):
        grown = border.copy()
        grown[:, 1:] |= border[:, :-1]
        grown[:, :-1] |= border[:, 1:]
        grown[1:] |= border[:-1]
        grown[:-1] |= border[1:]
        border = grown
    return border
