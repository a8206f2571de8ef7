"""``fcnseg check``."""

from typing import Any

HELP = "find what is wrong with a data set, before training"
EXAMPLES = """\
fcnseg check --data folder --images photos --masks labels --classes background,cat
fcnseg check --data camvid --data-root CamVid
fcnseg check --data voc --data-root VOCdevkit/VOC2012 --json"""


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.parser import DATA_SETTINGS, add_settings

    parser.add_argument("--json", action="store_true", help="print JSON in place of the tables")
    add_settings(parser, "data", DATA_SETTINGS)


def run(args: Any) -> int:
    from fcnseg.cli.parser import given
    from fcnseg.config import DataConfig, load_config

    config = load_config(DataConfig, None, given(args))

    from fcnseg.cli.progress import Progress
    from fcnseg.cli.tables import print_json
    from fcnseg.data.check import Finding, check, overlap
    from fcnseg.engine.events import Evaluating
    from fcnseg.sources import build_check_sources

    reports = []
    with Progress("checking") as progress:
        for source in build_check_sources(config):
            reports.append(
                check(source, progress=lambda done, total: progress(Evaluating(done, total)))
            )
    shared = overlap(*reports) if len(reports) == 2 else []
    across = [
        Finding("error", theirs, f"is the same image as {mine!r} of {reports[0].name}")
        for mine, theirs in shared
    ]
    ok = not across and all(report.ok for report in reports)
    if args.json:
        findings = [vars(finding) for finding in across]
        print_json({"ok": ok, "sets": [r.to_dict() for r in reports], "overlap": findings})
    else:
        for report in reports:
            print_report(report)
        print_findings(across)
        print("no errors" if ok else "errors were found")
    return 0 if ok else 3


def print_report(report: Any) -> None:
    """Print the findings of one set, its sizes and its classes."""
    from fcnseg.cli.tables import print_table

    print_findings(report.findings)
    sizes = ", ".join(f"{h}x{w} ({count})" for (h, w), count in report.sizes.most_common(3))
    more = f" and {len(report.sizes) - 3} more sizes" if len(report.sizes) > 3 else ""
    usable = f"{report.name}: {report.readable} of {report.images} images usable"
    print(f"{usable}; {sizes}{more}" if sizes else usable)
    print(f"  errors: {report.errors}, warnings: {report.warnings}")
    pixels = sum(report.class_pixels) + report.void_pixels
    counts = zip(report.classes, report.class_pixels, report.class_images, strict=False)
    rows = [(name, f"{100 * n / max(pixels, 1):.2f}", str(images)) for name, n, images in counts]
    rows.append(("void", f"{100 * report.void_share:.2f}", ""))
    print_table("", ("class", "pixels %", "in images"), rows)


def print_findings(findings: Any) -> None:
    """Print one line for each finding."""
    for finding in findings:
        print(f"{finding.severity}: {finding.file}: {finding.message}")
