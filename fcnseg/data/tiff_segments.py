"""Strips and tiles of a TIFF file, each decoded by itself.

A TIFF keeps its pixels in segments, whole rows (strips) or rectangles (tiles), each compressed
without knowledge of the others. One segment, put behind a header of its own, is a small TIFF of
one strip: the same decoder reads it that reads the file, to the same pixels.
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from fcnseg.data.rgb import to_rgb

_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR = 258, 259, 262, 277, 284
_STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_COUNTS = 273, 278, 279
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_PREDICTOR, _COLOUR_MAP, _INK_SET, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 317, 320, 332, 338, 339
_FILL_ORDER, _JPEG_TABLES, _SUBSAMPLING, _POSITIONING = 266, 347, 530, 531

# What decides how the bytes of a segment become pixels.
_COPIED = (
    *(_BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _PLANAR, _PREDICTOR),
    *(_COLOUR_MAP, _INK_SET, _EXTRA_SAMPLES, _SAMPLE_FORMAT),
    *(_JPEG_TABLES, _SUBSAMPLING, _POSITIONING),
)

_NONE, _JPEG = 1, 7
# None, LZW, JPEG, deflate (two numbers of it), PackBits, Zstandard.
_COMPRESSIONS = (_NONE, 5, _JPEG, 8, 32946, 32773, 50000)
_YCBCR = 6
# WhiteIsZero, BlackIsZero, RGB, palette, CMYK, YCbCr
_PHOTOMETRICS = (0, 1, 2, 3, 5, _YCBCR)

_MOST_PIXELS = 1 << 25
"""Larger segments are no gain over the whole image."""
_RAW_BYTES = 1 << 20

_SHORT, _LONG, _UNDEFINED = 3, 4, 7


@dataclass(frozen=True, eq=False)
class Segments:
    """Where the segments of a TIFF lie, in the file and in the image.

    Attributes:
        size: (H, W) of the image in pixels.
        cell: (rows, columns) of a segment; those at the bottom and at the right may cover less.
        places: (offset, count) of a segment's bytes in the file, row by row.
        order: ``"<"`` or ``">"``, the order of bytes.
        tags: what the header of a segment copies from the file's.
        tiled: segments at the border are stored whole.
    """

    size: tuple[int, int]
    cell: tuple[int, int]
    places: Sequence[tuple[int, int]]
    order: str
    tags: dict[int, Any]
    tiled: bool

    @property
    def across(self) -> int:
        """Segments side by side."""
        return -(-self.size[1] // self.cell[1])

    def read(self, file: BinaryIO, index: int, name: str) -> np.ndarray:
        """Decode a segment, by the rules of :mod:`fcnseg.data.images`.

        Args:
            file: the TIFF, open; its position is changed.
            index: of the segment, row by row.
            name: what errors call the file.

        Returns:
            (rows, columns, 3) uint8 RGB, without what lies outside the image.

        Raises:
            Exception: whatever the decoder raises on damaged bytes.
            DataError: pixels without a fixed conversion to 8-bit RGB.
        """
        offset, count = self.places[index]
        file.seek(offset)
        data = file.read(count)
        if len(data) < count:
            raise OSError(f"the file ends within segment {index}")
        row, column = divmod(index, self.across)
        rows = min(self.cell[0], self.size[0] - row * self.cell[0])
        columns = min(self.cell[1], self.size[1] - column * self.cell[1])
        stored = self.cell if self.tiled else (rows, columns)
        with Image.open(io.BytesIO(self._alone(data, stored)), formats=("TIFF",)) as image:
            image.load()
            return to_rgb(name, image)[:rows, :columns]

    def _alone(self, data: bytes, size: tuple[int, int]) -> bytes:
        """The bytes of a segment as a TIFF of one strip."""
        height, width = size
        tags = {
            **self.tags,
            256: (width,),
            257: (height,),
            _STRIP_OFFSETS: (0,),
            _ROWS_PER_STRIP: (height,),
            _STRIP_COUNTS: (len(data),),
        }
        values = {tag: _packed(self.order, tag, value) for tag, value in tags.items()}
        # The directory holds values of up to 4 bytes; longer ones follow it, at even places.
        after = 8 + 2 + 12 * len(values) + 4
        directory, extra = b"", b""
        strip = after + sum(len(v) + len(v) % 2 for _, _, v in values.values() if len(v) > 4)
        values[_STRIP_OFFSETS] = _packed(self.order, _STRIP_OFFSETS, (strip,))
        for tag, (kind, count, value) in sorted(values.items()):
            if len(value) > 4:
                place = struct.pack(self.order + "L", after + len(extra))
                extra += value + b"\0" * (len(value) % 2)
                value = place
            directory += struct.pack(self.order + "HHL", tag, kind, count) + value.ljust(4, b"\0")
        mark = b"II" if self.order == "<" else b"MM"
        head = mark + struct.pack(self.order + "HLH", 42, 8, len(values))
        return head + directory + bytes(4) + extra + data


def _packed(order: str, tag: int, value: Any) -> tuple[int, int, bytes]:
    """(type, count, bytes) of a tag's value."""
    if isinstance(value, bytes):
        return _UNDEFINED, len(value), value
    numbers = value if isinstance(value, tuple) else (value,)
    long = tag in (256, 257, _STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_COUNTS)
    letter = "L" if long else "H"
    packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
    return _LONG if long else _SHORT, len(numbers), packed


def find_segments(image: Image.Image, file_size: int) -> Segments | None:
    """The segments of an opened TIFF of ``file_size`` bytes, where each can be decoded by itself.

    None for another format, a compression or layout that is not among those known here, an
    orientation, segments that are no gain, and a directory that does not agree with the file:
    that is for the decoder of whole files to judge.
    """
    if image.format != "TIFF" or image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        return None
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    compression, photometric = tags.get(_COMPRESSION, _NONE), tags.get(_PHOTOMETRIC, 0)
    if compression not in _COMPRESSIONS or photometric not in _PHOTOMETRICS:
        return None
    if photometric == _YCBCR and compression != _JPEG:
        return None
    if tags.get(_PLANAR, 1) != 1 and tags.get(_SAMPLES, 1) != 1:
        return None
    found = _layout(image, tags, compression)
    if found is None or found.cell[0] * found.cell[1] > _MOST_PIXELS:
        return None
    expected = found.across * -(-found.size[0] // found.cell[0])
    if len(found.places) != expected or expected < 2:
        return None
    if any(o <= 0 or n <= 0 or o + n > file_size for o, n in found.places):
        return None
    return found


def _layout(image: Image.Image, tags: Any, compression: int) -> Segments | None:
    """The segments that a directory names, not yet compared with the file."""
    width, height = image.size
    order = "<" if tags.prefix == b"II" else ">"
    tiled = _TILE_OFFSETS in tags
    copied = {tag: tags[tag] for tag in _COPIED if tag in tags}
    bits = tags.get(_BITS, (1,))
    if not tiled and _STRIP_OFFSETS not in tags:
        return None
    if tiled:
        cell = (int(tags[_TILE_LENGTH]), int(tags[_TILE_WIDTH]))
        offsets, counts = tags[_TILE_OFFSETS], tags.get(_TILE_COUNTS, ())
    else:
        cell = (min(int(tags.get(_ROWS_PER_STRIP, height)), height), width)
        offsets, counts = tags[_STRIP_OFFSETS], tags.get(_STRIP_COUNTS, ())
    if min(cell) < 1:
        return None
    if compression == _NONE:
        depth = sum(bits) if len(bits) > 1 else bits[0] * tags.get(_SAMPLES, 1)
        row = -(-cell[1] * depth // 8)
        if not tiled and len(offsets) == 1:
            # Many programs write one strip; without compression any row can be found in it.
            rows = max(min(_RAW_BYTES // row, height), 1)
            offsets = [offsets[0] + row * top for top in range(0, height, rows)]
            cell = (rows, width)
        counts = [row * cell[0]] * len(offsets)
        if not tiled:
            counts[-1] = row * (height - cell[0] * (len(offsets) - 1))
    if len(offsets) != len(counts):
        return None
    places = [(int(o), int(n)) for o, n in zip(offsets, counts, strict=True)]
    return Segments((height, width), cell, places, order, copied, tiled)
