"""``fcnseg export``."""

from pathlib import Path
from typing import Any

HELP = "write a trained network as ONNX or a torch.export program, with a model card"
EXAMPLES = """\
fcnseg export --checkpoint runs/x/best.safetensors
fcnseg export --checkpoint runs/x/best.safetensors --preprocess --argmax \\
    --out street.onnx
fcnseg export --checkpoint runs/x/best.safetensors --format torch
fcnseg export --model torchvision/fcn_resnet50 --out fcn.onnx"""


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.segmenter import add_segmenter

    group = parser.add_argument_group("network")
    add_segmenter(group)
    group = parser.add_argument_group("file")
    group.add_argument(
        "--format",
        metavar="onnx|torch",
        help="onnx: for ONNX Runtime and many others; torch: a program of torch.export, .pt2 "
        "(default: by the ending of --out, else onnx)",
    )
    group.add_argument(
        "--out",
        metavar="FILE",
        help="what to write (default: beside the checkpoint, with another ending); its model card "
        "is FILE.md",
    )
    group.add_argument(
        "--preprocess",
        action="store_true",
        help="put the normalisation inside: the file takes 8-bit RGB images",
    )
    group.add_argument(
        "--argmax",
        action="store_true",
        help="put the choice of the best class inside: the file gives class ids, not scores",
    )
    group.add_argument(
        "--opset",
        type=int,
        metavar="N",
        help="ONNX operator set, 18 or later (default: what torch prefers)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


def run(args: Any) -> None:
    from fcnseg.cli.segmenter import check_segmenter

    check_segmenter(args)
    format, path = _target(args)
    # Wrong flags and missing packages are told before anything is loaded.
    from fcnseg.export import check_target, export

    check_target(path, format, args.opset)
    _check_folder(path)

    from fcnseg.cli.progress import Progress
    from fcnseg.cli.segmenter import load_segmenter
    from fcnseg.engine.checkpoint import read_config
    from fcnseg.engine.events import Notice

    model = load_segmenter(args)[0]
    settings = read_config(args.checkpoint) if args.checkpoint else None
    with Progress() as progress:
        done = export(
            model,
            path,
            format,
            preprocess=args.preprocess,
            argmax=args.argmax,
            opset=args.opset,
            settings=settings,
            said=lambda text: progress(Notice(text)),
        )
    _report(done, args)


def _target(args: Any) -> tuple[str, Path]:
    """Format and path, each by the other where only one is given."""
    endings = {"onnx": ".onnx", "torch": ".pt2"}
    format, out = args.format, args.out
    if format is None:
        given = Path(out).suffix.lower() if out else ""
        format = next((name for name, ending in endings.items() if ending == given), "onnx")
    if out is not None:
        return format, Path(out)
    ending = endings.get(format, "")
    if args.checkpoint is not None:
        return format, Path(args.checkpoint).with_suffix(ending)
    return format, Path(args.model.rpartition("/")[2] + ending)


def _check_folder(path: Path) -> None:
    from fcnseg.errors import EnvironmentFault

    if not path.parent.is_dir():
        raise EnvironmentFault(
            f"--out {path}: the folder {path.parent} does not exist; make it first"
        )


def _report(done: Any, args: Any) -> None:
    from fcnseg.cli.tables import print_json, print_table

    if args.json:
        compared = [
            {
                "size": list(one.size),
                "difference": one.difference,
                "largest_score": one.largest,
                "pixels_of_another_class": one.other,
            }
            for one in done.compared
        ]
        print_json(
            {
                "file": str(done.path),
                "card": str(done.card),
                "sha256": done.sha256,
                "compared": compared,
            }
        )
        return
    rows = [
        ("x".join(map(str, c.size)), f"{c.difference:.1e}", f"{c.largest:.3g}", str(c.other))
        for c in done.compared
    ]
    heads = ("N x H x W", "largest difference", "largest score", "other class")
    print_table("beside PyTorch, at sizes it was not recorded at", heads, rows)
    print(f"wrote {done.path}")
    print(f"wrote {done.card}")
