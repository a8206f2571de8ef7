"""``fcnseg explain``."""

from pathlib import Path
from typing import Any

HELP = "show layer by layer how a classifier becomes an FCN, as a table and a page"
EXAMPLES = """\
fcnseg explain
fcnseg explain --backbone vgg16 --variant 8s --size 500x500 --html out.html
fcnseg explain --backbone vgg16 --padding paper
fcnseg explain --backbone resnet50 --variant 16s --all
fcnseg explain --image photo.jpg --html out.html"""

_PAPER = "500x500"


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.inputs import add_max_pixels

    group = parser.add_argument_group("network")
    group.add_argument(
        "--backbone",
        metavar="NAME",
        help="classifier (default vgg16, the paper's; with --image efficientnet_lite0, whose "
        "weights come with pip)",
    )
    group.add_argument(
        "--variant", metavar="32s|16s|8s|8s-atonce", default="8s", help="skips (default 8s)"
    )
    group.add_argument(
        "--padding",
        metavar="same|paper",
        default="same",
        help="same: maps cover the image, edges continued (default); paper: 100 pixels around "
        "the image and crops, as published",
    )
    group.add_argument(
        "--output-stride",
        type=int,
        metavar="8|16|32",
        default=32,
        help="turn strides beyond it into dilation (default 32)",
    )
    group.add_argument(
        "--size",
        metavar="HxW|N",
        default=_PAPER,
        help=f"size of the image in pixels (default {_PAPER}, the paper's)",
    )
    group = parser.add_argument_group("experiment")
    group.add_argument(
        "--image",
        metavar="PHOTO",
        help="also run the classifier on sliding crops of this photograph, beside one pass",
    )
    group.add_argument(
        "--weights", metavar="auto|FILE", default="auto", help="its weights (default auto)"
    )
    group.add_argument(
        "--device", metavar="auto|cpu|cuda|mps", default="auto", help="where to run it"
    )
    add_max_pixels(group)
    group = parser.add_argument_group("output")
    group.add_argument("--html", metavar="FILE", help="write one page with drawings, in one file")
    group.add_argument("--all", action="store_true", help="list every layer in the tables")
    group.add_argument(
        "--json", action="store_true", help="print JSON in place of the tables, always every layer"
    )


def run(args: Any) -> None:
    from dataclasses import asdict

    from fcnseg.cli.tables import print_json
    from fcnseg.errors import UsageError
    from fcnseg.explain import explain

    if args.json and args.all:
        raise UsageError("--all: is for the tables, --json always has every layer; leave it out")
    size, page = _size(args.size), _page(args.html)
    image = _photograph(args)
    backbone = args.backbone or ("vgg16" if image is None else "efficientnet_lite0")
    told = asdict(explain(backbone, args.variant, size, args.padding, args.output_stride))
    told["experiment"] = None
    seen = None
    if image is not None:
        seen, told["experiment"] = _experiment(args, backbone, image)
    if args.json:
        print_json(told)
    else:
        from fcnseg.cli.explained import print_explanation

        print_explanation(told, args.all)
    if page is not None:
        from fcnseg.files import write_atomically
        from fcnseg.render.explain_page import explain_page

        write_atomically(page, explain_page(told, seen).encode())
        if not args.json:
            print(f"wrote {page}")


def _size(text: str) -> tuple[int, int]:
    """``--size`` as (height, width).

    Raises:
        UsageError: neither ``HxW`` nor ``N``.
    """
    import re

    from fcnseg.errors import UsageError

    found = re.fullmatch(r"(\d{1,6})(?:[xX](\d{1,6}))?", text)
    if not found:
        raise UsageError(
            f"--size {text}: expected HEIGHTxWIDTH or one number, in pixels, as in {_PAPER}"
        )
    return int(found[1]), int(found[2] or found[1])


def _page(name: str | None) -> Path | None:
    """Where the page goes, refused before anything is computed.

    Raises:
        UsageError: not the name of an HTML file.
        EnvironmentFault: its folder does not exist.
    """
    from fcnseg.errors import EnvironmentFault, UsageError

    if name is None:
        return None
    path = Path(name)
    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        raise UsageError(f"--html {name}: expected the name of a file that ends in .html")
    if not path.parent.is_dir():
        raise EnvironmentFault(f"--html {name}: the folder {path.parent} does not exist; make it")
    return path


def _photograph(args: Any) -> Any:
    """The photograph of the experiment, (H, W, 3) uint8, or None."""
    from fcnseg.config import DataConfig
    from fcnseg.errors import DataError, UsageError

    if args.image is None:
        usual = {"weights": "auto", "device": "auto", "max_pixels": DataConfig.max_pixels}
        given = [name for name, value in usual.items() if getattr(args, name) != value]
        if given:
            raise UsageError(
                f"--{given[0].replace('_', '-')}: is for the experiment; give --image too"
            )
        return None
    if args.weights == "none":
        raise UsageError("--weights none: a classifier without weights sees nothing; give a FILE")
    if not Path(args.image).is_file():
        raise DataError(f"--image {args.image}: no such file")
    from fcnseg.data.images import read_image

    return read_image(args.image, args.max_pixels)


def _experiment(args: Any, name: str, image: Any) -> tuple[Any, dict[str, Any]]:
    """The photograph as the networks saw it, and what came out, as plain numbers."""
    from dataclasses import asdict

    from fcnseg.catalogue import describe, imagenet_classes
    from fcnseg.classifiers import build_classifier
    from fcnseg.cli.progress import Progress
    from fcnseg.convolutionalize import convolutionalize
    from fcnseg.engine.events import Evaluating, downloading
    from fcnseg.inference.crops import compare_crops

    preprocessing = describe(name).preprocessing
    with Progress("classifying") as progress:
        classifier = build_classifier(name, args.weights, downloading(progress))
        net = convolutionalize(classifier, preprocessing.native_size, "window")
        found = compare_crops(
            classifier,
            net,
            preprocessing,
            image,
            device=args.device,
            done=lambda done, total: progress(Evaluating(done, total)),
        )
    told = {key: getattr(v, "tolist", lambda v=v: v)() for key, v in asdict(found).items()}
    del told["image"]
    classes, known = imagenet_classes(), describe(name).num_classes
    best = found.class_id
    told["class"] = classes[best] if known == len(classes) else f"class {best}"
    told["photograph"] = Path(args.image).name
    return found.image, told
