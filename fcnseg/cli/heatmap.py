"""``fcnseg heatmap``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fcnseg.cli.finding import Photograph

HELP = "show where a classifier, or a trained network, sees its classes"
EXAMPLES = """\
fcnseg heatmap photo.jpg
fcnseg heatmap photo.jpg --classes "tabby,Egyptian cat"
fcnseg heatmap photos/ --backbone resnet50 --top 3 --out heatmaps
fcnseg heatmap photo.jpg --size 448
fcnseg heatmap photo.jpg --stride 8 --uncertainty entropy
fcnseg heatmap photo.jpg --html
fcnseg heatmap photo.jpg --raw --format pdf
fcnseg heatmap street.png --checkpoint runs/x/best.safetensors \\
    --classes car,road
fcnseg heatmap dog.jpg --checkpoint runs/pets-small_cnn/best.safetensors
fcnseg heatmap photo.jpg --model torchvision/fcn_resnet50 --classes all"""


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.inputs import IMAGES_HELP, add_max_pixels
    from fcnseg.cli.segmenter import add_segmenter

    parser.add_argument("images", nargs="+", metavar="IMAGE", help=IMAGES_HELP)
    group = parser.add_argument_group("network")
    group.add_argument(
        "--backbone",
        metavar="NAME",
        help="classifier (default efficientnet_lite0, whose ImageNet weights come with pip)",
    )
    add_segmenter(group, "--backbone or --model")
    group.add_argument(
        "--device", metavar="auto|cpu|cuda|mps", default="auto", help="where to compute"
    )
    group = parser.add_argument_group("what to show")
    group.add_argument(
        "--classes",
        metavar="a,b|all",
        help="classes, by any part of their names; all for all of up to 30",
    )
    group.add_argument(
        "--top",
        type=int,
        metavar="N",
        default=5,
        help="the N best classes by the probability of the whole image (default 5)",
    )
    group.add_argument(
        "--size",
        metavar="N|native",
        help="pixels to scale the short side to first, native for none; a classifier knows things "
        "at the size it saw them in training, so the default is the size it was tested at; "
        "--checkpoint and --model have sizes of their own",
    )
    group.add_argument(
        "--stride",
        type=int,
        metavar="N",
        help="pixels from cell to cell of the map, such as 16 or 8, for a finer one at more time: "
        "the classifier's layers are dilated; the default is its own, mostly 32",
    )
    group.add_argument(
        "--raw",
        action="store_true",
        help="scores before softmax in place of probabilities, on one scale around zero",
    )
    group.add_argument(
        "--uncertainty",
        choices=("entropy", "margin"),
        help="one more panel: entropy of the classes in each cell, or the margin by which the best "
        "probability leads the second",
    )
    group = parser.add_argument_group("output")
    group.add_argument("--out", metavar="DIR", default=".", help="where to write (default here)")
    group.add_argument(
        "--format",
        choices=("png", "svg", "pdf"),
        default="png",
        help="png: a picture (default); svg, pdf: a figure for papers, text as text",
    )
    group.add_argument(
        "--html",
        action="store_true",
        help="also a page that needs nothing else: layers, all scores under the pointer",
    )
    add_max_pixels(group)
    group.add_argument("--json", action="store_true", help="print JSON in place of the table")


def run(args: Any) -> int:
    from fcnseg.cli.inputs import each_image, output_folder, photographs
    from fcnseg.cli.tables import print_json, print_table
    from fcnseg.heatmaps import choose_classes
    from fcnseg.inference.heatmap_result import Heatmap

    with _as_flags():
        size = _checked(args)
    paths = photographs(args.images)
    endings = [f".heatmap.{args.format}", ".npz"] + [".heatmap.html"] * args.html
    folder = output_folder(args.out, paths, endings)
    with _as_flags():
        mapper = _mapper(args, size)
        chosen = choose_classes(args.classes, mapper.classes)
    results = []

    def work(photograph: Photograph, image: Any) -> None:
        maps = mapper(image, str(photograph))
        ids = maps.top(args.top) if chosen is None else chosen
        found = Heatmap(image, maps, tuple(ids), mapper.palette, photograph.path.name)
        kind = "raw" if args.raw else "probability"
        written = write(folder, photograph.stem, found, endings, kind, args.uncertainty)
        # Adding zero turns -0 into 0.
        rows = [
            (maps.classes[i], float(maps.image_score[i]), [round(v) + 0 for v in maps.hottest(i)])
            for i in ids
        ]
        results.append(
            {
                "image": str(photograph),
                "classes": [
                    {"name": n, "probability": p, "hottest": {"x": x, "y": y}}
                    for n, p, (y, x) in rows
                ],
                "written": [str(file) for file in written],
            }
        )
        if not args.json:
            table = [(n, f"{p:.3f}", f"({x}, {y})") for n, p, (y, x) in rows]
            print_table(str(photograph), ("class", "probability", "hottest at (x, y)"), table)
            for file in written:
                print(f"wrote {file}")

    code = each_image(paths, work, args.max_pixels)
    if args.json:
        print_json(results)
    return code


def write(
    folder: Path,
    stem: str,
    heatmap: Any,
    endings: Sequence[str] = (".heatmap.png", ".npz"),
    kind: Any = "probability",
    uncertainty: Any = None,
) -> list[Path]:
    """Write each form of a :class:`~fcnseg.inference.heatmap_result.Heatmap` that ends so."""
    return [heatmap.save(folder / f"{stem}{ending}", kind, uncertainty) for ending in endings]


def _checked(args: Any) -> int | str | None:
    """The size asked for, once the flags are known to go together.

    Raises:
        UsageError: they do not.
    """
    from fcnseg.cli.segmenter import check_segmenter
    from fcnseg.heatmaps import check_settings

    size = short_side(args.size)
    check_settings(args.stride, size, args.top, args.classes)
    check_segmenter(args, ("backbone",), required=False)
    if not _is_classifier(args):
        check_segmenter(args, ("size", "stride"), required=False)
    return size


@contextmanager
def _as_flags() -> Iterator[None]:
    """Let messages that start with the name of a library's argument start with that of its flag."""
    from fcnseg.errors import UsageError

    try:
        yield
    except UsageError as error:
        if not str(error).startswith(("classes", "size", "stride", "top")):
            raise
        raise UsageError(f"--{error}") from error


def _is_classifier(args: Any) -> bool:
    """Whether there is a checkpoint that holds a classifier; loading says what is wrong with it."""
    from contextlib import suppress

    from fcnseg.engine.checkpoint import kind_of
    from fcnseg.errors import WeightsError

    with suppress(WeightsError):
        return args.checkpoint is not None and kind_of(args.checkpoint) == "classifier"
    return False


def short_side(text: str | None) -> int | str | None:
    """``--size`` as a number of pixels where it is one; what else it may be is checked later."""
    # Python refuses to read numbers of thousands of digits.
    if text is not None and text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    return text


def _mapper(args: Any, size: int | str | None) -> Any:
    """The network that the flags name, ready to map photographs."""
    from fcnseg.build import load_classifier
    from fcnseg.catalogue import LITE0
    from fcnseg.cli.progress import Progress
    from fcnseg.cli.segmenter import load_segmenter
    from fcnseg.engine.events import downloading
    from fcnseg.heatmaps import open_classifier, open_network

    how = args.stride, size, args.device
    if _is_classifier(args):
        return open_network(load_classifier(args.checkpoint), *how)
    if args.checkpoint or args.model:
        return open_network(load_segmenter(args)[0], *how)
    with Progress() as progress:
        name, weights = args.backbone or LITE0, args.weights or "auto"
        return open_classifier(name, weights, *how, downloading(progress))
