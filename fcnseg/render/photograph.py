"""The photograph as a quiet background for colours that mean something."""

import numpy as np
from PIL import Image


def greyed(image: np.ndarray, darkest: int = 0, lightest: int = 255) -> np.ndarray:
    """Return ``image`` in grey, its lightness squeezed into ``darkest`` to ``lightest``.

    (H, W, 3) uint8 -> (H, W, 3) uint8 with three equal channels.
    """
    grey = np.asarray(Image.fromarray(np.ascontiguousarray(image)).convert("L"), dtype=np.float32)
    grey = np.rint(darkest + grey * ((lightest - darkest) / 255)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def blend(below: np.ndarray, above: np.ndarray, alpha: float) -> np.ndarray:
    """Return ``below`` covered by ``above`` with opacity ``alpha`` in 0..1, both uint8."""
    mixed = below.astype(np.float32) * (1 - alpha) + above.astype(np.float32) * alpha
    return np.rint(mixed).astype(np.uint8)
