"""Decoded samples on disk: decoded once, read by every epoch as they are.

A cache is one file a source (``pack.py``) in a folder of the user's choice. When it is opened,
every sample is held against what it was made from (``stamps.py``): the image by path, size and
time of change, the labels by path and content. What has changed, what is new and what is damaged
is decoded; the rest is taken over.
"""

import contextlib
import hashlib
import re
import shutil
import time
from collections.abc import Callable, Sequence
from os.path import abspath, commonpath
from pathlib import Path
from typing import Any

import numpy as np

from fcnseg.checks import check_image, check_labels, check_same_size
from fcnseg.data.loading import in_order
from fcnseg.data.pack import BYTES_A_PIXEL, Entry, Pack, write_pack
from fcnseg.data.sample import Colour, Sample, Source
from fcnseg.data.stamps import Stamps, settings_of, stamps_of
from fcnseg.errors import DataError, EnvironmentFault, FcnsegError, UsageError

_REMEDY = "free some space, or choose another folder with --cache"

# The labels of so many samples tell how much room all of them need, to within this share.
_PROBED, _CERTAIN = 32, 0.8

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
        progress: called with (samples written, samples in all) while the cache is written.

    Returns:
        A source of read-only arrays; picklable.

    Raises:
        UsageError: the samples are no files, so that there is nothing to decode.
        DataError: a sample is faulty, in the words of its source.
        EnvironmentFault: the folder cannot be written or has no room; nothing half-written stays.
    """
    if len(source) == 0:
        raise DataError(f"{source.name}: has no samples")
    if not all(source.files(index) for index in range(len(source))):
        raise UsageError(
            f"--cache: the samples of {source.name} are generated, there are no files to decode; "
            "leave --cache out"
        )
    folder = Path(abspath(folder))
    path = folder / _file_name(source)
    stamps = stamps_of(source, workers)
    pack = _opened(path)
    kept = _unchanged(pack, stamps, workers)
    if len(kept) < len(stamps):
        _make_room(source, path)
        old = {name: stamps[name] for name in kept}
        new = [index for index in range(len(source)) if source.id(index) not in old]
        decoded = in_order(_Decode(source, new), workers)
        samples = ((sample, stamps[sample.id]) for sample in decoded)
        write_pack(path, pack, old, samples, _REMEDY, _Counter(len(stamps), progress))
        pack = _opened(path)
    if pack is None or any(_stamps_in(pack, name) != stamp for name, stamp in stamps.items()):
        raise _replaced(path)
    return CachedSource(source, path, pack)


class CachedSource:
    """A source whose samples are read from a cache; made by :func:`cached`.

    Each process maps the file when it first reads from it.
    """

    def __init__(self, source: Source, path: Path, pack: Pack) -> None:
        self.name = source.name
        self.classes: tuple[str, ...] = source.classes
        self.palette: tuple[Colour, ...] = source.palette
        self._source, self._path, self._token = source, path, pack.token
        self._pack: Pack | None = pack

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        pack, entry = self._find(index)
        return Sample(pack.image(entry), pack.label(entry), self.id(index))

    def label(self, index: int) -> np.ndarray:
        """Return the (H, W) uint8 class ids of a sample, read-only."""
        pack, entry = self._find(index)
        return pack.label(entry)

    def id(self, index: int) -> str:
        """Return the name of a sample."""
        return self._source.id(index)

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that a sample was decoded from."""
        return self._source.files(index)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pack": None}

    def _find(self, index: int) -> tuple[Pack, Entry]:
        if self._pack is None:
            self._pack = _opened(self._path)
            if self._pack is None or self._pack.token != self._token:
                raise _replaced(self._path)
        return self._pack, self._pack.entries[self.id(index)]


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


def _stamps_in(pack: Pack, name: str) -> Stamps | None:
    entry = pack.entries.get(name)
    return None if entry is None else entry.stamps


def _unchanged(pack: Pack | None, stamps: dict[str, Stamps], threads: int) -> list[str]:
    """Return the ids of the samples that need not be decoded."""
    if pack is None:
        return []
    same = [name for name, stamp in stamps.items() if _stamps_in(pack, name) == stamp]
    return pack.intact(same, threads)


def _file_name(source: Source) -> str:
    """Return the name of the one file for these settings of the reader and this place of data."""
    folders = {abspath(source.files(index)[0].parent) for index in range(len(source))}
    try:
        root = commonpath(folders)
    except ValueError:  # on different drives
        root = min(folders)
    text = "\n".join([source.name, root, settings_of(source)])
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", source.name).strip(".-")[:60]
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.cache"


def _make_room(source: Source, path: Path) -> None:
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
    step = max(1, len(source) // _PROBED)
    for index in range(0, len(source), step):
        with contextlib.suppress(DataError):  # said when the sample is decoded
            pixels.append(source.label(index).size)
    needed = BYTES_A_PIXEL * sum(pixels) / max(1, len(pixels)) * len(source)
    if free < _CERTAIN * needed:
        raise EnvironmentFault(
            f"--cache {path.parent}: the decoded samples of {source.name} need about "
            f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; {_REMEDY}"
        )


def _replaced(path: Path) -> EnvironmentFault:
    return EnvironmentFault(
        f"{path}: was replaced by another process while in use; start again, and give processes "
        "whose data differ a --cache of their own"
    )
