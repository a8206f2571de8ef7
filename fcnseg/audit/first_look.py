"""The look at the data that ``fcnseg train`` takes by itself before the first step."""

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

from fcnseg.audit.copies import copied_files
from fcnseg.audit.kinds import kind_in_words
from fcnseg.audit.report import Finding, Report
from fcnseg.audit.survey import quick
from fcnseg.checks import nearest
from fcnseg.data.faults import first_names, raise_faults
from fcnseg.data.sample import MAX_PIXELS, Source
from fcnseg.data.subset import Subset
from fcnseg.engine.events import Evaluating, Notice, Observer, silent
from fcnseg.errors import DataError
from fcnseg.sizes import MOST_SCALED, scaled_size

_LISTED = 5


def first_look(
    sources: Sequence[Source],
    workers: int = 0,
    counts: bool = False,
    max_pixels: int = MAX_PIXELS,
    short_side: int | None = None,
    observer: Observer = silent,
) -> list[Report]:
    """Look at the headers of all images and at all labels, which is where training would stop.

    Masks are decoded; labels that are painted from a JSON file were checked when it was opened,
    and their sizes are compared here; they are painted too where ``counts`` asks for it. Images
    are compared between the first two sources, file by file: a score on what was trained on means
    nothing.

    Args:
        sources: the training images first; not scaled. May be empty.
        workers: processes that look.
        counts: count the class pixels of the first source even where that takes painting.
        max_pixels: images of more pixels are errors.
        short_side: what training images will be scaled to; strips too long for it are errors.
        observer: told how far it is, what kinds of masks there are, and, where the parts were cut
            out of one set by us, of copies in both.

    Returns:
        A report for each source that was looked at; generated ones only are if they are counted.

    Raises:
        DataError: there are errors; the message has the first ones and how many there are.
        EnvironmentFault: a worker was killed.
    """
    reports = []
    counted = sources[0] if counts and sources else None
    looked_at = [s for s in sources if len(s) and (s.files(0) or s is counted)]
    total, before = sum(map(len, looked_at)), 0
    for source in looked_at:

        def progress(done: int, _: int, before: int = before) -> None:
            observer(Evaluating(before + done, total, "looking at"))

        asked = source is counted
        reports.append(quick(source, workers, progress, asked, max_pixels=max_pixels))
        before += len(source)
    if reports and short_side is not None:
        reports[0].findings += _too_long(reports[0], short_side)
    if len(looked_at) > 1:
        _compare(looked_at[0], looked_at[1], reports[1], observer)
    _refuse(reports)
    for report in reports:
        kinds = ", ".join(kind_in_words(k, n) for k, n in report.mask_kinds.most_common())
        observer(Notice(f"{report.name}: {'; '.join([kinds, *report.notes])}"))
    return reports


def _too_long(report: Report, short_side: int) -> Iterator[Finding]:
    for record in report.records:
        if prod(scaled_size(record.size, short_side)) > MOST_SCALED:
            message = (
                f"is {record.size[0]}x{record.size[1]} (height x width), too long to be scaled by "
                f"--short-side {short_side}; crop it, or give a smaller one"
            )
            yield Finding("error", (*record.files, record.id)[0], message)


def _compare(training: Source, validation: Source, report: Report, observer: Observer) -> None:
    """Enter copies of training images in the report of validation, or warn where we cut both."""
    copies = copied_files(training, validation)
    if copies and isinstance(validation, Subset):
        images = [f"{theirs} of {mine}" for mine, theirs in copies]
        text = f"{len(copies)} of the {len(validation)} images held out for validation are copies "
        text += f"of training images, so that scores will be too good: {first_names(images)}"
        observer(Notice(f"{text}; remove the copies", warning=True))
        return
    for mine, theirs in copies:
        message = (
            f"is the same file as {mine} of {training.name}, byte for byte; a score on images that "
            "were trained on means nothing: remove one of them"
        )
        report.findings.append(Finding("error", str(theirs), message))


def _refuse(reports: Sequence[Report]) -> None:
    errors = [f for report in reports for f in report.findings if f.severity == "error"]
    lines = [f"{finding.file}: {finding.message}" for finding in errors[:_LISTED]]
    if len(errors) > _LISTED:
        files = sum(report.images for report in reports)
        raise DataError(
            f"{'; also '.join(lines)}; and {len(errors) - _LISTED} more errors among {files} "
            "pairs: `fcnseg check` with the same data flags lists all"
        )
    raise_faults(lines)


def read_class_weights(path: str | Path, classes: Sequence[str]) -> list[float]:
    """Read a file with a class name and its weight, 0 or more, on each line.

    Raises:
        DataError: the file cannot be read, a line is something else, a class is missing, is there
            twice or does not exist, or all weights are 0.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise DataError(
            f"--class-weights {path}: cannot be read ({reason}); expected none, auto, or a file "
            "with a class and its weight on each line"
        ) from None
    weights: dict[str, float] = {}
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, value = line.strip().rpartition(" ")
        name = name.strip().rstrip(":=,").strip()
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        if name not in classes:
            hint = nearest(name, classes) or f"; the classes are {first_names(list(classes), 8)}"
            faults.append(f"{path}: line {number}: {name!r} is no class{hint}")
        elif name in weights or not 0 <= weight < float("inf"):
            faults.append(
                f"{path}: line {number} is {line.strip()!r}; expected the name of a class, once, "
                "and a weight of 0 or more, such as `road 0.35`"
            )
        weights[name] = weight
    faults += [
        f"{path}: class {c!r} has no weight; add a line" for c in classes if c not in weights
    ]
    if not faults and not any(weights.values()):
        faults.append(f"{path}: every weight is 0; nothing would be learned")
    raise_faults(faults[:_LISTED])
    return [weights[name] for name in classes]
