"""What can be read and is still doubtful: warnings about samples, a split, and all splits."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from fcnseg.audit.kinds import kind_in_words
from fcnseg.audit.report import Finding, Record, Report
from fcnseg.data.faults import first_names
from fcnseg.data.sample import classes_fault

_SMALL = 32  # pixels: one cell of the coarsest score map of every variant
_MOSTLY = 0.5  # share of void from which it is pointed out
_RARE = 0.001  # share of the labelled pixels below which one of two classes is suspicious
_NAMED = 20  # classes in one message
_MANY, _MANY_SHARE = 5, 0.05  # equal masks of different images: chance below, a fault above


def doubts(report: Report) -> list[Finding]:
    """Return the warnings about one split: those of its samples, then those of the whole."""
    found = [finding for record in report.records for finding in _about_sample(record)]
    found += _same_images(report.records)
    if report.counted:
        found += _same_masks(report)
        found += _about_classes(report)
    found += _about_masks(report)
    return found


def across(reports: Sequence[Report]) -> list[Finding]:
    """Return what is wrong between the splits of one data set, the first of which is trained on.

    An image that is in two splits, pixel by pixel, is an error: a network is scored on what it
    was trained on. A class that a later split has and the first never shows is a warning.
    """
    found = []
    seen: dict[str, tuple[Report, Record]] = {}
    for report in reports:
        for record in report.records:
            if record.digest and record.digest in seen and seen[record.digest][0] is not report:
                other, same = seen[record.digest]
                message = (
                    f"is the same image as {_image(same)} of {other.name}, pixel by pixel; a score "
                    f"on images that were trained on means nothing: remove it from {report.name} "
                    f"or from {other.name}"
                )
                found.append(Finding("error", _image(record), message))
        for record in report.records:
            if record.digest:
                seen.setdefault(record.digest, (report, record))
    for report in reports[1:]:
        found += _other_classes(reports[0], report)
        found += _never_trained(reports[0], report)
    return found


def too_few(report: Report, remedy: str) -> list[Finding]:
    """Return an error for a data set of which we keep a part for validation and cannot.

    ``remedy`` names the flags of a part of its own.
    """
    if report.images > 1:
        return []
    pairs = "1 pair" if report.images == 1 else "no pairs"
    message = f"has {pairs}, too few to keep some for validation; add pairs, or give {remedy}"
    return [Finding("error", report.name, message)]


def _other_classes(train: Report, later: Report) -> Iterator[Finding]:
    fault = classes_fault(train, later) if train.classes and later.classes else ""
    if fault:
        yield Finding("error", later.name, fault)


def _never_trained(train: Report, later: Report) -> Iterator[Finding]:
    if not (train.counted and later.counted and train.classes == later.classes):
        return
    counts = zip(train.classes, train.class_images, later.class_images, strict=True)
    names = [name for name, trained, scored in counts if scored and not trained]
    if names:
        message = (
            f"masks here show {_classes(names)} and those of {train.name} never do: the IU will be "
            "0; add such images to train on, or leave out the name"
        )
        yield Finding("warning", later.name, message)


def _about_sample(record: Record) -> Iterator[Finding]:
    if record.class_pixels and not any(record.class_pixels):
        message = (
            "the mask is void everywhere (255): nothing is learned from this image; label it, or "
            "remove the pair"
        )
        yield Finding("warning", _mask(record), message)
    if min(record.size) < _SMALL:
        message = (
            f"is {record.size[0]}x{record.size[1]} (height x width): below {_SMALL} pixels the "
            "coarsest score map is one cell across, and most of what the network sees is padding; "
            "use larger images"
        )
        yield Finding("warning", _image(record), message)


def _same_images(records: Sequence[Record]) -> Iterator[Finding]:
    first: dict[str, Record] = {}
    for record in records:
        if record.digest:
            same = first.setdefault(record.digest, record)
            if same is not record:
                differ = ""
                if same.mask_digest != record.mask_digest:
                    differ = ", with another mask: the two contradict each other"
                message = (
                    f"is the same image as {_image(same)}, pixel by pixel{differ}; keep one of them"
                )
                yield Finding("warning", _image(record), message)


def _same_masks(report: Report) -> Iterator[Finding]:
    """Masks of one class alone are left out: a whole folder of background is nothing odd."""
    groups: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in report.records:
        if (
            record.mask_digest
            and sum(n > 0 for n in (*record.class_pixels, record.void_pixels)) > 1
        ):
            groups[record.mask_digest].setdefault(record.digest, record)
    equal = [list(group.values()) for group in groups.values() if len(group) > 1]
    count = sum(map(len, equal))
    if count >= max(_MANY, _MANY_SHARE * report.readable):
        message = (
            f"{count} masks are equal to the mask of a different image, first "
            f"{first_names([_mask(record) for record in equal[0]], 2)}; were masks saved under "
            "wrong names?"
        )
        yield Finding("warning", report.name, message)


def _about_classes(report: Report) -> Iterator[Finding]:
    pixels, images = report.class_pixels, report.class_images
    labelled = sum(pixels)
    if not labelled:
        return
    names = [name for name, seen in zip(report.classes, images, strict=True) if not seen]
    if names:
        message = (
            f"no mask shows {_classes(names)}: what is never seen is neither learned nor scored; "
            "add such images, or leave out the name"
        )
        yield Finding("warning", report.name, message)
    if len(pixels) != 2:
        return
    rare = min((0, 1), key=lambda c: pixels[c])
    if not pixels[rare] and report.void_pixels:
        there, absent = report.classes[1 - rare], report.classes[rare]
        message = (
            f"masks hold {there!r} and void (255) and no {absent!r}; if 255 is a class, give "
            "--mask-encoding binary255"
        )
        yield Finding("warning", report.name, message)
    elif 0 < pixels[rare] < _RARE * labelled:
        message = (
            f"of two classes {report.classes[rare]!r} has {100 * pixels[rare] / labelled:.3f} % of "
            "the labelled pixels: a network that never predicts it looks nearly perfect; are the "
            "masks complete? if so, train with --class-weights auto"
        )
        yield Finding("warning", report.name, message)


def _about_masks(report: Report) -> Iterator[Finding]:
    kinds = report.mask_kinds
    if len(kinds) > 1 and "mat" not in kinds:  # SBD's beside VOC's own
        listed = ", ".join(kind_in_words(kind, count) for kind, count in kinds.most_common())
        odd = min(kinds, key=lambda kind: kinds[kind])
        first = next(record for record in report.records if record.mask_kind == odd)
        message = (
            f"masks are of several kinds: {listed} (first {kind_in_words(odd, 1)[2:]}: "
            f"{_mask(first)}); make sure that all of them mean the same classes"
        )
        yield Finding("warning", report.name, message)
    if report.void_share > _MOSTLY:
        message = (
            f"{100 * report.void_share:.1f} % of all pixels are void (255): they are neither "
            "trained on nor scored; if 255 is meant as a class, correct --mask-encoding"
        )
        yield Finding("warning", report.name, message)


def _image(record: Record) -> str:
    return record.files[0] if record.files else record.id


def _mask(record: Record) -> str:
    return record.files[-1] if record.files else record.id


def _classes(names: Sequence[str]) -> str:
    """Return ``"class 'a'"`` or ``"2 classes ('a', 'b')"``."""
    if len(names) == 1:
        return f"class {names[0]!r}"
    return f"{len(names)} classes ({first_names([repr(name) for name in names], _NAMED)})"
