"""``fcnseg upper-bound``."""

from typing import Any

HELP = "the mean IU that a perfect prediction at each stride would get on this data"
EXAMPLES = """\
fcnseg upper-bound --data camvid --data-root CamVid
fcnseg upper-bound --data folder --images photos --masks masks --classes background,cat
fcnseg upper-bound --data voc --data-root VOCdevkit/VOC2012 --factors 32,16,8 --json"""

_WORST = 3


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.parser import DATA_SETTINGS, add_settings

    parser.add_argument(
        "--factors",
        metavar="N,N",
        default="128,64,32,16,8,4",
        help="sides in pixels of the cells that one prediction stands for (default "
        "128,64,32,16,8,4, as in the FCN paper)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    add_settings(parser, "data (the validation part is looked at)", DATA_SETTINGS)


def run(args: Any) -> None:
    from fcnseg.cli.parser import given
    from fcnseg.config import DataConfig, load_config

    factors = read_factors(args.factors)
    config = load_config(DataConfig, None, given(args))

    from fcnseg.cli.progress import Progress
    from fcnseg.cli.tables import print_json, print_table
    from fcnseg.engine.evaluate import named_scores, scores_on
    from fcnseg.engine.upper_bound import upper_bounds
    from fcnseg.sources import build_evaluation_source

    with Progress("looking at") as progress:
        source = build_evaluation_source(config, observer=progress)
        bounds = upper_bounds(source, factors, progress)
    scores = {factor: scores_on(source, confusion) for factor, confusion in bounds.items()}
    if args.json:
        listed = [
            {"factor": f, "variants": variants(f), **named_scores(s, source.classes)}
            for f, s in scores.items()
        ]
        print_json({"data": source.name, "images": len(source), "factors": listed})
        return
    print(f"images looked at: {len(source)} ({source.name})")
    rows = [
        (
            str(factor),
            ", ".join(variants(factor)),
            f"{100 * s.mean_iu:.1f}",
            f"{100 * s.pixel_accuracy:.1f}",
            _worst(s.class_iu, source.classes),
        )
        for factor, s in scores.items()
    ]
    columns = ("factor", "variant", "mean IU %", "pixel accuracy %", "lowest IU %")
    print_table("", columns, rows)
    print("each cell of factor x factor pixels has the class that most of its pixels have")


def read_factors(text: str) -> list[int]:
    """``--factors`` as numbers, each once, in the order given.

    Raises:
        UsageError: something else than whole numbers from 1 up.
    """
    from fcnseg.cli.inputs import whole_numbers

    expected = "whole numbers from 1 up such as 32,16,8"
    return list(dict.fromkeys(whole_numbers("--factors", text, expected, 10**9)))


def variants(factor: int) -> list[str]:
    """The variants of FCN whose finest score map has this stride."""
    from fcnseg.heads import VARIANTS

    return [name for name, variant in VARIANTS.items() if min(variant.strides) == factor]


def _worst(class_iu: Any, classes: Any) -> str:
    present = [(iu, name) for iu, name in zip(class_iu, classes, strict=True) if iu is not None]
    return ", ".join(f"{name} {100 * iu:.1f}" for iu, name in sorted(present)[:_WORST])
