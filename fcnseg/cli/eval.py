"""``fcnseg eval``."""

from typing import Any

HELP = "score a checkpoint: the four FCN metrics and the IU of each class"
EXAMPLES = """\
fcnseg eval --checkpoint runs/x/best.safetensors --data camvid --data-root CamVid
fcnseg eval --checkpoint runs/cats/best.safetensors --data folder --images photos \\
    --masks labels --classes background,cat
fcnseg eval --checkpoint best.safetensors --data shapes --json > scores.json"""


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.parser import DATA_SETTINGS, add_settings

    parser.add_argument("--checkpoint", metavar="CKPT", required=True, help="from fcnseg train")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the tables")
    add_settings(parser, "data (the validation part is scored)", DATA_SETTINGS)
    names = ("batch_size", "device", "precision", "workers")
    add_settings(parser, "machine", names, {"batch_size": "images of one size scored at a time"})


def run(args: Any) -> None:
    from fcnseg.cli.parser import given
    from fcnseg.config import TrainConfig, load_config

    config = load_config(TrainConfig, None, given(args))

    from fcnseg.build import build_evaluation_source, load
    from fcnseg.cli.progress import Progress
    from fcnseg.cli.tables import print_json, print_scores
    from fcnseg.data.loading import evaluation_loader
    from fcnseg.devices import choose_device, choose_precision
    from fcnseg.engine.evaluate import evaluate
    from fcnseg.engine.run import named_scores

    device = choose_device(config.device)
    model = load(args.checkpoint).to(device)
    source = build_evaluation_source(config)
    check_classes(args.checkpoint, model.info.classes, source.name, source.classes)
    batches = evaluation_loader(source, config.batch_size, config.workers)
    precision = choose_precision(config.precision, device)
    with Progress() as progress:
        confusion = evaluate(model, batches, device, precision, progress, len(source))
    scores = confusion.scores()
    if args.json:
        print_json({"images": len(source), **named_scores(scores, source.classes)})
    else:
        print_scores(scores, source.classes)


def check_classes(
    checkpoint: str, trained: tuple[str, ...], data: str, classes: tuple[str, ...]
) -> None:
    """Raise :class:`DataError` unless the data have as many classes as the checkpoint."""
    from fcnseg.errors import DataError

    if len(trained) != len(classes):
        raise DataError(
            f"{data}: has {len(classes)} classes, {checkpoint} was trained on {len(trained)} "
            f"({', '.join(trained[:4])}, ...); give the data it was trained for"
        )
