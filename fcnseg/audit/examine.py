"""One sample looked at: its faults, or what it holds. Runs in worker processes."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fcnseg.audit.kinds import mask_kind
from fcnseg.audit.report import Record
from fcnseg.data.faults import faults_of
from fcnseg.data.images import read_size
from fcnseg.data.pairs import Pair, size_fault
from fcnseg.data.sample import MAX_PIXELS, VOID, Source
from fcnseg.engine.upper_bound import coarse_counts
from fcnseg.errors import DataError, FcnsegError

_COUNTED = 2**21

Cells = tuple[np.ndarray, np.ndarray]
"""The cells of a flat (K * K) confusion matrix that are not 0, and their counts, both int64."""


@dataclass(frozen=True, eq=False)
class Examined:
    """What came of one sample: a record and, for each factor, its confusion; or its faults."""

    record: Record | None = None
    faults: tuple[str, ...] = ()
    cells: tuple[Cells, ...] = ()


class FullLook:
    """Decodes image and mask of one sample; ``factors`` as in ``upper_bounds``."""

    def __init__(self, source: Source, factors: Sequence[int]) -> None:
        self._source, self._factors = source, tuple(factors)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Examined | FcnsegError:
        try:
            return self._examine(index)
        except DataError as error:
            return Examined(faults=faults_of(error))
        except FcnsegError as error:  # torch would wrap one that a worker raises
            return error

    def _examine(self, index: int) -> Examined:
        source = self._source
        sample = source[index]
        files = source.files(index)
        label = sample.label
        where = files[-1] if files else sample.id
        _check_label(where, label, sample.image.shape[:2], len(source.classes))
        record = _record(
            source, index, label, digest=_digest(sample.image), mask_digest=_digest(label)
        )
        count = len(source.classes)
        counts = coarse_counts(label, self._factors, count)
        return Examined(record, cells=tuple(map(_cells, counts)))


class QuickLook:
    """Decodes the mask of one sample, and reads the header of its image.

    Labels that are painted from a json are only if ``counts``; where the json states the size of
    the image, the two are compared all the same.
    """

    def __init__(self, source: Source, counts: bool, max_pixels: int = MAX_PIXELS) -> None:
        self._source, self._counts, self._max_pixels = source, counts, max_pixels

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Examined | FcnsegError:
        try:
            return self._examine(index)
        except FcnsegError as error:
            return error

    def _examine(self, index: int) -> Examined:
        source = self._source
        files = source.files(index)
        faults: list[str] = []
        size = label = None
        if files:
            try:
                size = read_size(files[0], self._max_pixels)
            except DataError as error:
                faults += faults_of(error)
        misfit = _misfit(source, index, size) if size is not None else ""
        if misfit:
            faults.append(misfit)
        elif self._counts or (files and files[-1].suffix.lower() != ".json"):
            try:
                label = source.label(index)
                where = files[-1] if files else source.id(index)
                _check_label(where, label, label.shape, len(source.classes))
            except DataError as error:
                faults += faults_of(error)
        if faults:
            return Examined(faults=tuple(faults))
        if size is not None and label is not None and size != label.shape:
            pair = Pair(source.id(index), files[0], files[-1])
            return Examined(faults=(size_fault(pair, size, label.shape),))
        if label is None:
            assert size is not None
            return Examined(_bare_record(source, index, size))
        return Examined(_record(source, index, label))


def _misfit(source: Source, index: int, size: tuple[int, int]) -> str:
    """Return what a source that knows the sizes of its labels unread says of an image's, or ""."""
    misfit = getattr(source, "misfit", None)
    return misfit(index, size) if callable(misfit) else ""


def _record(
    source: Source, index: int, label: np.ndarray, digest: str = "", mask_digest: str = ""
) -> Record:
    counts = sum(
        (np.bincount(part.ravel(), minlength=VOID + 1) for part in _strips(label)),
        start=np.zeros(VOID + 1, np.int64),
    )
    files = source.files(index)
    return Record(
        id=source.id(index),
        files=tuple(map(str, files)),
        size=(int(label.shape[0]), int(label.shape[1])),
        class_pixels=tuple(counts[: len(source.classes)].tolist()),
        void_pixels=int(counts[VOID]),
        digest=digest,
        mask_kind=mask_kind(files),
        mask_digest=mask_digest,
    )


def _bare_record(source: Source, index: int, size: tuple[int, int]) -> Record:
    files = source.files(index)
    return Record(
        source.id(index), tuple(map(str, files)), size, (), 0, digest="",
        mask_kind=mask_kind(files),
    )  # fmt: skip


def _check_label(where: object, label: np.ndarray, size: tuple[int, ...], count: int) -> None:
    """Raise for what a reader of a person's own may hand out; ours never do."""
    if label.dtype != np.uint8 or label.shape != size:
        raise DataError(
            f"{where}: the labels are {label.dtype} {label.shape}, expected uint8 {tuple(size)} "
            "(height, width), as its image has; correct the reader"
        )
    wrong = (label >= count) & (label != VOID)
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        raise DataError(
            f"{where}: label {label[y, x]} at x={x}, y={y} ({int(wrong.sum())} such pixels) is no "
            f"class id; expected 0 to {count - 1}, or {VOID} for void; correct the reader"
        )


def _cells(counts: np.ndarray) -> Cells:
    flat = counts.ravel()
    there = np.flatnonzero(flat)
    return there, flat[there]


def _digest(pixels: np.ndarray) -> str:
    content = hashlib.sha256("x".join(map(str, pixels.shape)).encode() + b" ")
    content.update(np.ascontiguousarray(pixels).data)
    return content.hexdigest()


def _strips(label: np.ndarray) -> Iterator[np.ndarray]:
    """Rows that are few enough to be counted at 8 bytes a pixel and more, in order."""
    rows = max(1, _COUNTED // label.shape[1])
    return (label[top : top + rows] for top in range(0, len(label), rows))
