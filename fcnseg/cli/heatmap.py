"""``fcnseg heatmap``."""

from pathlib import Path
from typing import Any

HELP = "show where a classifier, or a trained network, sees its classes in a photograph"
EXAMPLES = """\
fcnseg heatmap photo.jpg
fcnseg heatmap photo.jpg --classes "tabby,Egyptian cat"
fcnseg heatmap photos/ --backbone resnet50 --top 3 --out heatmaps
fcnseg heatmap photo.jpg --size 448
fcnseg heatmap street.png --checkpoint runs/x/best.safetensors --classes car,road"""


def add_arguments(parser: Any) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="photographs, or folders")
    group = parser.add_argument_group("network")
    group.add_argument(
        "--backbone",
        metavar="NAME",
        default="efficientnet_lite0",
        help="classifier (default efficientnet_lite0, whose ImageNet weights come with pip)",
    )
    group.add_argument(
        "--weights", metavar="auto|FILE", default="auto", help="weights of the classifier"
    )
    group.add_argument(
        "--checkpoint", metavar="CKPT", help="a network of fcnseg train in place of a classifier"
    )
    group.add_argument("--device", metavar="auto|cpu|cuda", default="auto", help="where to compute")
    group = parser.add_argument_group("what to show")
    group.add_argument("--classes", metavar="a,b", help="classes, by any part of their names")
    group.add_argument(
        "--top",
        type=int,
        metavar="N",
        default=5,
        help="the N best classes by the score of the whole image (default 5)",
    )
    group.add_argument(
        "--size",
        metavar="N|native",
        help="pixels to scale the short side to first, native for none; by default the size the "
        "classifier was tested at, and native with --checkpoint",
    )
    group.add_argument("--out", metavar="DIR", default=".", help="where to write (default here)")
    group.add_argument("--json", action="store_true", help="print JSON in place of the table")


def run(args: Any) -> int:
    from fcnseg.cli.inputs import each_image, output_folder, photographs
    from fcnseg.cli.tables import print_json, print_table
    from fcnseg.errors import UsageError

    if args.top < 1:
        raise UsageError(f"--top: expected a number of classes from 1 up, got {args.top}")
    size = short_side(args.size)
    if args.checkpoint and size:
        raise UsageError(
            "--size: a network of fcnseg train sees photographs as they are; leave out"
        )
    paths = photographs(args.images)
    seer = _trained(args) if args.checkpoint else _classifier(args, size)
    folder = output_folder(args.out)
    results = []

    def work(path: Path, image: Any) -> None:
        maps = seer(image)
        ids = maps.find(args.classes.split(",")) if args.classes else maps.top(args.top)
        written = write(folder, path.stem, image, maps, ids)
        rows = [(maps.classes[i], float(maps.image_score[i]), maps.hottest(i)) for i in ids]
        results.append(
            {
                "image": str(path),
                "classes": [
                    {"name": n, "score": s, "hottest": {"x": x, "y": y}} for n, s, (y, x) in rows
                ],
                "written": [str(file) for file in written],
            }
        )
        if not args.json:
            table = [(n, f"{s:.3f}", f"({x:.0f}, {y:.0f})") for n, s, (y, x) in rows]
            print_table(str(path), ("class", "score", "hottest at (x, y)"), table)
            for file in written:
                print(f"wrote {file}")

    code = each_image(paths, work)
    if args.json:
        print_json(results)
    return code


def short_side(text: str | None) -> int | str | None:
    """``--size`` as a number of pixels, ``"native"`` or None.

    Raises:
        UsageError: neither a number from 32 up nor ``native``.
    """
    from fcnseg.errors import UsageError

    if text is None or text == "native":
        return text
    if not text.isdigit() or int(text) < 32:
        raise UsageError(f"--size {text}: expected a number of pixels from 32 up, or native")
    return int(text)


def write(folder: Path, stem: str, image: Any, maps: Any, ids: list[int]) -> tuple[Path, Path]:
    """Write the figure and the numbers of one photograph."""
    import io

    import numpy as np

    from fcnseg import render
    from fcnseg.files import write_atomically

    figure = render.heatmap(
        image,
        maps.probabilities(ids, image.shape[:2]),
        [maps.classes[i] for i in ids],
        scores=[float(maps.image_score[i]) for i in ids],
    )
    numbers = io.BytesIO()
    np.savez_compressed(
        numbers,
        score=maps.score,
        classes=np.array(maps.classes),
        stride=np.array(maps.stride),
        offset=np.array(maps.offset),
    )
    return (
        render.write_image(folder / f"{stem}.heatmap.png", figure),
        write_atomically(folder / f"{stem}.npz", numbers.getvalue()),
    )


def _classifier(args: Any, size: int | str | None) -> Any:
    from fcnseg.backbones import build_classifier, describe, imagenet_classes
    from fcnseg.convolutionalize import convolutionalize
    from fcnseg.inference.heatmap import classifier_maps

    preprocessing = describe(args.backbone).preprocessing
    classifier = build_classifier(args.backbone, args.weights)
    net = convolutionalize(classifier, preprocessing.native_size)
    classes = imagenet_classes()

    def see(image: Any) -> Any:
        side = min(image.shape[:2]) if isinstance(size, str) else size
        return classifier_maps(net, preprocessing, classes, image, side, args.device)

    return see


def _trained(args: Any) -> Any:
    from fcnseg.build import load
    from fcnseg.inference.heatmap import segmenter_maps
    from fcnseg.inference.predictor import Predictor

    predictor = Predictor(load(args.checkpoint), args.device)
    return lambda image: segmenter_maps(predictor, image)
