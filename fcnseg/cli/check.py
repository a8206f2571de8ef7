"""``fcnseg check``."""

import os
import sys
from argparse import SUPPRESS
from pathlib import Path
from typing import Any

from fcnseg.errors import DataError, EnvironmentFault, UsageError

HELP = "find what is wrong with a data set, before training"
EXAMPLES = """\
fcnseg check --images photos --masks masks
fcnseg check --images photos --masks masks --classes background,cat --html report.html
fcnseg check --data camvid --data-root CamVid --workers 4
fcnseg check --data voc --data-root VOCdevkit/VOC2012 --json > report.json
fcnseg check --annotations instances.json --images photos --val-fraction 0.2
fcnseg check --images photos --masks masks --show-augmented 12 --rotate 10 --crop-size 256"""


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.parser import DATA_SETTINGS, add_settings
    from fcnseg.config import AUGMENTATION

    parser.add_argument("--config", metavar="FILE", help="YAML settings; flags win over them")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the tables")
    parser.add_argument(
        "--html", metavar="FILE", help="write a page with histograms and overlays, worst first"
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        default=SUPPRESS,
        help="processes that decode; 0 decodes in the main one (default one a core, at most 4)",
    )
    add_settings(parser, "data", DATA_SETTINGS)
    group = parser.add_argument_group("training augmentation, to be looked at")
    group.add_argument(
        "--show-augmented",
        type=int,
        metavar="N",
        help="draw the first N samples as the first epoch of training would get them",
    )
    group.add_argument(
        "--augmented",
        metavar="FILE",
        default="augmented.png",
        help="where that picture goes, .png or .jpg (default augmented.png)",
    )
    add_settings(parser, "the augmentation", AUGMENTATION)


def run(args: Any) -> int:
    from fcnseg.cli.parser import given
    from fcnseg.config import TrainConfig, load_config

    flags = given(args)
    config = load_config(TrainConfig, args.config, flags)
    _check_outputs(args)

    from fcnseg.audit.doubts import across
    from fcnseg.cli import checked
    from fcnseg.cli.progress import Progress
    from fcnseg.cli.tables import print_json

    said: list[str] = []
    if config.data == "folder" and config.classes is None:
        try:
            config, guessed, said = checked.with_guess(config)
        except DataError as error:
            return _give_up(args, error)
        flags |= guessed
        print("\n".join(said), file=sys.stderr)
    with Progress("checking") as progress:
        reports, sources = checked.look(config, _workers(flags), progress)
    found = across(reports)
    ok = all(report.ok for report in reports) and not any(f.severity == "error" for f in found)
    more, advice = checked.advice(config, reports, sources)
    opened = any(report.classes for report in reports)
    command = checked.next_command(args.config, flags | more) if opened else ""
    if args.json:
        whole = {"ok": ok, "sets": [r.to_dict() for r in reports]}
        across_sets = [dict(vars(finding)) for finding in found]
        lines = {"guess": said, "advice": advice}
        print_json({**whole, "across": across_sets, **lines, "next": command})
    else:
        checked.print_reports(reports, found)
        print("".join(f"{line}\n" for line in advice), end="")
    told = sys.stderr if args.json else sys.stdout
    if args.html is not None:
        from fcnseg.audit.page import write_page

        write_page(args.html, reports, sources, found, command, config.max_pixels)
        print(f"wrote {args.html} (histograms, sizes and overlays)", file=told)
    if args.show_augmented is not None:
        from fcnseg.cli.augmented import draw_augmented

        drawn = draw_augmented(Path(args.augmented), config, sources[0], args.show_augmented)
        print(f"wrote {args.augmented} ({drawn} samples as training gets them)", file=told)
    if not args.json:
        checked.print_verdict(reports, found, command)
    return 0 if ok else 3


def _give_up(args: Any, error: DataError) -> int:
    """Tell of masks of which no classes could be guessed, so that nothing can be looked at."""
    from fcnseg.cli import checked
    from fcnseg.cli.tables import print_json

    if args.html is not None:
        print(f"--html {args.html}: nothing is written", file=sys.stderr)
    if not args.json:
        raise error
    across = [dict(vars(finding)) for finding in checked.refused(error)]
    nothing: dict[str, Any] = {"guess": [], "advice": [], "next": ""}
    print_json({"ok": False, "sets": [], "across": across, **nothing})
    return 3


def _check_outputs(args: Any) -> None:
    """Find out before the data are read whether the results can be written."""
    from fcnseg.render.augmented import MOST_SAMPLES

    count = args.show_augmented
    if count is not None and not 1 <= count <= MOST_SAMPLES:
        raise UsageError(f"--show-augmented: expected 1 to {MOST_SAMPLES}, got {count}")
    for flag, name, endings in (
        ("--html", args.html, (".html", ".htm")),
        ("--augmented", args.augmented if count else None, (".png", ".jpg", ".jpeg")),
    ):
        if name is None:
            continue
        if Path(name).suffix.lower() not in endings:
            raise UsageError(f"{flag} {name}: expected a name that ends in {' or '.join(endings)}")
        folder = Path(name).resolve().parent
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise EnvironmentFault(
                f"{flag} {name}: cannot be written; check that the folder exists and is writable"
            )


def _workers(flags: dict[str, Any]) -> int:
    if "workers" in flags:
        return int(flags["workers"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(4, cores or 1)
