"""``fcnseg train``."""

from pathlib import Path
from typing import Any

from fcnseg.config import AUGMENTATION, TrainConfig, to_yaml

HELP = "train a fully convolutional network"
EXAMPLES = """\
fcnseg train --data shapes --backbone efficientnet_lite0 --epochs 4
fcnseg train --backbone vgg16 --variant 8s --data-root VOCdevkit/VOC2012
fcnseg train --images photos --masks masks --classes background,cat \\
    --backbone resnet18 --epochs 20 --run runs/cats
fcnseg train --images photos --annotations labels.json --backbone efficientnet_lite0
fcnseg train --data voc-aug --data-root VOC --val-split seg11valid --download
fcnseg train --config configs/camvid_fcn8s_efficientnet_lite0.yaml --data-root CamVid
fcnseg train --run runs/cats --resume
fcnseg train --recipe paper --stages 32s,16s,8s --data voc-aug --data-root VOC
torchrun --nproc-per-node 4 -m -- fcnseg train --data-root VOCdevkit/VOC2012 --batch-size 4
fcnseg train --config my.yaml --lr 0.0002 --print-config"""

_GROUPS = {
    "network": (
        "backbone",
        "weights",
        "variant",
        "padding",
        "upsample",
        "output_stride",
        "init_from",
        "freeze",
    ),
    "training": (
        *("recipe", "stages", "epochs", "iterations", "batch_size", "accumulate", "optimizer"),
        *("momentum", "lr", "head_lr_factor", "bias_lr_factor", "weight_decay", "schedule"),
        *("warmup", "clip_norm", "ema", "reduction", "class_weights", "dice"),
    ),
    "augmentation": AUGMENTATION,
    "machine": ("device", "precision", "compile", "deterministic", "workers", "cache"),
    "run folder": (*("run", "resume", "overwrite", "save_every", "tensorboard", "check_first"),),
}


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.parser import DATA_SETTINGS, add_settings
    from fcnseg.cli.resuming import add_config_flags

    add_config_flags(parser)
    add_settings(parser, "data", DATA_SETTINGS)
    for title, names in _GROUPS.items():
        add_settings(parser, title, names)


def settings(args: Any) -> TrainConfig:
    """The settings of the command line; see :func:`fcnseg.cli.resuming.chosen_settings`."""
    from fcnseg.cli.resuming import chosen_settings

    return chosen_settings(args, TrainConfig, ("run", "data", "backbone", "variant", "stages"))


def run(args: Any) -> None:
    config = settings(args)
    if args.print_config:
        print(to_yaml(config, comments=True), end="")
        return

    from fcnseg.cli.progress import Progress
    from fcnseg.cli.tables import print_scores
    from fcnseg.engine.interrupt import Interruption
    from fcnseg.engine.world import is_first_process
    from fcnseg.stages import train_all

    with Progress() as progress, Interruption() as stop:
        results = train_all(config, progress, stop)
    if not is_first_process():
        return
    for result in results:
        print(f"{result.folder}, last epoch:")
        print_scores(result.evaluation.scores, result.evaluation.classes)
        print(f"best mean IU {100 * result.best_score:.1f} % in epoch {result.best_epoch}")
        print_written(result.folder, config.tensorboard)
    if len(results) > 1:
        print(f"the last stage's network: {results[-1].best}")


def print_written(
    folder: Path, tensorboard: bool, samples: str = "image, truth, prediction, difference"
) -> None:
    """Say what a training left in its folder; ``samples`` says what the pictures there show."""
    for name, meaning in (
        ("best.safetensors", "the best checkpoint"),
        ("report.html", "everything on a page"),
        ("metrics.json", "the scores"),
        ("log.jsonl", "every step"),
        ("curves.png", "loss and scores"),
        ("samples/", samples),
        ("last/", "what --resume needs"),
        *([("tensorboard/", "events for TensorBoard")] if tensorboard else []),
    ):
        if (folder / name).exists():
            print(f"wrote {folder / name} ({meaning})")
