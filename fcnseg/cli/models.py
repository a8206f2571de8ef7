"""``fcnseg models``."""

from typing import Any

HELP = "list the backbones, and whether their weights are at hand"
EXAMPLES = """\
fcnseg models
fcnseg models --json"""


def add_arguments(parser: Any) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


def run(args: Any) -> None:
    from fcnseg.backbones import catalogue, describe, weights_at_hand
    from fcnseg.cli.tables import print_json, print_table

    found = [(describe(name), weights_at_hand(name)) for name in catalogue()]
    if args.json:
        rows = [
            {
                "name": info.name,
                "parameters": info.parameters,
                "native_size": info.preprocessing.native_size,
                "paper_padding": info.paper_padding,
                "weights": weights,
                "url": info.url,
            }
            for info, weights in found
        ]
        print_json(rows)
        return
    print_table(
        "",
        ("backbone", "parameters (M)", "native size", "weights"),
        [
            (
                info.name,
                f"{info.parameters / 1e6:.1f}",
                str(info.preprocessing.native_size),
                "at hand" if weights else "to download" if info.url else "not installed",
            )
            for info, weights in found
        ],
    )
