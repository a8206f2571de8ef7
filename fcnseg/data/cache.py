"""Decoded samples on disk: decoded once, read by every epoch as they are.

A cache is one file a source (``pack.py``) in a folder of the user's choice; the parts that a source
is split into share its file. When it is opened, every sample is held against what it was made from
(``stamps.py``): the image by path, size and time of change, the labels by path and content. What
has changed and what is new is decoded; the rest is taken over. The bytes of a sample are checked
when a process first reads it. One that is damaged is decoded anew and mended in place: a flipped
bit shall not end a night of training.
"""

import re
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from mmap import mmap
from os.path import abspath
from pathlib import Path
from typing import Any

import numpy as np

from fcnseg.checks import check_image, check_labels, check_same_size
from fcnseg.data.loading import in_order
from fcnseg.data.pack import BYTES_A_PIXEL, Entry, Pack, sample_bytes, write_pack
from fcnseg.data.sample import Colour, Sample, Source
from fcnseg.data.stamps import Stamps, file_stamp, place_of, stamps_of, whole_of
from fcnseg.errors import DataError, EnvironmentFault, FcnsegError, UsageError

_REMEDY = "free some space, or choose another folder with --cache"

# The labels of so many samples tell how much room all of them need, to within this share.
_PROBED, _CERTAIN = 32, 0.8

# So often a file is written again that another process replaced in the meantime.
_ATTEMPTS = 3

# A temporary file that nobody has written to for so many seconds is left from a killed process.
_ABANDONED = 3600


def cached(
    source: Source,
    folder: Path,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Return the samples of ``source``, bit for bit, read from a cache in ``folder``.

    The cache is built or brought up to date first. It has 4 bytes a pixel.

    Args:
        source: samples that come from files.
        folder: made if it is not there; may hold the caches of several sources.
        workers: processes that decode; 0 decodes in this one.
        progress: called with (files of labels compared, files in all), and then, if the cache is
            written, with (samples written, samples in all).

    Returns:
        A source of read-only arrays; picklable.

    Raises:
        UsageError: the samples are no files, so that there is nothing to decode.
        DataError: a sample is faulty, in the words of its source; or two have one id.
        EnvironmentFault: the folder cannot be written or has no room; nothing half-written stays.
    """
    whole = whole_of(source)
    _refuse(source, whole)
    path = Path(abspath(folder)) / _file_name(whole)
    stamps = stamps_of(source, workers, progress)
    for _ in range(_ATTEMPTS):
        pack = _opened(path)
        try:
            entries = {} if pack is None else pack.entries
            kept = {n: s for n, s in stamps.items() if n in entries and entries[n].stamps == s}
            if pack is not None and len(kept) == len(stamps):
                return CachedSource(source, path, pack)
            kept |= _of_other_parts(whole, entries, stamps)
            new = {source.id(i): i for i in range(len(source)) if source.id(i) not in kept}
            _make_room(source, path, list(new.values()), [entries[name] for name in kept])
            decoded = in_order(_Decode(source, list(new.values())), workers)
            samples = ((sample, stamps[sample.id]) for sample in decoded)
            count = _Counter(len(kept) + len(new), progress)
            write_pack(path, pack, kept, samples, _REMEDY, count)
        finally:
            if pack is not None:
                pack.close()
    raise EnvironmentFault(
        f"{path}: was replaced by another process each time it was written; start again, and give "
        "processes whose data differ a --cache of their own"
    )


class CachedSource:
    """A source whose samples are read from a cache; made by :func:`cached`.

    Each process maps the file when it first reads from it. Should the file have been replaced
    since, a sample that is in it as it was is read, and another decoded.
    """

    def __init__(self, source: Source, path: Path, pack: Pack) -> None:
        self.name = source.name
        self.classes: tuple[str, ...] = source.classes
        self.palette: tuple[Colour, ...] = source.palette
        self._source, self._path = source, path
        sums = [pack.entries[source.id(index)].crc32 for index in range(len(source))]
        self._crc32s = np.array(sums, np.uint32)
        # 1 where a sample was found intact. Processes that are forked share it.
        self._checked: mmap | bytearray = mmap(-1, len(source))
        self._pack: Pack | None = pack
        self._lost = False

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        found = self._find(index)
        if found is None:
            return self._decode(index)
        pack, entry = found
        return Sample(pack.image(entry), pack.label(entry), self.id(index))

    def label(self, index: int) -> np.ndarray:
        """Return the (H, W) uint8 class ids of a sample, read-only."""
        found = self._find(index)
        return self._decode(index).label if found is None else found[0].label(found[1])

    def id(self, index: int) -> str:
        """Return the name of a sample."""
        return self._source.id(index)

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that a sample was decoded from."""
        return self._source.files(index)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pack": None, "_checked": bytearray(len(self)), "_lost": False}

    def _opened(self) -> Pack | None:
        """Return the file, mapped; None where this process found it unusable."""
        try:
            if self._pack is None and not self._lost:
                self._pack = Pack(self._path)
            elif self._pack is not None and self._pack.open():
                self._checked = bytearray(len(self))
        except (OSError, ValueError):
            self._pack, self._lost = None, True
        return self._pack

    def _find(self, index: int) -> tuple[Pack, Entry] | None:
        """Return where a sample is; None if the file does not have it as it was."""
        pack = self._opened()
        entry = None if pack is None else pack.entries.get(self.id(index))
        if pack is None or entry is None or entry.crc32 != self._crc32s[index]:
            return None
        if not self._checked[index]:
            if not pack.is_intact(entry):
                return None
            self._checked[index] = 1
        return pack, entry

    def _decode(self, index: int) -> Sample:
        """Decode a sample that cannot be read, and mend the file if it is damaged there."""
        sample = self._source[index]
        data, name = sample_bytes(sample), self.id(index)
        if zlib.crc32(data) != self._crc32s[index]:
            raise EnvironmentFault(
                f"{self.files(index)[0]}: changed while in use, or its labels did, and --cache "
                f"{self._path} no longer has what it was; start again"
            )
        if self._pack is not None and name in self._pack.entries:
            self._pack.mend(self._pack.entries[name], data)
        parts = [np.ascontiguousarray(part).view() for part in (sample.image, sample.label)]
        for part in parts:
            part.flags.writeable = False
        return Sample(parts[0], parts[1], name)


class _Decode:
    """Decodes the samples at ``indices``, in worker processes; a user's error is returned."""

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, place: int) -> Sample | FcnsegError:
        index = self._indices[place]
        name = self._source.id(index)
        try:
            sample = self._source[index]
            image, label = sample.image, sample.label
            check_image(name, image)
            check_labels(name, label)
            check_same_size(name, image.shape[:2], "its label", label.shape)
            if label.dtype != np.uint8:
                raise UsageError(f"{name}: expected uint8 labels, got {label.dtype}")
        except FcnsegError as error:
            return error
        return Sample(image, label, name)


class _Counter:
    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def __call__(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _opened(path: Path) -> Pack | None:
    """Return the pack at ``path``; None where there is none that can be used."""
    try:
        return Pack(path)
    except (OSError, ValueError):
        return None


def _refuse(source: Source, whole: Source) -> None:
    """Raise the errors of :func:`cached` that a look at ids and names of files is enough for."""
    if len(source) == 0:
        raise DataError(f"{source.name}: has no samples")
    if not all(source.files(index) for index in range(len(source))):
        raise UsageError(
            f"--cache: the samples of {source.name} are generated, there are no files to decode; "
            "leave --cache out"
        )
    name, count = Counter(map(whole.id, range(len(whole)))).most_common(1)[0]
    if count > 1:
        raise DataError(
            f"{whole.name}: {count} samples have the id {name!r}, and --cache tells samples apart "
            "by their ids; give each an id of its own"
        )


def _of_other_parts(
    whole: Source, entries: Mapping[str, Entry], stamps: Mapping[str, Stamps]
) -> dict[str, Stamps]:
    """Return ids and stamps of what the file has of the rest of the source, to be kept."""
    code = next(iter(stamps.values()))[0]
    found = {}
    for index in range(len(whole)):
        name = whole.id(index)
        if name in entries and name not in stamps:
            image = file_stamp(whole.files(index)[0])
            if entries[name].stamps[:2] == (code, image):
                found[name] = entries[name].stamps
    return found


def _file_name(whole: Source) -> str:
    digest = sha256(place_of(whole).encode("utf-8", "surrogatepass")).hexdigest()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", whole.name).strip(".-")[:60]
    return f"{plain}-{digest[:16]}.cache"


def _make_room(source: Source, path: Path, new: list[int], kept: list[Entry]) -> None:
    """Make the folder and see that the cache will fit, as far as that can be told beforehand."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for part in path.parent.glob(f".{path.name}.*.part"):
            if time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise EnvironmentFault(
            f"--cache {path.parent}: cannot be used ({error.strerror or error}); "
            "choose another folder"
        ) from None
    pixels = []
    for index in new[:: max(1, len(new) // _PROBED)]:
        with suppress(DataError):  # said when the sample is decoded
            pixels.append(source.label(index).size)
    needed = BYTES_A_PIXEL * sum(pixels) / max(1, len(pixels)) * len(new)
    needed += sum(entry.length for entry in kept)
    if free < _CERTAIN * needed:
        raise EnvironmentFault(
            f"--cache {path.parent}: the decoded samples of {source.name} need about "
            f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; {_REMEDY}"
        )
