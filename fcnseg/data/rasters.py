"""Large images, read window by window.

A TIFF in strips or tiles is decoded no further than a window needs; every other file is decoded
whole, once. Either way the pixels are those of :func:`fcnseg.data.images.read_image`.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from fcnseg.checks import check_image
from fcnseg.data.decoding import faults_of
from fcnseg.data.images import opened, read_image
from fcnseg.data.sample import MAX_PIXELS
from fcnseg.data.tiff_segments import Segments, find_segments

_KEPT_BYTES = 1 << 27


class Raster(Protocol):
    """An image of which parts can be read.

    Attributes:
        size: (H, W) in pixels.
    """

    @property
    def size(self) -> tuple[int, int]: ...

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Return the pixels of a window, (height, width, 3) uint8 RGB, which lies in the image.

        Raises :class:`~fcnseg.errors.DataError`, naming the file, where its bytes are damaged.
        """
        ...


class ArrayRaster:
    """A raster over pixels in memory, (H, W, 3) uint8 RGB; raises :class:`UsageError` for others.

    Its windows are views: writing to one changes the pixels that were given.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        check_image("raster", pixels)
        self._pixels = pixels

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self._pixels.shape[0], self._pixels.shape[1]

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """See :meth:`Raster.read`."""
        _check_inside(self.size, top, left, height, width)
        return self._pixels[top : top + height, left : left + width]


class TiffRaster:
    """A raster over the segments of a TIFF file, for several threads.

    Segments stay in memory, decoded, as far as 128 MiB go and always those of the last window:
    windows that follow one another from left to right decode each strip once.

    Args:
        path: of the file, for errors.
        file: the file, open for reading bytes.
        segments: where its pixels are.
    """

    def __init__(self, path: Path, file: BinaryIO, segments: Segments) -> None:
        self._path, self._file, self._segments = path, file, segments
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self._segments.size

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """See :meth:`Raster.read`."""
        _check_inside(self.size, top, left, height, width)
        pixels = np.empty((height, width, 3), np.uint8)
        rows, columns = self._segments.cell
        vertical = range(top // rows, (top + height - 1) // rows + 1)
        horizontal = range(left // columns, (left + width - 1) // columns + 1)
        across = self._segments.across
        with self._lock:
            wanted = [row * across + column for row in vertical for column in horizontal]
            needed = set(wanted)
            for index in wanted:  # those at hand must not be the oldest
                if index in self._kept:
                    self._kept.move_to_end(index)
            for index in wanted:
                row, column = divmod(index, across)
                y, x = row * rows - top, column * columns - left
                segment = self._segment(index, needed)
                part = segment[max(-y, 0) : height - y, max(-x, 0) : width - x]
                y, x = max(y, 0), max(x, 0)
                pixels[y : y + part.shape[0], x : x + part.shape[1]] = part
        return pixels

    def _segment(self, index: int, needed: set[int]) -> np.ndarray:
        """Decode a segment, or find it among those kept; none of ``needed`` is dropped for it."""
        if index in self._kept:
            return self._kept[index]
        with faults_of(self._path):
            made = self._segments.read(self._file, index, str(self._path))
        while self._kept and self._bytes + made.nbytes > _KEPT_BYTES:
            oldest = next(iter(self._kept))
            if oldest in needed:
                break
            self._bytes -= self._kept.pop(oldest).nbytes
        self._kept[index] = made
        self._bytes += made.nbytes
        return made


@contextlib.contextmanager
def open_raster(path: str | Path, max_pixels: int = MAX_PIXELS) -> Iterator[Raster]:
    """Open an image file for reading by window; it is closed when the block ends.

    By window: TIFF and BigTIFF in strips or tiles, grey, palette, RGB, CMYK or with alpha, without
    compression or with LZW, deflate, PackBits, JPEG or Zstandard. Other files (also TIFFs with an
    orientation, with separate planes or in one compressed strip) are decoded whole.

    Args:
        path: an image file of any kind that :func:`~fcnseg.data.images.read_image` takes.
        max_pixels: a header that claims more is refused.

    Raises:
        DataError: as :func:`~fcnseg.data.images.read_image`; damage in a segment shows only when
            a window needs it.
    """
    path = Path(path)
    with opened(path, max_pixels) as image:
        segments = find_segments(image, path.stat().st_size)
    if segments is None:
        yield ArrayRaster(read_image(path, max_pixels))
        return
    with faults_of(path):
        file = path.open("rb")
    with file:
        raster = TiffRaster(path, file, segments)
        raster.read(0, 0, 1, 1)  # pixels that have no conversion are refused now
        yield raster


def _check_inside(size: tuple[int, int], top: int, left: int, height: int, width: int) -> None:
    inside = 0 <= top < top + height <= size[0] and 0 <= left < left + width <= size[1]
    assert inside, f"window {(top, left, height, width)} of a raster of {size}"
