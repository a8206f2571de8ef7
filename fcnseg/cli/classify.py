"""``fcnseg classify``."""

from pathlib import Path
from typing import Any

from fcnseg.cli.finding import Photograph

HELP = "name what is in a photograph, by its centre, densely or in many crops"
EXAMPLES = """\
fcnseg classify photo.jpg
fcnseg classify photo.jpg --mode dense
fcnseg classify photos/ --backbone vgg16 --mode both --scales 256,384,512
fcnseg classify imagenet/val --backbone resnet50 --mode dense --json > scores.json
fcnseg classify photos/ --checkpoint runs/pets-small_cnn/best.safetensors"""

_MOST_FAULTS = 3


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.inputs import add_max_pixels

    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="photographs, folders, quoted patterns, @list.txt with a path a line, or - for such "
        "lines on standard input; where a folder has no images but folders of them, these are "
        "named after classes (name, WordNet id or number) and the accuracy is printed",
    )
    group = parser.add_argument_group("network")
    group.add_argument(
        "--backbone",
        metavar="NAME",
        help="classifier (default efficientnet_lite0, whose ImageNet weights come with pip)",
    )
    group.add_argument(
        "--weights",
        metavar="auto|FILE",
        help="weights of the classifier (default auto)",
    )
    group.add_argument(
        "--checkpoint", metavar="CKPT", help="a classifier of fcnseg train-classifier instead"
    )
    group.add_argument(
        "--device", metavar="auto|cpu|cuda|mps", default="auto", help="where to compute"
    )
    group = parser.add_argument_group("how to look")
    group.add_argument(
        "--mode",
        metavar="center|dense|multicrop|both",
        default="center",
        help="center: the crop in the middle, the ordinary test (default); dense: the whole image "
        "through the fully convolutional classifier, scores averaged over its map; multicrop: 5x5 "
        "crops; both: the mean of dense and multicrop",
    )
    group.add_argument(
        "--scales",
        metavar="N,N",
        help="lengths in pixels that the short side is scaled to, averaged; 256,384,512 in the "
        "VGG paper (default: what the classifier was tested at; center has no other)",
    )
    group.add_argument(
        "--no-mirror",
        action="store_true",
        help="do not average with the mirrored image (center never does)",
    )
    group = parser.add_argument_group("what to print")
    group.add_argument(
        "--top", type=int, metavar="N", default=5, help="the N best classes (default 5)"
    )
    add_max_pixels(group)
    group.add_argument("--json", action="store_true", help="print JSON in place of the tables")


def run(args: Any) -> int:
    from fcnseg.cli.inputs import each_image
    from fcnseg.cli.tables import print_json, print_table
    from fcnseg.sizes import check_scaled

    scales = _checked(args)
    own = _own(args.checkpoint)
    classes = _classes(args) if own is None else own.info.classes
    paths, truth = found(args.images, classes)
    classifier = _classifier(args, scales, own)
    results: list[dict[str, Any]] = []

    def work(photograph: Photograph, image: Any) -> None:
        path = photograph.path
        flag = "--scales" if scales else None
        check_scaled(str(path), image.shape[:2], max(classifier.scales), flag)
        probability = classifier(image)
        ranked = [int(i) for i in (-probability).argsort(kind="stable")]
        best = [(i, float(probability[i])) for i in ranked[: args.top]]
        named = [{"name": classes[i], "id": i, "probability": p} for i, p in best]
        result: dict[str, Any] = {"image": str(path), "classes": named}
        if path.parent in truth:
            right = truth[path.parent]
            result["truth"] = {"name": classes[right], "id": right}
            result["rank"] = ranked.index(right) + 1
        elif not args.json:
            rows = [(classes[i], f"{p:.3f}") for i, p in best]
            print_table(str(path), ("class", "probability"), rows)
        results.append(result)

    code = each_image(paths, work, args.max_pixels)
    scored = [result for result in results if "rank" in result]
    if args.json:
        how = {"mode": args.mode, "scales": classifier.scales, "mirror": classifier.mirror}
        print_json({**how, "accuracy": accuracy(scored), "images": results})
    elif scored:
        _print_accuracy(scored)
    return code


def found(names: list[str], classes: Any) -> tuple[list[Photograph], dict[Path, int]]:
    """The photographs, and the class of each folder that is named after one.

    Raises:
        DataError: nothing where a name points, or folders that are not named after classes.
    """
    from fcnseg.cli.finding import find
    from fcnseg.data.faults import raise_faults
    from fcnseg.errors import DataError
    from fcnseg.inference.class_names import class_of_folder, wordnet_ids

    paths: list[Photograph] = []
    truth: dict[Path, int] = {}
    faults: list[str] = []
    for name in names:
        folders = class_folders(Path(name))
        ids = wordnet_ids() if folders else ()
        for folder in folders:
            try:
                truth[folder] = class_of_folder(folder.name, classes, ids)
            except DataError as error:
                why = "folders in a folder without images are named after classes"
                faults.append(f"{folder}: {error} ({why})")
        paths += find([str(f) for f in folders] or [name], deep=False)
    raise_faults(faults[:_MOST_FAULTS])
    return paths, truth


def class_folders(path: Path) -> list[Path]:
    """The folders with images in a folder that has none itself, in order."""
    from fcnseg.cli.finding import images_in

    if not path.is_dir() or images_in(path):
        return []
    inside = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [folder for folder in inside if images_in(folder)]


def accuracy(scored: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The shares, 0 to 1, of images whose class was the best, and among the best five.

    Each of ``scored`` has the ``rank`` of its class, from 1. None where there are none.
    """
    if not scored:
        return None
    shares = {f"top{n}": sum(r["rank"] <= n for r in scored) / len(scored) for n in (1, 5)}
    return {"images": len(scored), **shares}


def _print_accuracy(scored: list[dict[str, Any]]) -> None:
    from fcnseg.cli.tables import print_table

    groups: dict[str, list[dict[str, Any]]] = {}
    for result in scored:
        groups.setdefault(result["truth"]["name"], []).append(result)
    rows = []
    for name, group in [*groups.items(), ("all", scored)]:
        share = accuracy(group)
        assert share is not None
        tops = (f"{100 * share[top]:.1f}" for top in ("top1", "top5"))
        rows.append((name, str(share["images"]), *tops))
    print_table("", ("class", "images", "top-1 accuracy %", "top-5 accuracy %"), rows)


def _checked(args: Any) -> list[int] | None:
    """The scales asked for, once the flags are known to go together.

    Raises:
        UsageError: they do not.
    """
    from fcnseg.cli.inputs import whole_numbers
    from fcnseg.errors import UsageError

    if args.top < 1:
        raise UsageError(f"--top: expected 1 class or more, got {args.top}")
    if args.weights == "none":
        raise UsageError("--weights none: a classifier without weights knows nothing; give a FILE")
    for name in ("backbone", "weights"):
        if args.checkpoint is not None and getattr(args, name) is not None:
            raise UsageError(f"--{name}: the classifier of --checkpoint has its own; leave one out")
    if args.no_mirror and args.mode == "center":
        raise UsageError("--no-mirror: --mode center never mirrors; leave it out")
    if args.scales is None:
        return None
    return whole_numbers("--scales", args.scales, "lengths in pixels such as 256,384,512", 10**5)


def _own(checkpoint: str | None) -> Any:
    """The classifier of a checkpoint; None where none is given.

    Raises:
        WeightsError: the file is missing, damaged or holds no classifier.
    """
    from fcnseg.build import load_classifier

    return None if checkpoint is None else load_classifier(checkpoint)


def _classes(args: Any) -> tuple[str, ...]:
    from fcnseg.catalogue import LITE0, class_names

    return class_names(args.backbone or LITE0)


def _classifier(args: Any, scales: list[int] | None, own: Any) -> Any:
    from fcnseg.catalogue import LITE0, describe
    from fcnseg.classifiers import build_classifier
    from fcnseg.cli.progress import Progress
    from fcnseg.engine.events import downloading
    from fcnseg.inference.classify import ImageClassifier, check_mode

    name = args.backbone or LITE0
    preprocessing = describe(name).preprocessing if own is None else own.info.preprocessing
    check_mode(args.mode, scales, preprocessing.native_size)  # before any download
    if own is None:
        with Progress() as progress:
            net = build_classifier(name, args.weights or "auto", downloading(progress))
    else:
        net = own.net
    return ImageClassifier(net, preprocessing, args.mode, scales, not args.no_mirror, args.device)
