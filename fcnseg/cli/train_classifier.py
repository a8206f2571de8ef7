"""``fcnseg train-classifier``."""

from typing import Any

from fcnseg.classifier_config import ClassifierConfig
from fcnseg.config import to_yaml

HELP = "train a classifier on folders of images, a folder a class, for heatmaps without masks"
EXAMPLES = """\
fcnseg train-classifier --data-root photos
fcnseg train-classifier --data-root photos --backbone efficientnet_lite0 --run runs/pets
fcnseg train-classifier --data-root photos --backbone resnet18 --freeze backbone --epochs 5
fcnseg train-classifier --data-root photos --backbone small_cnn --image-size 96 --epochs 40
fcnseg train-classifier --run runs/pets --resume
fcnseg heatmap photo.jpg --checkpoint runs/pets/best.safetensors"""

_GROUPS = {
    "data": ("data_root", "val_fraction", "max_pixels", "check_first", "seed"),
    "network": ("backbone", "weights", "freeze"),
    "training": (
        *("epochs", "iterations", "batch_size", "accumulate", "optimizer", "momentum", "lr"),
        *("head_lr_factor", "bias_lr_factor", "weight_decay", "schedule", "warmup", "clip_norm"),
        "ema",
    ),
    "what a training image looks like": ("image_size", "crop_share", "flip", "colour"),
    "machine": ("device", "precision", "compile", "deterministic", "workers"),
    "run folder": ("run", "resume", "overwrite", "save_every", "tensorboard"),
}


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.parser import add_settings
    from fcnseg.cli.resuming import add_config_flags

    add_config_flags(parser)
    for title, names in _GROUPS.items():
        add_settings(parser, title, names, kind=ClassifierConfig)


def settings(args: Any) -> ClassifierConfig:
    """The settings of the command line; see :func:`fcnseg.cli.resuming.chosen_settings`."""
    from fcnseg.cli.resuming import chosen_settings

    return chosen_settings(args, ClassifierConfig, ("run", "data_root", "backbone"))


def run(args: Any) -> None:
    config = settings(args)
    if args.print_config:
        print(to_yaml(config, comments=True), end="")
        return

    from fcnseg.classifier_training import train_classifier
    from fcnseg.cli.progress import Progress
    from fcnseg.cli.tables import print_table
    from fcnseg.cli.train import print_written
    from fcnseg.engine.interrupt import Interruption
    from fcnseg.engine.world import is_first_process

    with Progress() as progress, Interruption() as stop:
        result = train_classifier(config, progress, stop)
    if not is_first_process():
        return
    found = result.evaluation
    counts = found.confusion.sum(1).tolist()
    values = zip(found.classes, counts, found.class_accuracy, strict=True)
    rows = [(name, str(n), "-" if v is None else f"{100 * v:.1f}") for name, n, v in values]
    print_table("", ("class", "test images", "recognised %"), rows)
    print(
        f"last epoch: {100 * found.test_accuracy:.1f} % of the test images recognised, "
        f"{100 * found.train_accuracy:.1f} % of the training images"
    )
    print(f"best epoch: {result.best_epoch}")
    print_written(result.folder, config.tensorboard, "photographs and their heatmaps")
    print(f"next: fcnseg heatmap PHOTO --checkpoint {result.best}")
