"""``fcnseg heatmap``."""

from pathlib import Path
from typing import Any

HELP = "show where a classifier, or a trained network, sees its classes"
EXAMPLES = """\
fcnseg heatmap photo.jpg
fcnseg heatmap photo.jpg --classes "tabby,Egyptian cat"
fcnseg heatmap photos/ --backbone resnet50 --top 3 --out heatmaps
fcnseg heatmap photo.jpg --size 448
fcnseg heatmap photo.jpg --stride 8
fcnseg heatmap street.png --checkpoint runs/x/best.safetensors \\
    --classes car,road
fcnseg heatmap dog.jpg --checkpoint runs/pets-small_cnn/best.safetensors
fcnseg heatmap photo.jpg --model torchvision/fcn_resnet50 --classes cat,sofa"""


_MOST_PANELS = 30


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.inputs import add_max_pixels
    from fcnseg.cli.segmenter import add_segmenter

    parser.add_argument("images", nargs="+", metavar="IMAGE", help="photographs, or folders")
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
    group.add_argument("--classes", metavar="a,b", help="classes, by any part of their names")
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
    group.add_argument("--out", metavar="DIR", default=".", help="where to write (default here)")
    add_max_pixels(group)
    group.add_argument("--json", action="store_true", help="print JSON in place of the table")


def run(args: Any) -> int:
    from fcnseg.cli.inputs import each_image, output_folder, photographs
    from fcnseg.cli.tables import print_json, print_table

    size = _checked(args)
    paths = photographs(args.images)
    folder = output_folder(args.out, paths, (".heatmap.png", ".npz"))
    trained = (args.checkpoint or args.model) and not _is_classifier(args)
    see, classes = _trained(args) if trained else _classifier(args, size)
    chosen = _chosen(args.classes, classes)
    results = []

    def work(path: Path, image: Any) -> None:
        maps = see(path, image)
        ids = maps.top(args.top) if chosen is None else chosen
        written = write(folder, path.stem, image, maps, ids)
        # Adding zero turns -0 into 0.
        rows = [
            (maps.classes[i], float(maps.image_score[i]), [round(v) + 0 for v in maps.hottest(i)])
            for i in ids
        ]
        results.append(
            {
                "image": str(path),
                "classes": [
                    {"name": n, "probability": p, "hottest": {"x": x, "y": y}}
                    for n, p, (y, x) in rows
                ],
                "written": [str(file) for file in written],
            }
        )
        if not args.json:
            table = [(n, f"{p:.3f}", f"({x}, {y})") for n, p, (y, x) in rows]
            print_table(str(path), ("class", "probability", "hottest at (x, y)"), table)
            for file in written:
                print(f"wrote {file}")

    code = each_image(paths, work, args.max_pixels)
    if args.json:
        print_json(results)
    return code


def _checked(args: Any) -> int | str | None:
    """The size asked for, once the flags are known to go together.

    Raises:
        UsageError: they do not.
    """
    from fcnseg.cli.segmenter import check_segmenter
    from fcnseg.errors import UsageError

    if not 1 <= args.top <= _MOST_PANELS:
        raise UsageError(f"--top: expected 1 to {_MOST_PANELS} classes, got {args.top}")
    check_segmenter(args, ("backbone",), required=False)
    size = short_side(args.size)
    if not _is_classifier(args):
        check_segmenter(args, ("size", "stride"), required=False)
    return size


def _is_classifier(args: Any) -> bool:
    """Whether there is a checkpoint that holds a classifier; loading says what is wrong with it."""
    from contextlib import suppress

    from fcnseg.engine.checkpoint import kind_of
    from fcnseg.errors import WeightsError

    with suppress(WeightsError):
        return args.checkpoint is not None and kind_of(args.checkpoint) == "classifier"
    return False


def _chosen(text: str | None, classes: Any) -> list[int] | None:
    """The ids of ``--classes``, found before any photograph is read.

    Raises:
        UsageError: a name that no class has, or one that too many have.
    """
    from fcnseg.errors import UsageError
    from fcnseg.inference.heatmap import find_classes

    if text is None:
        return None
    ids = find_classes(classes, text.split(","))
    if len(ids) > _MOST_PANELS:
        some = ", ".join(classes[i] for i in ids[:4])
        raise UsageError(
            f"--classes {text}: {len(ids)} classes have this in their names ({some}, ...); "
            f"expected up to {_MOST_PANELS}; write more of the name"
        )
    return ids


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


def _classifier(args: Any, size: int | str | None) -> tuple[Any, Any]:
    from dataclasses import replace

    from fcnseg.cli.inputs import check_scaled
    from fcnseg.convolutionalize import convolutionalize
    from fcnseg.dilate import dilate
    from fcnseg.errors import UsageError
    from fcnseg.inference.heatmap import classifier_maps

    built = _published(args) if args.checkpoint is None else _own(args.checkpoint)
    classifier, preprocessing, classes = built
    net = fine = convolutionalize(classifier, preprocessing.native_size)
    if args.stride is not None:
        try:
            fine = dilate(net, args.stride, preprocessing.native_size)
        except UsageError as error:
            raise UsageError(f"--stride: {error}") from error

    def see(path: Path, image: Any) -> Any:
        short = min(image.shape[:2])
        side = short if isinstance(size, str) else size or preprocessing.test_resize
        check_scaled(path, image, side, "--size")
        maps = classifier_maps(fine, preprocessing, classes, image, side, args.device)
        if fine is net:
            return maps
        # What the whole photograph shows does not depend on how finely it is looked at.
        own = classifier_maps(net, preprocessing, classes, image, side, args.device)
        return replace(maps, image_score=own.image_score)

    return see, classes


def _published(args: Any) -> tuple[Any, Any, Any]:
    """A classifier of the catalogue, what it expects of images, and its classes."""
    import torch

    from fcnseg.catalogue import LITE0, class_names, describe
    from fcnseg.classifiers import build_classifier
    from fcnseg.cli.progress import Progress
    from fcnseg.convolutionalize import convolutionalize
    from fcnseg.dilate import dilate
    from fcnseg.engine.events import downloading
    from fcnseg.errors import UsageError

    name = args.backbone or LITE0
    classes = class_names(name)
    preprocessing = describe(name).preprocessing
    if args.stride is not None:  # refused on shapes alone, before any download
        with torch.device("meta"):
            shapes = convolutionalize(build_classifier(name), preprocessing.native_size)
        try:
            dilate(shapes, args.stride, preprocessing.native_size)
        except UsageError as error:
            raise UsageError(f"--stride: {error}") from error
    with Progress() as progress:
        classifier = build_classifier(name, args.weights or "auto", downloading(progress))
    return classifier, preprocessing, classes


def _own(checkpoint: str) -> tuple[Any, Any, Any]:
    """The same of a classifier that ``fcnseg train-classifier`` trained."""
    from fcnseg.build import load_classifier

    model = load_classifier(checkpoint)
    return model.net, model.info.preprocessing, model.info.classes


def _trained(args: Any) -> tuple[Any, Any]:
    from fcnseg.cli.segmenter import load_segmenter
    from fcnseg.inference.heatmap import segmenter_maps
    from fcnseg.inference.predictor import Predictor

    predictor = Predictor(load_segmenter(args)[0], args.device)
    classes = predictor.model.info.classes
    return lambda path, image: segmenter_maps(predictor, image, str(path)), classes
