"""Which samples of a data set are worth a look, worst first."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fcnseg.audit.kinds import by_kind
from fcnseg.audit.report import Finding, Record, Report
from fcnseg.data.sample import Source

MOST = 24
"""Samples in the gallery."""

_ERRORS, _WARNINGS, _VOID = 12, 6, 4

# Fewer are filled up with samples of which there is nothing to say.
_FEW = 12

# From this share on, void is much; below, no sample is shown for it.
_MUCH_VOID = 0.05


@dataclass(frozen=True)
class Choice:
    """One sample, the report and the source that it is of, and why it was chosen."""

    part: int
    index: int
    severity: str
    reason: str


def choose(
    reports: Sequence[Report], sources: Sequence[Source | None], across: Sequence[Finding]
) -> list[Choice]:
    """Choose up to :data:`MOST` samples, none twice.

    First those with errors, then with warnings, one of every kind before a second of any; then
    those with the most void; then, from the rarest class on, the sample that has the largest
    share of it. Where there are few of one, there is room for more of the others, and at last
    for samples spread over the set.
    """
    places = _places(sources)
    findings = [(-1, finding) for finding in across]
    findings += [(part, f) for part, report in enumerate(reports) for f in report.findings]
    errors = list(_with_findings([f for f in findings if f[1].severity == "error"], places))
    warnings = list(_with_findings([f for f in findings if f[1].severity == "warning"], places))
    much_void, rare = list(_much_void(reports, places)), list(_rare(reports, places))
    quotas = [
        errors[:_ERRORS],
        warnings[:_WARNINGS],
        much_void[:_VOID],
        rare,
        errors[_ERRORS:],
        warnings[_WARNINGS:],
    ]
    chosen: dict[tuple[int, int], Choice] = {}
    for choice in (choice for quota in quotas for choice in quota):
        if len(chosen) < MOST:
            chosen.setdefault((choice.part, choice.index), choice)
    for choice in _spread(reports, places):
        if len(chosen) < _FEW:
            chosen.setdefault((choice.part, choice.index), choice)
    order = {"error": 0, "warning": 1, "": 2}
    return sorted(chosen.values(), key=lambda choice: order[choice.severity])


Places = dict[tuple[int, str], tuple[int, int]]


def _places(sources: Sequence[Source | None]) -> Places:
    """File -> (part, index) under part -1, and (part, id) -> the same.

    Files that several samples share, such as the .json of a whole split, say nothing.
    """
    places: Places = {}
    times: Counter[str] = Counter()
    for part, source in enumerate(sources):
        for index in range(len(source) if source is not None else 0):
            assert source is not None
            places[part, source.id(index)] = part, index
            for file in map(str, source.files(index)):
                times[file] += 1
                places[-1, file] = part, index
    return {key: at for key, at in places.items() if key[0] >= 0 or times[key[1]] == 1}


def _with_findings(findings: Sequence[tuple[int, Finding]], places: Places) -> Iterator[Choice]:
    """The samples that findings of one severity are about; ``findings`` come with their part."""
    by_sample: dict[tuple[int, int], list[Finding]] = {}
    parts = {id(finding): part for part, finding in findings}
    groups = by_kind([finding for _, finding in findings])
    for turn in range(max(map(len, groups), default=0)):
        for finding in (group[turn] for group in groups if turn < len(group)):
            part = parts[id(finding)]
            at = places.get((-1, finding.file)) or places.get((part, finding.file))
            if at is not None:
                by_sample.setdefault(at, []).append(finding)
    for (part, index), found in by_sample.items():
        more = len(found) - 1
        also = f" (and {more} more {'finding' if more == 1 else 'findings'})" if more else ""
        name = found[0].file.replace("\\", "/").rpartition("/")[2]
        yield Choice(part, index, found[0].severity, f"{name}: {found[0].message}{also}")


def _much_void(reports: Sequence[Report], places: Places) -> Iterator[Choice]:
    shares = [
        (record.void_pixels / (record.size[0] * record.size[1]), part, record)
        for part, report in enumerate(reports)
        for record in report.records
    ]
    for share, part, record in sorted(shares, key=lambda item: -item[0]):
        if share < _MUCH_VOID:
            return
        if (part, record.id) in places:
            index = places[part, record.id][1]
            yield Choice(part, index, "", f"much void: {100 * share:.0f} % of its pixels")


def _rare(reports: Sequence[Report], places: Places) -> Iterator[Choice]:
    """For every class, rarest first, the sample that has the largest share of it."""
    counted = [(part, report) for part, report in enumerate(reports) if report.counted]
    if not counted:
        return
    classes = counted[0][1].classes
    totals: Counter[int] = Counter()
    best: dict[int, tuple[float, int, Record]] = {}
    for part, report in counted:
        if report.classes != classes:
            continue
        for record in report.records:
            for class_id, pixels in enumerate(record.class_pixels):
                if not pixels:
                    continue
                totals[class_id] += pixels
                share = pixels / (record.size[0] * record.size[1])
                if class_id not in best or share > best[class_id][0]:
                    best[class_id] = share, part, record
    everything = sum(totals.values())
    for class_id in sorted(best, key=lambda class_id: (totals[class_id], class_id)):
        share, part, record = best[class_id]
        of_all = 100 * totals[class_id] / everything
        words = (
            f"the most of {classes[class_id]!r}: {100 * share:.1f} % of its pixels, "
            f"{of_all:.2g} % of all labelled pixels"
        )
        if (part, record.id) in places:
            yield Choice(part, places[part, record.id][1], "", words)


def _spread(reports: Sequence[Report], places: Places) -> Iterator[Choice]:
    for part, report in enumerate(reports):
        step = max(1, len(report.records) * len(reports) // _FEW)
        for record in report.records[::step]:
            if (part, record.id) in places:
                yield Choice(part, places[part, record.id][1], "", "one of the others")
