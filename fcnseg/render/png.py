"""Masks written row by row, for images whose labels are never in memory at once."""

import os
import struct
import zlib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from fcnseg.errors import EnvironmentFault, UsageError
from fcnseg.files import replacing
from fcnseg.palette import Palette
from fcnseg.render.mask import check_class_ids, mask_colours

_VOID = 255
_CHUNK = 1 << 16
_PALETTE = 3
"""Colour type 3 of the PNG specification: each pixel is an index of the palette."""


class MaskWriter:
    """A palette PNG as :func:`fcnseg.render.write_mask` writes it, from the top down.

    A context manager. The file appears whole when the block ends with all rows written, and not
    at all after an error; a file that was there before stays until then. Its bytes depend on the
    labels alone, not on how they were cut into rows.

    >>> with MaskWriter("mask.png", (4, 3), palette=[(0, 0, 0), (128, 0, 0)]) as mask:
    ...     for rows in (np.zeros((2, 3), np.uint8), np.ones((2, 3), np.uint8)):
    ...         mask.write(rows)

    Args:
        path: where, a name that ends in .png.
        size: (H, W) of the mask in pixels.
        palette: one (r, g, b) a class, at most 255; void, 255, is shown in VOC's cream.

    Raises:
        UsageError: the name, the size or the palette is none of these; from the block's end, rows
            are missing.
        EnvironmentFault: the file cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike[str], size: tuple[int, int], palette: Palette
    ) -> None:
        self.path, self.size, self.palette = Path(path), size, palette
        self.written = 0
        self._colours = mask_colours(self.path, palette)
        if min(size) < 1 or max(size) >= 1 << 31:
            raise UsageError(f"{path}: expected a size (height, width) of 1 or more, got {size}")
        self._open = ExitStack()

    def __enter__(self) -> "MaskWriter":
        temporary = self._open.enter_context(replacing(self.path))
        self._file = self._open.enter_context(open(temporary, "wb"))
        self._deflate = zlib.compressobj()
        self._ready = bytearray()
        height, width = self.size
        header = struct.pack(">IIBBBBB", width, height, 8, _PALETTE, 0, 0, 0)
        self._file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", header)
        self._chunk(b"PLTE", self._colours.tobytes())
        return self

    def write(self, rows: np.ndarray) -> None:
        """Append rows, (h, W) uint8 class ids and 255 for void.

        Raises:
            UsageError: rows of another width, more rows than the mask has, an id that is neither
                a class nor void.
            EnvironmentFault: the file cannot be written.
        """
        check_class_ids(str(self.path), rows, self.palette, _VOID)
        height, width = self.size
        if rows.shape[1] != width or self.written + rows.shape[0] > height:
            raise UsageError(
                f"{self.path}: expected rows {width} wide, {height - self.written} of them at "
                f"most, got {rows.shape[0]}x{rows.shape[1]} (height x width)"
            )
        for row in rows.astype(np.uint8):
            # A row starts with its filter; ids next to one another tell nothing by differences.
            self._pixels(self._deflate.compress(b"\0" + row.tobytes()))
        self.written += rows.shape[0]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._open.__exit__(kind, error, traceback)
            return
        with self._open:
            if self.written != self.size[0]:
                raise UsageError(
                    f"{self.path}: expected {self.size[0]} rows, got {self.written}; not written"
                )
            self._pixels(self._deflate.flush(), last=True)
            self._chunk(b"IEND", b"")

    def _pixels(self, compressed: bytes, last: bool = False) -> None:
        self._ready += compressed
        while len(self._ready) >= _CHUNK or (last and self._ready):
            self._chunk(b"IDAT", bytes(self._ready[:_CHUNK]))
            del self._ready[:_CHUNK]

    def _chunk(self, kind: bytes, body: bytes) -> None:
        check = struct.pack(">I", zlib.crc32(kind + body))
        try:
            self._file.write(struct.pack(">I", len(body)) + kind + body + check)
        except OSError as error:
            raise EnvironmentFault(
                f"{self.path}: cannot be written ({error.strerror or error}); make room"
            ) from None
