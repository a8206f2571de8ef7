"""One file of decoded samples, mapped into memory: the format behind ``cache.py``.

``MAGIC, samples, index, tail``. A sample is its image and then its labels, as they lie in memory.
The index is JSON: where each sample is, its size, its checksum, and the stamps of the files that
it was made from. The tail has the length and the sha256 of the index. Samples and index are in one
file, so that they appear together or not at all.
"""

import hashlib
import json
import mmap
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
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
        token: differs between files of different contents.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no whole pack. Nothing in it is trusted: every place and size is checked,
            and the samples themselves by :meth:`intact`.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.token, text, end = _find_index(self._map)
        try:
            found = json.loads(text)
            self.entries = {name: _entry(item, end) for name, item in found.items()}
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError("the index is not what it should be") from error

    def image(self, entry: Entry) -> np.ndarray:
        """Return the (H, W, 3) uint8 image, a read-only view of the file."""
        count = entry.height * entry.width * 3
        values = np.frombuffer(self._map, np.uint8, count, entry.start)
        return values.reshape(entry.height, entry.width, 3)

    def label(self, entry: Entry) -> np.ndarray:
        """Return the (H, W) uint8 class ids, a read-only view of the file."""
        count = entry.height * entry.width
        values = np.frombuffer(self._map, np.uint8, count, entry.start + 3 * count)
        return values.reshape(entry.height, entry.width)

    def bytes_of(self, entry: Entry) -> np.ndarray:
        """Return the bytes of a sample, a read-only uint8 view of the file."""
        return np.frombuffer(self._map, np.uint8, entry.length, entry.start)

    def intact(self, names: Sequence[str], threads: int = 1) -> list[str]:
        """Return the ids, among ``names``, of samples whose bytes are as they were written."""

        def is_intact(name: str) -> bool:
            entry = self.entries[name]
            return zlib.crc32(self.bytes_of(entry).data) == entry.crc32

        with ThreadPoolExecutor(max(1, threads)) as pool:
            checked = zip(names, pool.map(is_intact, names), strict=True)
            return [name for name, good in checked if good]


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
        old: where samples are taken over from.
        kept: the ids and the stamps of these.
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

        def write(
            name: str, stamps: tuple[str, ...], size: tuple[int, int], *parts: np.ndarray
        ) -> None:
            nonlocal place
            crc32 = 0
            for part in parts:
                whole = np.ascontiguousarray(part).reshape(-1).data
                crc32 = zlib.crc32(whole, crc32)
                file.write(whole)
            entry = Entry(place, *size, crc32, stamps)
            index[name] = asdict(entry)
            place += entry.length
            written()

        for name, stamps in kept.items():
            assert old is not None
            entry = old.entries[name]
            write(name, stamps, (entry.height, entry.width), old.bytes_of(entry))
        for sample, stamps in samples:
            size = sample.label.shape[0], sample.label.shape[1]
            write(sample.id, stamps, size, sample.image, sample.label)
        text = json.dumps(index).encode()
        file.write(text)
        file.write(_TAIL.pack(len(text), hashlib.sha256(text).digest(), MAGIC))


def _find_index(data: mmap.mmap) -> tuple[str, bytes, int]:
    """Return the token, the text of the index, and the place where the samples end."""
    if len(data) < len(MAGIC) + _TAIL.size or data[: len(MAGIC)] != MAGIC:
        raise ValueError("no file of decoded samples")
    length, digest, magic = _TAIL.unpack(data[-_TAIL.size :])
    end = len(data) - _TAIL.size - length
    if magic != MAGIC or end < len(MAGIC):
        raise ValueError("not written to its end")
    text = data[end : end + length]
    if hashlib.sha256(text).digest() != digest:
        raise ValueError("the index is damaged")
    return digest.hex(), text, end


def _entry(item: Mapping[str, Any], end: int) -> Entry:
    entry = Entry(**{**item, "stamps": tuple(item["stamps"])})
    if any(type(n) is not int for n in (entry.start, entry.height, entry.width, entry.crc32)):
        raise ValueError("an entry of the index is no number")
    if entry.start < len(MAGIC) or min(entry.height, entry.width) < 1:
        raise ValueError("an entry of the index has no place or no size")
    if entry.start + entry.length > end:
        raise ValueError("an entry of the index lies behind the samples")
    return entry
