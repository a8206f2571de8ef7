"""What a run is made of: flat, frozen settings, read strictly from YAML and from flags.

Every setting is declared once, with its default, its help and its range; the flags, the YAML
keys, the help text and the checks all come from that declaration. Faults are collected and
reported together in one :class:`UsageError`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from fcnseg.errors import UsageError
from fcnseg.settings import Size, flag_name, read_yaml, setting, typed


@dataclass(frozen=True)
class DataConfig:
    """Which data set; the same settings for train, eval and check."""

    data: str = setting("voc", "data set", choices=("voc", "camvid", "folder", "shapes"))
    data_root: str | None = setting(None, "folder of the data set; voc and camvid need it")
    images: str | None = setting(None, "folder: where the images are")
    masks: str | None = setting(None, "folder: where the masks are, one for each image")
    classes: str | None = setting(
        None,
        "folder: class names in the order of their ids, a,b,c or a file with one on each line; for "
        "RGB masks each line is a name and its colour, `road 128 64 128`",
    )
    mask_encoding: str = setting(
        "auto",
        "folder: what the mask pixels are; binary255 means 0 and 255",
        choices=("auto", "index", "palette", "rgb", "binary255"),
    )
    val_images: str | None = setting(None, "folder: images to validate on")
    val_masks: str | None = setting(None, "folder: masks to validate on")
    val_fraction: float | None = setting(
        None,
        "folder: share of the pairs kept for validation when there is no val_images; training "
        "takes 0.1 if it is not given, eval and check then use every pair",
        above=0,
        below=1,
    )
    train_length: int = setting(1000, "shapes: number of training images", at_least=1)
    val_length: int = setting(100, "shapes: number of validation images", at_least=1)
    image_size: Size = setting(  # noqa: RUF009  (a Size is immutable)
        Size(128, 160), "shapes: size of the images, 48x48 or more", at_least=48
    )
    max_pixels: int = setting(
        250_000_000, "images and masks of more pixels are refused before decoding", at_least=1
    )
    seed: int = setting(0, "seed of everything random", at_least=0)


@dataclass(frozen=True)
class TrainConfig(DataConfig):
    """A training run."""

    backbone: str = setting("vgg16", "classifier to start from; `fcnseg models` lists them")
    weights: str = setting("auto", "weights of the classifier: auto, none or a file")
    variant: str = setting(
        "8s", "stride of the finest score map", choices=("32s", "16s", "8s", "8s-atonce")
    )
    padding: str = setting(
        "same", "paper: the padding of 100 and the crops of the paper", choices=("same", "paper")
    )
    upsample: str = setting("learned", "upsampling kernels", choices=("learned", "fixed"))
    output_stride: int = setting(
        32,
        "coarsest stride left in the backbone; beyond it layers are dilated",
        choices=(8, 16, 32),
    )
    init_from: str | None = setting(
        None, "checkpoint of fcnseg to take all fitting tensors from, in place of weights"
    )
    freeze: str = setting("none", "backbone: train the head only", choices=("none", "backbone"))
    epochs: int = setting(30, "passes over the training images", at_least=1)
    batch_size: int = setting(4, "images in a training batch", at_least=1)
    crop_size: Size | None = setting(  # noqa: RUF009
        None,
        "size of the training crops; smaller images are padded with void (default 480x480, for "
        "shapes the image size)",
        at_least=16,
    )
    scale_min: float = setting(0.5, "smallest factor of the random scaling", above=0, at_most=10)
    scale_max: float = setting(2.0, "largest factor of the random scaling", above=0, at_most=10)
    optimizer: str = setting("adamw", "sgd has momentum 0.9", choices=("adamw", "sgd"))
    lr: float = setting(1e-4, "learning rate of the backbone, after warm-up", above=0, at_most=10)
    head_lr_factor: float = setting(
        10.0, "learning rate of the head, as a multiple of lr", above=0, at_most=1000
    )
    weight_decay: float = setting(
        1e-2, "weight decay; biases and norms have none", at_least=0, below=1
    )
    warmup: float = setting(
        0.05, "share of all steps over which the learning rate rises", at_least=0, below=1
    )
    device: str = setting("auto", "auto, cpu, cuda, cuda:1 or mps")
    precision: str = setting(
        "auto",
        "auto: fp32 on the CPU, bf16 or fp16 on CUDA",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    workers: int = setting(2, "processes that load images; 0 loads in the main one", at_least=0)
    run: str | None = setting(None, "run folder (default runs/DATA-BACKBONE-VARIANT)")
    resume: bool = setting(False, "continue the run in the run folder at its last finished epoch")
    overwrite: bool = setting(False, "replace the run in the run folder")

    @property
    def run_folder(self) -> Path:
        """The run folder, named after the data and the network where none is given."""
        return Path(self.run or f"runs/{self.data}-{self.backbone}-{self.variant}")


Config = TypeVar("Config", bound=DataConfig)


def load_config(kind: type[Config], file: str | Path | None, flags: Mapping[str, Any]) -> Config:
    """Settings from a YAML file and flags, which win over the file.

    ``flags`` maps names (``batch_size``) to text or values. Raises :class:`UsageError` with all
    faults of the file and the flags in one line.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    if file is not None:
        values, found = typed(kind, read_yaml(file), str)
        if found:
            faults.append(f"{file}: {'; '.join(found)}")
    chosen, found = typed(kind, flags, flag_name)
    faults += found
    if faults:
        raise UsageError("; ".join(faults))
    config = kind(**{**values, **chosen})
    try:
        validate(config)
    except UsageError as error:
        raise UsageError(f"{file}: {error}" if file is not None else str(error)) from None
    return config


def validate(config: DataConfig) -> None:
    """Raise one :class:`UsageError` with every wrong value and every contradiction."""
    _, faults = typed(type(config), asdict(config), flag_name)
    faults = faults or _data_contradictions(config)
    if isinstance(config, TrainConfig) and not faults:
        faults = _train_contradictions(config)
    if faults:
        raise UsageError("; ".join(faults))


def to_yaml(config: DataConfig, comments: bool = False) -> str:
    """The complete settings as YAML; with ``comments`` each is preceded by its help."""
    import yaml

    lines = []
    for item in fields(config):
        value = getattr(config, item.name)
        if comments:
            lines.append(f"# {item.metadata['help']}")
        plain = str(value) if isinstance(value, Size) else value
        lines.append(yaml.safe_dump({item.name: plain}, allow_unicode=True).rstrip("\n"))
    return "\n".join(lines) + "\n"


def differences(old: DataConfig, new: DataConfig, ignore: tuple[str, ...] = ()) -> list[str]:
    """Lines ``name: old -> new`` for the settings in which two configurations differ."""
    pairs = [(item.name, getattr(old, item.name), getattr(new, item.name)) for item in fields(old)]
    return [f"{name}: {a} -> {b}" for name, a, b in pairs if a != b and name not in ignore]


def _data_contradictions(config: DataConfig) -> list[str]:
    faults = []
    if config.data == "folder":
        missing = [flag_name(n) for n in ("images", "masks", "classes") if not getattr(config, n)]
        if missing:
            faults.append(f"--data folder: {' and '.join(missing)} missing; give all three")
    elif config.images or config.masks:
        faults.append(f"--images, --masks: need --data folder, got --data {config.data}")
    if (config.val_images is None) != (config.val_masks is None):
        faults.append("--val-images, --val-masks: one is missing; give both or none")
    if config.val_images is not None and config.val_fraction is not None:
        faults.append("--val-fraction: not together with --val-images; give one of them")
    return faults


def _train_contradictions(config: TrainConfig) -> list[str]:
    faults = []
    if config.resume and config.overwrite:
        faults.append("--resume, --overwrite: exclude each other; give one of them")
    if config.scale_min > config.scale_max:
        faults.append(
            f"--scale-min: {config.scale_min:g} is above --scale-max {config.scale_max:g}"
        )
    if config.init_from is not None and config.weights not in ("auto", "none"):
        faults.append("--init-from, --weights FILE: exclude each other; give one of them")
    return faults
