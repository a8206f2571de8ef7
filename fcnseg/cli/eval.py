"""``fcnseg eval``."""

from collections.abc import Container
from dataclasses import replace
from typing import Any

from fcnseg.config import TrainConfig, load_config

HELP = "score a segmentation network: the four FCN metrics and the IU of each class"
EXAMPLES = """\
fcnseg eval --checkpoint runs/x/best.safetensors --data camvid --data-root CamVid
fcnseg eval --checkpoint runs/cats/best.safetensors --images photos --masks masks
fcnseg eval --model torchvision/fcn_resnet50 --data voc --data-root VOCdevkit/VOC2012
fcnseg eval --checkpoint best.safetensors --data shapes --json > scores.json"""


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.parser import DATA_SETTINGS, add_settings
    from fcnseg.cli.segmenter import add_segmenter

    add_segmenter(parser)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the tables")
    add_settings(parser, "data (the validation part is scored)", DATA_SETTINGS)
    names = ("batch_size", "device", "precision", "workers")
    add_settings(parser, "machine", names, {"batch_size": "images of one size scored at a time"})


def run(args: Any) -> None:
    from fcnseg.cli.parser import given
    from fcnseg.cli.segmenter import check_segmenter, load_segmenter

    check_segmenter(args)
    flags = given(args)
    flags.pop("weights")  # here of --model, not of a training
    config = load_config(TrainConfig, None, flags)

    from fcnseg.cli.progress import Progress
    from fcnseg.cli.tables import print_json, print_scores
    from fcnseg.data.loading import evaluation_loader
    from fcnseg.devices import choose_device, choose_precision
    from fcnseg.engine.checkpoint import read_config
    from fcnseg.engine.evaluate import evaluate, named_scores, scores_on
    from fcnseg.engine.events import Event
    from fcnseg.sources import build_evaluation_source

    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    model, name = load_segmenter(args)
    model.to(device)
    trained = read_config(args.checkpoint) if args.checkpoint else None
    if trained is not None:
        config = reading_as_trained(config, trained, flags)
    notices: list[Event] = []
    source = build_evaluation_source(config, trained, given=flags, observer=notices.append)
    check_classes(name, model.info.classes, source.name, source.classes)
    batches = evaluation_loader(source, config.batch_size, config.workers)
    with Progress() as progress:
        for notice in notices:
            progress(notice)
        confusion = evaluate(model, batches, device, precision, progress, len(source))
    scores = scores_on(source, confusion)
    if args.json:
        named = named_scores(scores, source.classes)
        print_json({"data": source.name, "images": len(source), **named})
    else:
        print(f"images scored: {len(source)} ({source.name})")
        print_scores(scores, source.classes)


def reading_as_trained(
    config: TrainConfig, trained: dict[str, Any], given: Container[str]
) -> TrainConfig:
    """Settings in which masks are read as in training, where no flag says otherwise.

    ``trained`` are the settings in the checkpoint, ``given`` the names of the flags.
    """
    if config.data not in ("folder", "coco") or trained.get("data") != config.data:
        return config
    names = ("classes", "mask_encoding", "mask_suffix", "mask_void")
    return replace(config, **{n: trained[n] for n in names if n in trained and n not in given})


def check_classes(
    network: str, trained: tuple[str, ...], data: str, classes: tuple[str, ...]
) -> None:
    """Raise :class:`DataError` unless the data have the classes of the network, in order."""
    from fcnseg.data.faults import first_names
    from fcnseg.errors import DataError

    if trained == classes:
        return
    place = next((i for i, (a, b) in enumerate(zip(trained, classes, strict=False)) if a != b), -1)
    first = f"; class {place} is {classes[place]!r}, not {trained[place]!r}" if place >= 0 else ""
    raise DataError(
        f"{data}: has {len(classes)} classes ({first_names(classes, 4)}), {network} was "
        f"trained on {len(trained)} ({first_names(trained, 4)}){first}; give the classes of "
        "training in the same order"
    )
