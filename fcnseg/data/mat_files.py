"""MATLAB 5 files: one numeric field of one struct, decoded by scipy.

scipy trusts such a file: one flipped bit can crash the process, and a few bytes can ask for any
amount of memory. So the field is looked up here, where compressed parts are unpacked to no more
than a fixed size and every claimed size and type is checked, and scipy is given a file that holds
this one array.
"""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from fcnseg.errors import DataError

# A file of SBD has 10 kB, and 1 MB unpacked.
_LARGEST = 64 << 20
_MOST_ELEMENTS = 100_000

# Types of elements and classes of arrays, as MATLAB numbers them.
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_STRUCT, _NUMERIC = 2, range(6, 16)
_COMPLEX = 1 << 11

Element = tuple[int, memoryview]


class _Refused(Exception):
    """The file must not be read; the text says why."""


def read_mat_field(path: Path, variable: str, field: str) -> np.ndarray:
    """Return the numbers of ``variable.field``, of a MATLAB 5 file where ``variable`` is a struct.

    Raises :class:`DataError` if the file is missing, damaged, of another version, unpacks to more
    than 64 MiB, or has no such field of real numbers.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise _Refused(f"is larger than {_LARGEST} bytes, far too large for such a file")
        found = loadmat(io.BytesIO(_alone(content, variable, field)))
        return np.asarray(found["field"])
    except _Refused as error:
        raise DataError(f"{path}: {error}; get the file again") from None
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; check the path") from None
    except (OSError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({reason}); get the file again") from None


def _alone(content: bytes, variable: str, field: str) -> bytes:
    """A file in which the array ``variable.field`` is the only one and is called "field"."""
    header = content[:128]
    if header.startswith(b"MATLAB 7.3") or b"\x89HDF" in (content[:4], content[512:516]):
        raise _Refused(
            "is a MATLAB 7.3 (HDF5) file, expected MATLAB 5; save it in MATLAB with `-v7`"
        )
    order = {b"IM\x00\x01": "<", b"MI\x01\x00": ">"}.get(header[126:] + header[124:126])
    if order is None or not header.startswith(b"MATLAB 5"):
        raise _Refused("is no MATLAB 5 file")
    parts = _Parts(order)
    fields = _fields(parts, _variable(parts, content[128:], variable), variable)
    if field not in fields:
        raise _Refused(f"has no field {field} in {variable}, only {sorted(fields)[:5]}")
    flag, sizes, _, rest = parts.description(fields[field])
    kind, numbers = next(rest, (0, memoryview(b"")))
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    claimed = math.prod(shape) * _BYTES_OF_TYPE.get(kind, 0)
    if flag & 0xFF not in _NUMERIC or flag & _COMPLEX or kind not in _BYTES_OF_TYPE:
        raise _Refused(f"has something else than real numbers in {variable}.{field}")
    if min(shape) < 0 or claimed != len(numbers):
        raise _Refused(
            f"has {len(numbers)} bytes of numbers in {variable}.{field}, where its shape "
            f"{shape} needs {claimed}"
        )
    flags = struct.pack(f"{order}II", flag & 0xFF, 0)
    elements = ((_UINT32, flags), (_INT32, sizes), (_INT8, b"field"), (kind, numbers))
    array = b"".join(parts.packed(kind, data) for kind, data in elements)
    return header + parts.packed(_MATRIX, array)


def _variable(parts: "_Parts", content: bytes, name: str) -> memoryview:
    """The array called ``name``, unpacked if it is compressed."""
    left = _LARGEST
    for kind, data in parts.of(memoryview(content), unit=1):
        if kind == _COMPRESSED:
            plain = _decompressed(data, left)
            left -= len(plain)
            kind, data = next(parts.of(memoryview(plain)), (0, data))
        if kind != _MATRIX:
            raise _Refused(f"has an element of type {kind} where an array is expected")
        if data and bytes(parts.description(data)[2]) == name.encode():
            return data
    raise _Refused(f"has no variable {name}")


def _decompressed(data: memoryview, most: int) -> bytes:
    stream = zlib.decompressobj()
    plain = stream.decompress(data, most + 1)
    if len(plain) > most:
        raise _Refused(f"unpacks to more than {_LARGEST} bytes, far too much for such a file")
    if not stream.eof:
        raise _Refused("is cut off within a compressed part")
    return plain


def _fields(parts: "_Parts", array: memoryview, variable: str) -> dict[str, memoryview]:
    """The arrays of a struct by their names."""
    flag, sizes, _, rest = parts.description(array)
    if flag & 0xFF != _STRUCT or set(parts.numbers(sizes)) != {1}:
        raise _Refused(f"has no struct called {variable}, but another kind of array")
    length = (parts.numbers(_next(rest, _INT32)) or (0,))[0]
    names = bytes(_next(rest, _INT8))
    if not 1 <= length <= 256:
        raise _Refused(f"has field names of {length} letters")
    starts = range(0, len(names), length)
    found = [names[i : i + length].split(b"\0")[0].decode("latin-1") for i in starts]
    return dict(zip(found, (data for kind, data in rest if kind == _MATRIX), strict=False))


class _Parts:
    """Takes a file apart into its elements, and counts them."""

    def __init__(self, order: str) -> None:
        self._order = order
        self._count = 0

    def of(self, data: memoryview, unit: int = 8) -> Iterator[Element]:
        """Yield (type, bytes) of each element; each is padded to a multiple of ``unit`` bytes."""
        place = 0
        while place < len(data):
            self._count += 1
            if self._count > _MOST_ELEMENTS:
                raise _Refused(f"has more than {_MOST_ELEMENTS} elements")
            if len(data) - place < 8:
                raise _Refused("is cut off within the head of an element")
            kind, size = struct.unpack_from(f"{self._order}II", data, place)
            start, room = place + 8, size + -size % unit
            if kind >> 16:  # up to 4 bytes are kept inside the head
                kind, size = kind & 0xFFFF, kind >> 16
                start, room = place + 4, 4
            if size > room or start + room > len(data):
                raise _Refused(f"has an element that claims {size} bytes and does not have them")
            place = start + room
            yield kind, data[start : start + size]

    def packed(self, kind: int, data: bytes | memoryview) -> bytes:
        """An element as it stands in a file."""
        return struct.pack(f"{self._order}II", kind, len(data)) + data + bytes(-len(data) % 8)

    def numbers(self, data: memoryview) -> tuple[int, ...]:
        """Whole numbers of 4 bytes."""
        return struct.unpack(f"{self._order}{len(data) // 4}i", data[: len(data) // 4 * 4])

    def description(
        self, array: memoryview
    ) -> tuple[int, memoryview, memoryview, Iterator[Element]]:
        """Of an array: flags with its class, its sizes, its name, and what follows."""
        rest = self.of(array)
        flags, sizes = _next(rest, _UINT32), _next(rest, _INT32)
        if len(flags) != 8 or len(sizes) % 4 or not 8 <= len(sizes) <= 32:
            raise _Refused("has an array whose description is damaged")
        return self.numbers(flags)[0], sizes, _next(rest, _INT8), rest


def _next(elements: Iterator[Element], kind: int) -> memoryview:
    """The bytes of the next element, which is of type ``kind``."""
    found, data = next(elements, (0, memoryview(b"")))
    if found != kind:
        raise _Refused("has an array whose description is damaged")
    return data
