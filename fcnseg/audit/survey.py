"""Every sample of a split looked at, in worker processes: all its faults, and what it holds."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcnseg.audit.doubts import doubts
from fcnseg.audit.examine import Examined, FullLook, QuickLook
from fcnseg.audit.kinds import is_picture, reading_in_words
from fcnseg.audit.report import Finding, Record, Report
from fcnseg.data.faults import faults_of
from fcnseg.data.loading import in_order
from fcnseg.data.sample import MAX_PIXELS, Source
from fcnseg.errors import DataError
from fcnseg.metrics import ConfusionMatrix

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""

FACTORS = (32, 16, 8)
"""Strides of the finest score maps of FCN-32s, 16s and 8s."""


def survey(
    source: Source,
    faults: Sequence[str] = (),
    workers: int = 0,
    progress: Progress | None = None,
    bounds: Sequence[int] = FACTORS,
    max_pixels: int = MAX_PIXELS,
) -> Report:
    """Decode every sample of ``source`` in full and report all faults, not the first.

    The report is the same for any number of workers.

    Args:
        source: one split.
        faults: messages about its layout, such as ``ImagePairs.faults`` of a source that was
            opened with ``strict=False``.
        workers: processes that decode; 0 decodes in this one.
        progress: told after each sample.
        bounds: factors for which the mean IU of a perfect prediction is computed, see
            :mod:`fcnseg.engine.upper_bound`.
        max_pixels: limit on masks that are read once more to say what kind they are.

    Raises:
        UsageError: fewer than 0 workers, or a factor below 1.
        EnvironmentFault: a worker was killed, or memory ran out.
    """
    report = _report(source, faults)
    matrices = [ConfusionMatrix(len(source.classes)) for _ in bounds]
    for item in _examined(report, source, FullLook(source, bounds), workers, progress):
        # Of a faulty sample there are none.
        for matrix, (cells, counts) in zip(matrices, item.cells, strict=False):
            matrix.counts.ravel()[cells] += counts
    for factor, matrix in zip(bounds, matrices, strict=True):
        if matrix.counts.any():
            report.bounds[factor] = matrix.scores().mean_iu
    report.mask_notes = _mask_notes(source, report.records, max_pixels)
    report.findings += doubts(report)
    return report


def quick(
    source: Source,
    workers: int = 0,
    progress: Progress | None = None,
    counts: bool = False,
    faults: Sequence[str] = (),
    max_pixels: int = MAX_PIXELS,
) -> Report:
    """Look at what can be seen without decoding images: their headers, and every mask in full.

    Of an image, the kind of file, the size and the orientation are checked. Masks are decoded,
    their values checked and their sizes compared; of labels that are painted from a json, the
    sizes that COCO's states are compared with those of the images. Digests, upper bounds and
    doubts are left to :func:`survey`.

    Args:
        source: one split, not scaled: sizes are compared with those of the files.
        workers: processes that look; 0 looks in this one.
        progress: told after each sample.
        counts: count class pixels even where that means to paint labels from a json; otherwise
            those records have no counts.
        faults: messages about the layout.
        max_pixels: images of more pixels are errors.

    Raises:
        As :func:`survey`.
    """
    report = _report(source, faults)
    for _ in _examined(report, source, QuickLook(source, counts, max_pixels), workers, progress):
        pass
    return report


def unopened(name: str, error: DataError) -> Report:
    """Return the report of a split that cannot be opened at all: the faults of ``error``."""
    report = Report(name, (), (), 0)
    report.findings = [finding_of(name, (), fault) for fault in faults_of(error)]
    return report


def finding_of(name: str, files: Iterable[Path | str], fault: str) -> Finding:
    """Return the error for a message ``FILE: what is wrong; what to do``.

    ``files`` are those it may be about. A message about another file, a folder or a flag starts
    with its name up to ``": "``; where it has none, the error is about ``name``.
    """
    for file in files:
        if fault.startswith(f"{file}: "):
            return Finding("error", str(file), fault[len(f"{file}: ") :])
    place, colon, rest = fault.partition(": ")
    if colon and (place.startswith("--") or any(mark in place for mark in "/\\.")):
        return Finding("error", place, rest)
    return Finding("error", name, fault)


def _report(source: Source, faults: Sequence[str]) -> Report:
    report = Report(source.name, tuple(source.classes), tuple(source.palette), len(source))
    report.findings = [finding_of(source.name, (), fault) for fault in faults]
    report.notes = tuple(getattr(source, "notes", ()))
    return report


def _examined(
    report: Report, source: Source, look: Any, workers: int, progress: Progress | None
) -> Iterable[Examined]:
    """Yield what came of each sample, its record and faults entered in the report."""
    for index, item in enumerate(in_order(look, workers)):
        name = source.id(index)
        report.findings += [finding_of(name, source.files(index), text) for text in item.faults]
        if item.record is not None:
            report.records.append(item.record)
        yield item
        if progress is not None:
            progress(index + 1, len(source))


def _mask_notes(source: Source, records: Sequence[Record], max_pixels: int) -> dict[str, str]:
    """How masks of each kind were read, told from the one that shows most classes."""
    richest: dict[str, Record] = {}
    for record in records:
        if is_picture([Path(file) for file in record.files]):
            other = richest.setdefault(record.mask_kind, record)
            if _classes_in(record) > _classes_in(other):
                richest[record.mask_kind] = record
    places = {source.id(index): index for index in range(len(source))}
    notes = {}
    for kind, record in richest.items():
        try:
            label: np.ndarray = source.label(places[record.id])
            note = reading_in_words(Path(record.files[-1]), label, max_pixels)
        except DataError:  # gone or changed meanwhile, or read by a reader of a person's own
            continue
        if note:
            notes[kind] = note
    return notes


def _classes_in(record: Record) -> int:
    return sum(count > 0 for count in record.class_pixels)
