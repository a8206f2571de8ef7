"""One file of decoded samples, mapped into memory: the format behind ``cache.py``.

``MAGIC, samples, index, tail``. A sample is its image and then its labels, as they lie in memory.
The index is JSON: where each sample is, its size, its checksum, and the stamps of the files that
it was made from. The tail has the length and the sha256 of the index. Samples and index are in one
file, so that they appear together or not at all.
"""

import contextlib
import hashlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fcnseg.data.sample import Sample
from fcnseg.files import replacing

BYTES_A_PIXEL = 4
"""Three of the image, one of the labels."""

MAGIC = b"fcnseg cache 1\n\0"
_TAIL = struct.Struct("<Q32s16s")  # length of the index, its sha256, MAGIC


@dataclass(frozen=True)
class Entry:
    """One sample in the file.

    Attributes:
        start: of its first byte in the file.
        height, width: in pixels.
        crc32: of its bytes.
        stamps: what says whether the files that it was made from have changed.
    """

    start: int
    height: int
    width: int
    crc32: int
    stamps: tuple[str, ...]

    @property
    def length(self) -> int:
        """Bytes of image and labels."""
        return self.height * self.width * BYTES_A_PIXEL


class Pack:
    """A file written by :func:`write_pack`, opened for reading.

    Attributes:
        entries: the samples by their ids.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no whole pack. Nothing in it is trusted: every place and size is checked,
            and a sample itself by :meth:`is_intact`.
    """

    def __init__(self, path: Path) -> None:
        self.entries: dict[str, Entry] = {}
        self._path, self._state = path, (0, b"")
        self._map: mmap.mmap | None = None
        self.open()

    def open(self) -> bool:
        """Map the file again after :meth:`close`; return whether it is another than before.

        Raises as the class.
        """
        if self._map is not None:
            return False
        with self._path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            state = len(mapped), mapped[-_TAIL.size :]
            another = state != self._state
            if another:
                self.entries = _read_index(mapped)
        except BaseException:
            mapped.close()
            raise
        self._map, self._state = mapped, state
        return another

    def close(self) -> None:
        """Give up the mapping, without which Windows lets nobody replace the file.

        Raises :class:`BufferError` while an array of :meth:`image` or :meth:`label` is in use.
        """
        if self._map is not None:
            self._map.close()
            self._map = None

    def image(self, entry: Entry) -> np.ndarray:
        """Return the (H, W, 3) uint8 image, a read-only view of the file."""
        count = entry.height * entry.width * 3
        return self._view(entry.start, count).reshape(entry.height, entry.width, 3)

    def label(self, entry: Entry) -> np.ndarray:
        """Return the (H, W) uint8 class ids, a read-only view of the file."""
        count = entry.height * entry.width
        return self._view(entry.start + 3 * count, count).reshape(entry.height, entry.width)

    def read(self, entry: Entry) -> bytes:
        """Return a copy of the bytes of a sample."""
        assert self._map is not None
        return self._map[entry.start : entry.start + entry.length]

    def is_intact(self, entry: Entry) -> bool:
        """Return whether the bytes of a sample are as they were written."""
        assert self._map is not None
        with memoryview(self._map)[entry.start : entry.start + entry.length] as data:
            return zlib.crc32(data) == entry.crc32

    def mend(self, entry: Entry, data: bytes) -> None:
        """Write what a damaged sample was in its place, if the disk lets us.

        Nothing is written where ``data`` is something else than the sample, or the file is
        another by now.
        """
        if len(data) != entry.length or zlib.crc32(data) != entry.crc32:
            return
        with contextlib.suppress(OSError), self._path.open("r+b") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(-_TAIL.size, os.SEEK_END)
            if (length, file.read()) == self._state:
                file.seek(entry.start)
                file.write(data)

    def _view(self, start: int, count: int) -> np.ndarray:
        assert self._map is not None
        return np.frombuffer(self._map, np.uint8, count, start)


def write_pack(
    path: Path,
    old: Pack | None,
    kept: Mapping[str, tuple[str, ...]],
    samples: Iterable[tuple[Sample, tuple[str, ...]]],
    remedy: str,
    written: Callable[[], None],
) -> None:
    """Write a pack to ``path``, which appears whole or stays as it was.

    Args:
        path: the file.
        old: where samples are taken over from; closed before the file is replaced.
        kept: the ids and the stamps of these. What is damaged in ``old`` is left out.
        samples: the others, and their stamps.
        remedy: ends the message of the error.
        written: called after each sample.

    Raises:
        EnvironmentFault: the disk refuses.
    """
    index: dict[str, Any] = {}
    place = len(MAGIC)
    with replacing(path, remedy) as temporary, temporary.open("wb") as file:
        file.write(MAGIC)
        for name, stamps in kept.items():
            assert old is not None
            data, entry = old.read(old.entries[name]), old.entries[name]
            if zlib.crc32(data) == entry.crc32:
                file.write(data)
                index[name] = asdict(replace(entry, start=place, stamps=stamps))
                place += entry.length
            written()
        for sample, stamps in samples:
            data = sample_bytes(sample)
            file.write(data)
            height, width = sample.label.shape
            entry = Entry(place, height, width, zlib.crc32(data), stamps)
            index[sample.id] = asdict(entry)
            place += entry.length
            written()
        text = json.dumps(index).encode()
        file.write(text)
        file.write(_TAIL.pack(len(text), hashlib.sha256(text).digest(), MAGIC))
        if old is not None:
            old.close()


def sample_bytes(sample: Sample) -> bytes:
    """Return the image and then the labels as they are stored."""
    return b"".join(np.ascontiguousarray(part).data for part in (sample.image, sample.label))


def _read_index(data: mmap.mmap) -> dict[str, Entry]:
    text, end = _find_index(data)
    try:
        return {name: _entry(item, end) for name, item in json.loads(text).items()}
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("the index is not what it should be") from error


def _find_index(data: mmap.mmap) -> tuple[bytes, int]:
    """Return the text of the index, and the place where the samples end."""
    if len(data) < len(MAGIC) + _TAIL.size or data[: len(MAGIC)] != MAGIC:
        raise ValueError("no file of decoded samples")
    length, digest, magic = _TAIL.unpack(data[-_TAIL.size :])
    end = len(data) - _TAIL.size - length
    if magic != MAGIC or end < len(MAGIC):
        raise ValueError("not written to its end")
    text = data[end : end + length]
    if hashlib.sha256(text).digest() != digest:
        raise ValueError("the index is damaged")
    return text, end


def _entry(item: Mapping[str, Any], end: int) -> Entry:
    entry = Entry(**{**item, "stamps": tuple(item["stamps"])})
    if any(type(n) is not int for n in (entry.start, entry.height, entry.width, entry.crc32)):
        raise ValueError("an entry of the index is no number")
    if not 0 <= entry.crc32 < 1 << 32:
        raise ValueError("an entry of the index has no checksum")
    if entry.start < len(MAGIC) or min(entry.height, entry.width) < 1:
        raise ValueError("an entry of the index has no place or no size")
    if entry.start + entry.length > end:
        raise ValueError("an entry of the index lies behind the samples")
    return entry
