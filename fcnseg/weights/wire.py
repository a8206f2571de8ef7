"""The wire format of protocol buffers, as far as reading messages from an untrusted file takes.

A message is a run of fields. A field starts with a key, a varint that holds its number and its
wire type; the wire type says how far its value goes. Nothing here knows what a field means.

Field numbers and types are those of the protocol buffers encoding; there is no recursion, and
what a file may cost is bounded by a count of fields.
"""

from collections.abc import Iterator
from mmap import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcnseg.errors import WeightsError

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5

_FIXED = {EIGHT_BYTES: 8, FOUR_BYTES: 4}
_VARINT_BYTES = 10
_LARGEST_NUMBER = (1 << 29) - 1
# A network has some hundred layers of some dozen fields; more would only take time.
_MOST_FIELDS = 200_000
_LONGEST_RUN = 4096


class Field(NamedTuple):
    """A field of a message, or a run of the same field where its values have a fixed size.

    Attributes:
        number: what the message's definition calls it.
        kind: its wire type.
        value: the number where ``kind`` is ``VARINT``.
        start: where its bytes begin in the file; ``VARINT`` has none.
        end: the byte after them.
        step: bytes from one value of a run to the next.
    """

    number: int
    kind: int
    value: int
    start: int
    end: int
    step: int = 0


class Wire:
    """A file of messages.

    Args:
        path: names the file in errors.
        data: its bytes.
        what: what the file should be, for errors.
    """

    def __init__(self, path: Path, data: mmap | bytes, what: str) -> None:
        self.data = data
        self._path, self._what = path, what
        self._left = _MOST_FIELDS

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message between two places, in the order of the file.

        Raises:
            WeightsError: a field goes beyond the end, or has a number or a wire type that is
                none; groups, which no version of proto2 in use writes, are refused too.
        """
        place = start
        while place < end:
            first = place
            key, place = self._varint(place, end)
            number, kind = key >> 3, key & 7
            self.count(first)
            if not 0 < number <= _LARGEST_NUMBER:
                raise self.fault(first, f"a field has the number {number}")
            if kind == VARINT:
                value, place = self._varint(place, end)
                yield Field(number, kind, value, place, place)
                continue
            step = 0
            if kind == BYTES:
                size, place = self._varint(place, end)
            elif kind in _FIXED:
                step = place - first + _FIXED[kind]
                size = self._run(first, place - first, step, end) * step - (place - first)
            else:
                raise self.fault(first, f"a field has the wire type {kind}")
            if size > end - place:
                raise self.fault(first, f"a field claims {size} bytes, {end - place} are left")
            yield Field(number, kind, 0, place, place + size, step)
            place += size

    def varints(self, field: Field) -> list[int]:
        """The numbers of a repeated field: one, or several packed into bytes."""
        if field.kind == VARINT:
            return [field.value]
        if field.kind != BYTES:
            raise self.fault(field.start, "a list of whole numbers has another type")
        numbers, place = [], field.start
        while place < field.end:
            self.count(place)
            number, place = self._varint(place, field.end)
            numbers.append(number)
        return numbers

    def count(self, place: int) -> None:
        """Take one from the fields that a file may have."""
        self._left -= 1
        if self._left < 0:
            raise self.fault(place, f"more than {_MOST_FIELDS} fields")

    def fault(self, place: int, reason: str) -> WeightsError:
        """The error for something that is wrong at a place of the file."""
        return WeightsError(
            f"{self._path}: truncated, or not {self._what} (byte {place}: {reason}); "
            "fetch the file again"
        )

    def _run(self, first: int, key: int, step: int, end: int) -> int:
        """How many fields with the same ``key`` bytes follow each other, this one included."""
        count = min((end - first) // step, _LONGEST_RUN)
        if count < 2:
            return 1
        fields = np.frombuffer(self.data, np.uint8, count * step, first).reshape(count, step)
        same = (fields[:, :key] == fields[0, :key]).all(1)
        return count if same.all() else int(same.argmin())

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        """The number that begins at ``place``, seven bits a byte, and where it ends."""
        number = 0
        for shift in range(_VARINT_BYTES):
            if place + shift >= end:
                raise self.fault(place, "a number is cut off")
            byte = self.data[place + shift]
            number |= (byte & 0x7F) << (7 * shift)
            if byte < 0x80:
                return number & 0xFFFF_FFFF_FFFF_FFFF, place + shift + 1
        raise self.fault(place, f"a number has more than {_VARINT_BYTES} bytes")
