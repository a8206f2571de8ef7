"""``fcnseg train``."""

from typing import Any

from fcnseg.config import AUGMENTATION, TrainConfig, load_config, to_yaml

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
        *("epochs", "batch_size", "class_weights", "optimizer", "lr"),
        *("head_lr_factor", "weight_decay", "warmup"),
    ),
    "augmentation": AUGMENTATION,
    "machine": ("device", "precision", "workers", "cache", "check_first"),
    "run folder": ("run", "resume", "overwrite"),
}


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.parser import DATA_SETTINGS, add_settings

    parser.add_argument("--config", metavar="FILE", help="YAML settings; flags win over them")
    parser.add_argument(
        "--print-config", action="store_true", help="print the complete settings and stop"
    )
    add_settings(parser, "data", DATA_SETTINGS)
    for title, names in _GROUPS.items():
        add_settings(parser, title, names)


def settings(args: Any) -> TrainConfig:
    """The settings of the command line; a resumed run starts from those in its folder."""
    from fcnseg.cli.parser import given

    flags = given(args)
    file = args.config
    if file is None and flags.get("resume"):
        stored = TrainConfig(**{"run": flags["run"]} if "run" in flags else {}).run_folder
        kept = stored / "config.yaml"
        if kept.is_file():
            file, flags = kept, {"overwrite": False, **flags}
    return load_config(TrainConfig, file, flags)


def run(args: Any) -> None:
    config = settings(args)
    if args.print_config:
        print(to_yaml(config, comments=True), end="")
        return

    from fcnseg.build import train
    from fcnseg.cli.progress import Progress
    from fcnseg.cli.tables import print_scores

    with Progress() as progress:
        try:
            result = train(config, progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_kept(config)) from None
    print_scores(result.scores, result.classes)
    print(f"best mean IU {100 * result.best_mean_iu:.1f} % in epoch {result.best_epoch}")
    print(f"wrote {result.best} (the best checkpoint)")
    for name, meaning in (
        ("metrics.json", "the scores"),
        ("log.jsonl", "every step"),
        ("curves.png", "loss and mean IU"),
        ("samples/", "image, truth, prediction, difference"),
        ("last/", "what --resume needs"),
    ):
        print(f"wrote {result.folder / name} ({meaning})")


def _kept(config: TrainConfig) -> str:
    """What an interrupted run leaves, and how to go on."""
    from fcnseg.engine.run import RunFolder

    folder = config.run_folder
    if not RunFolder(folder).state.is_file():
        return f"{folder}: no epoch was finished; start again with --overwrite"
    return (
        f"{folder} keeps every finished epoch; continue with `fcnseg train --run {folder} --resume`"
    )
