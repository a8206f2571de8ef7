"""Where objects are, packed into bytes, and painting them into one image of class ids.

An *outline* is the place of one object as COCO writes it, polygons or run lengths, in the few
bytes that painting needs. Polygons are kept in fifths of a pixel, the grid that pycocotools
rounds them to before anything else, so its masks come out the same to the pixel.

Run lengths count pixels column after column, outside and inside by turns, beginning outside.
"""

import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from fcnseg.data.sample import VOID

_HEADER = struct.Struct("=cII")  # kind, number of polygons (of run lengths: 0), bytes that follow
_SIZE = struct.Struct("=II")  # height, width
_POLYGONS: dict[bytes, np.dtype] = {b"h": np.dtype(np.int16), b"i": np.dtype(np.int32)}
_COUNTS, _COMPRESSED = b"c", b"s"
_GRID = 5  # steps of pycocotools' grid in a pixel
_FARTHEST = 2**31  # what pycocotools can count to, in its steps
_SHORTEST = 1_000_000  # grid steps along a polygon that are no harm in an image of any size
_DIGITS = 7  # characters of a compressed count; 5 bits each


class OutlineFault(ValueError):
    """What is wrong with an outline, as the end of a sentence that begins with its annotation."""


def pack_polygons(polygons: Sequence[Any]) -> bytes:
    """Pack polygons ``[[x1, y1, x2, y2, ...], ...]`` in pixels, or one of them alone.

    Coordinates are counted from the corner of the first pixel. A polygon of fewer than three
    points beside others has no inside and is left out.

    Raises:
        OutlineFault: something is no list of finite numbers, or no polygon has three points.
    """
    if polygons and isinstance(polygons[0], (int, float)):
        polygons = [polygons]
    lengths, numbers = array("I"), array("d")
    for polygon in polygons:
        if not isinstance(polygon, list):
            raise OutlineFault(f"a polygon is {_shown(polygon)}, expected [x1, y1, x2, y2, ...]")
        try:
            own = array("d", polygon)
        except (TypeError, OverflowError):
            raise OutlineFault(_bad_number(polygon)) from None
        if len(own) % 2:
            raise OutlineFault(f"a polygon has {len(own)} numbers, expected x and y of each point")
        if len(own) >= 6:
            lengths.append(len(own))
            numbers += own
    if not lengths:
        raise OutlineFault("none of its polygons has three points")
    on_grid = np.frombuffer(numbers) * _GRID + 0.5
    lowest, highest = on_grid.min(), on_grid.max()
    if not (lowest > -_FARTHEST and highest < _FARTHEST):  # so it is for NaN too
        raise OutlineFault(_bad_number(numbers))
    kind = b"h" if lowest > -(2**15) and highest < 2**15 else b"i"
    data = lengths.tobytes() + on_grid.astype(_POLYGONS[kind]).tobytes()
    return _HEADER.pack(kind, len(lengths), len(data)) + data


def pack_runs(size: Any, counts: Any) -> bytes:
    """Pack run lengths: ``size`` [height, width] and ``counts``, a list or COCO's compressed text.

    Raises:
        OutlineFault: they are of other types. Whether they fit is seen by :func:`misfit`.
    """
    try:
        height, width = size
        place = _SIZE.pack(height, width)
    except (TypeError, ValueError, struct.error):
        raise OutlineFault(
            f"its RLE size is {_shown(size)}, expected two whole numbers [height, width]"
        ) from None
    if isinstance(counts, str):
        kind, data = _COMPRESSED, counts.encode("utf-8", "replace")
    else:
        try:
            kind, data = _COUNTS, array("I", counts).tobytes()
        except (TypeError, OverflowError):
            raise OutlineFault(
                "its RLE counts are neither whole numbers of 0 or more nor COCO's compressed text"
            ) from None
    return _HEADER.pack(kind, 0, len(place) + len(data)) + place + data


def misfit(outline: bytes, height: int, width: int) -> str:
    """Return why an outline cannot be painted into an image of (height, width), or ""."""
    kind, _, _ = _HEADER.unpack_from(outline)
    if kind in _POLYGONS:
        lengths, steps = _steps(outline)
        return _polygon_misfit(lengths, steps, height, width)
    stated = _SIZE.unpack_from(outline, _HEADER.size)
    if stated != (height, width):
        return (
            f"its RLE is of a mask of {stated[0]}x{stated[1]} (height x width) but its image is "
            f"{height}x{width}"
        )
    try:
        counts = _counts(outline)
    except OutlineFault as fault:
        return str(fault)
    if counts.size and counts.min() < 0:
        return "its RLE has a count below 0"
    if int(counts.sum()) != height * width:
        return (
            f"its RLE counts add up to {int(counts.sum())}, expected {height * width} "
            f"(a mask of {height}x{width})"
        )
    return ""


def in_one_pixel(outline: bytes) -> bool:
    """Whether no coordinate of a polygon is above 1, as if it were a share of the size."""
    kind, _, _ = _HEADER.unpack_from(outline)
    return kind in _POLYGONS and bool(_steps(outline)[1].max() <= _GRID)


def pack_instances(height: int, width: int, instances: Iterable[tuple[int, bytes]]) -> bytes:
    """Pack the (class id, outline) of all objects of an image; a crowd has the class id 255."""
    parts = [_SIZE.pack(height, width)]
    for class_id, outline in instances:
        parts += bytes((class_id,)), outline
    return b"".join(parts)


def size_of(instances: bytes) -> tuple[int, int]:
    """Return the (height, width) of packed instances."""
    height, width = _SIZE.unpack_from(instances)
    return height, width


def paint(instances: bytes) -> np.ndarray:
    """Paint packed instances, of which none is a :func:`misfit`.

    Crowds lie lowest; of the others, the fewer pixels one has the higher it lies, and of two with
    equally many the later one.

    Returns:
        (H, W) uint8 class ids: 0 where no object is, 255 where there is a crowd alone.
    """
    height, width = size_of(instances)
    layers = []
    for class_id, counts in _unpacked(instances, height, width):
        inside = int(counts[1::2].sum())
        if inside:
            layers.append((class_id != VOID, -inside, class_id, counts))
    layers.sort(key=lambda layer: layer[:2])
    label = np.zeros(width * height, np.uint8)
    for _, _, class_id, counts in layers:
        runs = counts[1 : counts.size - counts.size % 2]  # from the first pixel inside to the last
        by_turns = (np.arange(runs.size) % 2) == 0
        start = int(counts[0])
        place = label[start : start + int(runs.sum())]
        np.copyto(place, np.uint8(class_id), where=np.repeat(by_turns, runs))
    return np.ascontiguousarray(label.reshape(width, height).T)


def _unpacked(instances: bytes, height: int, width: int) -> list[tuple[int, np.ndarray]]:
    """Return (class id, int64 run lengths) of each object, in order."""
    found: list[tuple[int, np.ndarray | None]] = []
    polygons: list[np.ndarray] = []
    owners: list[tuple[int, int]] = []  # place in ``found``, number of polygons
    place = _SIZE.size
    while place < len(instances):
        class_id = instances[place]
        kind, count, size = _HEADER.unpack_from(instances, place + 1)
        outline = memoryview(instances)[place + 1 : place + 1 + _HEADER.size + size]
        place += 1 + len(outline)
        if kind in _POLYGONS:
            lengths, steps = _steps(outline)
            owners.append((len(found), count))
            polygons += np.split(_coordinates(steps), np.cumsum(lengths)[:-1])
            found.append((class_id, None))
        else:
            found.append((class_id, _counts(outline)))
    masks = coco_mask.frPyObjects(polygons, height, width) if polygons else []
    start = 0
    for index, count in owners:
        own = masks[start : start + count]
        whole = own[0] if count == 1 else coco_mask.merge(own)
        found[index] = found[index][0], _decompressed(whole["counts"])
        start += count
    return [(class_id, counts) for class_id, counts in found if counts is not None]


def _steps(outline: bytes | memoryview) -> tuple[np.ndarray, np.ndarray]:
    """Return how many numbers each polygon has, and all of them in fifths of a pixel."""
    kind, count, _ = _HEADER.unpack_from(outline)
    lengths = np.frombuffer(outline, np.uint32, count, _HEADER.size)
    steps = np.frombuffer(outline, _POLYGONS[kind], offset=_HEADER.size + 4 * count)
    return lengths, steps


def _coordinates(steps: np.ndarray) -> np.ndarray:
    """Return float64 coordinates that pycocotools rounds to just these fifths of a pixel."""
    pixels = steps / _GRID
    # It adds half a fifth and cuts towards zero, so that below zero a fifth is met from above.
    pixels[steps < 0] -= 0.75 / _GRID
    return pixels


def _counts(outline: bytes | memoryview) -> np.ndarray:
    """Return int64 run lengths. Raises :class:`OutlineFault` for damaged compressed text."""
    kind, _, _ = _HEADER.unpack_from(outline)
    start = _HEADER.size + _SIZE.size
    if kind == _COUNTS:
        return np.frombuffer(outline, np.uint32, offset=start).astype(np.int64)
    return _decompressed(outline[start:])


def _decompressed(text: bytes | memoryview) -> np.ndarray:
    """Return the int64 counts of COCO's compressed text.

    A character is 48 more than 6 bits: 5 of the number, lowest first, and one that says whether
    more follow. From the fourth count on, the difference to the last but one is stored.
    """
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not digits.size:
        return digits
    if digits.min() < 0 or digits.max() > 63:
        raise OutlineFault("its compressed RLE has a character that is none of '0' to 'o'")
    last = np.flatnonzero(digits < 32)
    if not last.size or last[-1] != digits.size - 1:
        raise OutlineFault("its compressed RLE ends in the middle of a number")
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > _DIGITS:
        raise OutlineFault("its compressed RLE has a count of more than 32 bits")
    places = np.arange(digits.size) - np.repeat(first, lengths)
    counts = np.add.reduceat((digits & 31) << (5 * places), first)
    counts -= ((digits[last] & 16) >> 4) << (5 * lengths)  # the highest bit is the sign
    for start in (1, 2):
        counts[start::2] = np.cumsum(counts[start::2])
    return counts


def _polygon_misfit(lengths: np.ndarray, steps: np.ndarray, height: int, width: int) -> str:
    corners = steps.reshape(-1, 2)
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    right_edge, lower_edge = _GRID * width, _GRID * height
    margin = _GRID * max(height, width)
    outside = ""
    if right < 0 or bottom < 0 or left > right_edge or top > lower_edge:
        outside = "wholly"
    elif min(left, top) < -margin or right > right_edge + margin or bottom > lower_edge + margin:
        outside = "far"
    if outside:
        return (
            f"its outline (x {left / _GRID:g} to {right / _GRID:g}, y {top / _GRID:g} to "
            f"{bottom / _GRID:g}) lies {outside} outside its image of {height}x{width} (height x "
            "width); was it drawn on another size of the image?"
        )
    # pycocotools walks along the outline in memory: a hostile one must not be endless.
    longest = max(_SHORTEST, _GRID * (height * width + 4 * (height + width)))
    if len(corners) * max(right - left, bottom - top) > longest:
        walked = 0
        for polygon in np.split(steps.astype(np.int64), np.cumsum(lengths)[:-1]):
            points = polygon.reshape(-1, 2)
            walked += int(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())
        if walked > longest:
            return (
                f"its outline is {walked // _GRID} pixels long, more than an image of "
                f"{height}x{width} (height x width) has room for"
            )
    return ""


def _bad_number(polygon: Iterable[Any]) -> str:
    for number in polygon:
        if not isinstance(number, (int, float)):
            return f"a polygon holds {_shown(number)}, expected numbers x1, y1, x2, y2, ..."
        if not abs(number) * _GRID < _FARTHEST - 1:
            return f"a polygon has the coordinate {_shown(number)}, expected pixels of the image"
    raise AssertionError("every number is fine")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."
