"""The overlay of an image that comes row by row and is too large to be drawn as it is."""

from collections.abc import Sequence

import numpy as np

from fcnseg.palette import Palette
from fcnseg.render.legend import over_legend
from fcnseg.render.overlay import overlay

LONGEST = 4096


class ShrunkOverlay:
    """Collects an image and its labels from the top down, scaled down by a whole number.

    Each pixel of the result is the mean of a square of pixels, and has the label of its middle.

    Args:
        size: (H, W) of the image in pixels.
        longest: pixels that the longer side of the result has at most; up to that, nothing is
            scaled.
    """

    def __init__(self, size: tuple[int, int], longest: int = LONGEST) -> None:
        self._size = size
        self._side = -(-max(size) // longest)
        height, width = (-(-extent // self._side) for extent in size)
        self._picture = np.zeros((height, width, 3), np.uint8)
        self._labels = np.zeros((height, width), np.uint8)
        self._starts = np.arange(0, size[1], self._side)
        self._middles = [
            np.minimum(np.arange(short) * self._side + self._side // 2, extent - 1)
            for short, extent in zip((height, width), size, strict=True)
        ]
        self._sums = np.zeros((width, 3), np.int64)  # of the rows of an unfinished square
        self._done = 0

    @property
    def rows(self) -> int:
        """Rows that are best added at once: whole squares, of a few megapixels."""
        return max(1, (1 << 22) // (self._size[1] * self._side)) * self._side

    def add(self, image: np.ndarray, labels: np.ndarray) -> None:
        """Add the next rows: (h, W, 3) uint8 RGB and (h, W) uint8 class ids."""
        first, last = np.searchsorted(self._middles[0], [self._done, self._done + len(labels)])
        self._labels[first:last] = labels[self._middles[0][first:last] - self._done][
            :, self._middles[1]
        ]
        start = 0
        while start < len(image):
            rows = min(self._side - self._done % self._side, len(image) - start)
            self._sums += np.add.reduceat(
                image[start : start + rows].sum(0, dtype=np.int64), self._starts, axis=0
            )
            start, self._done = start + rows, self._done + rows
            if self._done % self._side == 0 or self._done == self._size[0]:
                self._finish_row()

    def picture(self, names: Sequence[str], palette: Palette, pixels: Sequence[int]) -> np.ndarray:
        """The overlay over its legend, (h, w, 3) uint8, as :func:`fcnseg.render.segmented` draws.

        Args:
            names: one a class.
            palette: one colour a class.
            pixels: how many pixels of the whole image each class has.
        """
        drawn = overlay(self._picture, self._labels, palette)
        present = {number: int(count) for number, count in enumerate(pixels) if count}
        return over_legend(drawn, present, names, palette)

    def _finish_row(self) -> None:
        row = (self._done - 1) // self._side
        high = self._done - row * self._side
        wide = np.diff(self._starts, append=self._size[1])
        area = (high * wide)[:, None]
        self._picture[row] = (self._sums + area // 2) // area
        self._sums[:] = 0
