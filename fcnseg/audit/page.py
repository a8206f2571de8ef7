"""The page of ``fcnseg check --html``: reports and samples, read again, as HTML."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcnseg.audit.kinds import by_kind, is_picture, kind_in_words
from fcnseg.audit.report import Finding, Report, other_classes
from fcnseg.audit.showcase import Choice, choose
from fcnseg.data.images import MaskPixels, read_image, read_mask_pixels
from fcnseg.data.sample import MAX_PIXELS, VOID, Source
from fcnseg.errors import DataError, FcnsegError
from fcnseg.files import write_atomically
from fcnseg.palette import voc_palette
from fcnseg.render.check_facts import Checked, Kind, Picture, Split
from fcnseg.render.check_page import check_page
from fcnseg.render.gallery import coloured_mask, parts_thumbnail, sample_thumbnail
from fcnseg.render.markup import by


def write_page(
    path: str | Path,
    reports: Sequence[Report],
    sources: Sequence[Source | None],
    across: Sequence[Finding],
    command: str,
    max_pixels: int = MAX_PIXELS,
) -> Path:
    """Write what a check found as one self-contained HTML page; returns ``path``.

    Args:
        path: the file; an existing one is replaced in one step.
        reports: one a split, the training split first.
        sources: what each was made of; None where it could not be opened.
        across: findings between splits.
        command: what to run next.
        max_pixels: larger files are not shown.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    checked = to_page(reports, sources, across, command, max_pixels)
    return write_atomically(Path(path), check_page(checked).encode("utf-8", "replace"))


def to_page(
    reports: Sequence[Report],
    sources: Sequence[Source | None],
    across: Sequence[Finding],
    command: str,
    max_pixels: int = MAX_PIXELS,
) -> Checked:
    """Return everything that is on the page; the samples of its gallery are read again."""
    first = next((report for report in reports if report.classes), reports[0])
    shown = (
        _picture(choice, reports[choice.part], sources[choice.part], max_pixels)
        for choice in choose(reports, sources, across)
    )
    return Checked(
        name=_common_name([report.name for report in reports]),
        classes=first.classes,
        palette=first.palette,
        splits=tuple(_split(report, first) for report in reports),
        kinds=_kinds(reports, across),
        pictures=tuple(picture for picture in shown if picture is not None),
        command=command,
    )


def _split(report: Report, first: Report) -> Split:
    counted = report.counted and report.classes == first.classes
    masks = [
        f"{kind_in_words(kind, count)}{note and ': '}{note}"
        for kind, count in report.mask_kinds.most_common()
        for note in [report.mask_notes.get(kind, "")]
    ]
    if differ := other_classes(first, report):
        masks.append(f"other classes than {first.name}, so they are not counted above: {differ}")
    return Split(
        name=report.name,
        images=report.images,
        readable=report.readable,
        errors=report.errors,
        warnings=report.warnings,
        class_pixels=tuple(report.class_pixels) if counted else (),
        class_images=tuple(report.class_images) if counted else (),
        class_weights=tuple(report.class_weights) if counted else (),
        void_pixels=report.void_pixels if counted else 0,
        sizes=report.sizes,
        masks="; ".join(masks),
        bounds=report.bounds,
    )


def _kinds(reports: Sequence[Report], across: Sequence[Finding]) -> tuple[Kind, ...]:
    kinds = [
        Kind(group[0].severity, where, tuple((f.file, f.message) for f in group))
        for where, findings in [
            ("more than one split", across),
            *((report.name, report.findings) for report in reports),
        ]
        for group in by_kind(findings)
    ]
    return tuple(sorted(kinds, key=lambda kind: kind.severity != "error"))


def _common_name(names: Sequence[str]) -> str:
    """``camvid`` of ``camvid/train`` and ``camvid/val``."""
    starts = {name.partition("/")[0] for name in names}
    return starts.pop() if len(starts) == 1 else names[0]


def _picture(
    choice: Choice, report: Report, source: Source | None, max_pixels: int
) -> Picture | None:
    """Read a sample; what of it cannot be read is left out, None if that is all of it."""
    assert source is not None
    index = choice.index
    contents: list[tuple[str, float]] = []
    try:
        sample = source[index]
        thumbnail = sample_thumbnail(sample.image, sample.label, report.palette)
        size = by(sample.label.shape)
        contents = _contents(sample.label, report.classes)
    except FcnsegError:
        image = _image(source, index, max_pixels)
        mask = _mask(source, index, report, max_pixels)
        if image is None and mask is None:
            return None
        thumbnail = parts_thumbnail(image, mask)
        parts = [("image", image), ("mask", mask)]
        size = ", ".join(f"{n} {by(p.shape[:2])}" for n, p in parts if p is not None)
    return Picture(
        id=source.id(index),
        split=report.name,
        size=size,
        reason=choice.reason,
        severity=choice.severity,
        thumbnail=thumbnail,
        contents=tuple(contents),
    )


def _contents(label: np.ndarray, classes: Sequence[str]) -> list[tuple[str, float]]:
    counts = np.bincount(label.ravel(), minlength=VOID + 1)
    order = np.argsort(-counts, kind="stable")
    names = [*classes, *[""] * (VOID - len(classes)), "void"]
    return [(names[i], float(counts[i] / label.size)) for i in order if counts[i]]


def _image(source: Source, index: int, max_pixels: int) -> np.ndarray | None:
    files = source.files(index)
    try:
        return read_image(files[0], max_pixels) if files else None
    except FcnsegError:
        return None


def _mask(source: Source, index: int, report: Report, max_pixels: int) -> np.ndarray | None:
    """The labels in the colours of their classes; if they are wrong, the file as it is."""
    try:
        return coloured_mask(source.label(index), report.palette)
    except FcnsegError:
        pass
    files = source.files(index)
    if not is_picture(files):
        return None
    try:
        return _as_stored(read_mask_pixels(files[-1], max_pixels))
    except DataError:
        return None


def _as_stored(pixels: MaskPixels) -> np.ndarray:
    """Colours as a viewer shows them, and another colour for every grey value."""
    if pixels.kind == "rgb":
        return pixels.values
    table = np.array(voc_palette(256), np.uint8)
    if pixels.colours is not None:
        table = np.zeros((256, 3), np.uint8)
        table[: len(pixels.colours)] = pixels.colours
    return table[pixels.values.astype(np.int64) % 256]
