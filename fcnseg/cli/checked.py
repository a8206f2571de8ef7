"""What ``fcnseg check`` does with the data set, and how it tells what was found."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from fcnseg.audit.doubts import too_few
from fcnseg.audit.kinds import by_kind, kind_in_words
from fcnseg.audit.report import Finding, Report, other_classes
from fcnseg.audit.survey import survey, unopened
from fcnseg.cli.tables import print_table
from fcnseg.config import DataConfig, TrainConfig, is_split_by_us
from fcnseg.data.sample import Source
from fcnseg.engine.events import Evaluating, Observer
from fcnseg.errors import DataError
from fcnseg.settings import flag_name

_OF_A_KIND = 20
_SIZES = 3
_AT_HAND = "efficientnet_lite0"  # whose weights need no download
_LARGE, _ADVISED = 1500, 768  # short side of photographs that are better scaled, and to what
_VARIANTS = {32: "32s", 16: "16s", 8: "8s"}


def with_guess(config: TrainConfig) -> tuple[TrainConfig, dict[str, str], list[str]]:
    """Settings for masks of which nothing is known: what they hold is guessed from the files.

    Returns:
        The settings, those of them that were guessed as flags, and lines that say what was seen.

    Raises:
        DataError: there are no masks, or what they hold cannot be made sense of.
    """
    from fcnseg.audit.guess import guess
    from fcnseg.data.folder import check_folders

    assert config.images is not None
    assert config.masks is not None
    check_folders(Path(config.images), Path(config.masks), config.mask_suffix)
    seen = guess(
        config.masks,
        config.max_pixels,
        suffix=config.mask_suffix or "",
        images=config.images,
    )
    guessed = {"classes": seen.flag}
    if config.mask_encoding == "auto" and seen.encoding != "auto":
        guessed["mask_encoding"] = seen.encoding
    lines = [*seen.lines, f"going on with --classes {shlex.quote(seen.flag)}"]
    return replace(config, **guessed), guessed, lines  # type: ignore[arg-type]


def look(
    config: DataConfig, workers: int, observer: Observer
) -> tuple[list[Report], list[Source | None]]:
    """Survey every part of the data set; one that cannot be opened is a report of its faults."""
    from fcnseg.sources import build_check_sources

    reports: list[Report] = []
    sources: list[Source | None] = []

    def progress(done: int, total: int) -> None:
        observer(Evaluating(done, total))

    for name, open_part in build_check_sources(config, observer):
        try:
            source = open_part()
        except DataError as error:
            reports.append(unopened(f"{config.data}/{name}", error))
            sources.append(None)
            continue
        faults = getattr(source, "faults", ())
        reports.append(survey(source, faults, workers, progress, max_pixels=config.max_pixels))
        if is_split_by_us(config):
            coco = config.data == "coco"
            part = "--val-annotations" if coco else "--val-images and --val-masks"
            reports[-1].findings += too_few(reports[-1], part)
        sources.append(source)
    return reports, sources


def advice(
    config: TrainConfig, reports: Sequence[Report], sources: Sequence[Source | None]
) -> tuple[dict[str, str], list[str]]:
    """Flags that training should have beside those given, and a line that says why."""
    crop = config.crop
    sides = [min(record.size) for record in reports[0].records]
    can_scale = hasattr(sources[0], "scaled") and config.short_side is None
    if crop is None or max(crop) > _ADVISED or not can_scale:
        return {}, []
    if not sides or median(sides) <= _LARGE:
        return {}, []
    line = (
        f"{reports[0].name}: the photographs are much larger than the training crops: their short "
        f"side is {median(sides):.0f} pixels (median), and crops are {crop[0]}x{crop[1]}; "
        f"--short-side {_ADVISED} is recommended"
    )
    return {"short_side": str(_ADVISED)}, [line]


def refused(error: DataError) -> list[Finding]:
    """The findings where the classes could not even be guessed."""
    return unopened("--masks", error).findings


def next_command(config_file: str | None, flags: Mapping[str, Any]) -> str:
    """The ``fcnseg train`` command that reads the same data in the same way."""
    words = ["fcnseg", "train"]
    if config_file is not None:
        words += ["--config", config_file]
    for name, value in flags.items():
        if name in ("workers", "download") or value is False:
            continue
        words += [flag_name(name)] if value is True else [flag_name(name), str(value)]
    if config_file is None and "backbone" not in flags:
        words += ["--backbone", _AT_HAND]
    return shlex.join(words)


def print_reports(reports: Sequence[Report], across: Sequence[Finding]) -> None:
    """Print what was found in each part, and between them.

    Parts that cannot be opened for the same reason are told of together.
    """
    same: dict[tuple[Finding, ...], list[str]] = {}
    for report in reports:
        if report.classes:
            print_report(report)
        else:
            same.setdefault(tuple(report.findings), []).append(report.name)
    for findings, names in same.items():
        print_findings(findings)
        print(f"{' and '.join(names)}: could not be opened\n")
    opened = [report for report in reports if report.classes]
    for report in opened[1:]:
        if differ := other_classes(opened[0], report):
            print(f"{report.name}: has other classes than {opened[0].name}: {differ}")
    print_findings(across)


def print_verdict(reports: Sequence[Report], across: Sequence[Finding], command: str) -> None:
    """Print how many different findings there are, and what to do next.

    ``command``: what to run next; "" if there is nothing to be proposed.
    """
    told = (finding for report in reports for finding in report.findings)
    findings = list(dict.fromkeys([*across, *told]))
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = _counted(len(findings) - errors, "warning")
    if errors and not command:
        print(f"{_counted(errors, 'error')}, {warnings}: correct them, and check again")
    elif errors:
        print(
            f"{_counted(errors, 'error')}, {warnings}: training would stop at the errors; correct "
            f"them, check again, and then:\n  {command}"
        )
    else:
        print(f"no errors, {warnings}; next:\n  {command}")


def print_report(report: Report) -> None:
    """Print the findings of one part, its sizes, its kinds of masks and its classes."""
    print_findings(report.findings)
    print(f"{report.name}: {report.readable} of {report.images} images usable")
    if not report.records:
        print()
        return
    for title, text in _facts(report):
        print(f"  {title}: {text}")
    everything = max(sum(report.class_pixels) + report.void_pixels, 1)
    rows = [
        (name, f"{100 * pixels / everything:.2f}", str(images), f"{weight:.3g}")
        for name, pixels, images, weight in zip(
            report.classes,
            report.class_pixels,
            report.class_images,
            report.class_weights,
            strict=True,
        )
    ]
    rows.append(("void", f"{100 * report.void_pixels / everything:.2f}", "", ""))
    print_table("", ("class", "pixels %", "in images", "weight"), rows)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print one line for each finding, and of many of one kind the first ones."""
    for group in by_kind(findings):
        for finding in group[:_OF_A_KIND]:
            print(f"{finding.severity}: {finding.file}: {finding.message}")
        rest = len(group) - _OF_A_KIND
        if rest > 0:
            print(f"  and {rest} more of this kind; --json lists all")


def _facts(report: Report) -> list[tuple[str, str]]:
    sizes = ", ".join(f"{h}x{w} ({n})" for (h, w), n in report.sizes.most_common(_SIZES))
    more = f" and {len(report.sizes) - _SIZES} more" if len(report.sizes) > _SIZES else ""
    kinds = [
        f"{kind_in_words(kind, count)}{note and ', '}{note}"
        for kind, count in report.mask_kinds.most_common()
        for note in [report.mask_notes.get(kind, "")]
    ]
    facts = [("height x width", sizes + more), ("masks", "; ".join([*kinds, *report.notes]))]
    if report.bounds:
        bounds = [f"{_VARIANTS.get(f, f)} {100 * iu:.1f} %" for f, iu in report.bounds.items()]
        facts.append(("mean IU of a perfect prediction", ", ".join(bounds)))
    return facts


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
