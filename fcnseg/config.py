"""What a run is made of: flat, frozen settings, read strictly from YAML and from flags.

Every setting is declared once, with its default, its help and its range; the flags, the YAML
keys, the help text and the checks all come from that declaration. Faults are collected and
reported together in one :class:`UsageError`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from fcnseg.checks import nearest
from fcnseg.errors import UsageError
from fcnseg.settings import Size, flag_name, read_yaml, setting, typed

DATA = ("voc", "voc-aug", "coco", "camvid", "camvid32", "folder", "shapes")
"""Data sets that are known by name."""

AUGMENTATION = (
    *("crop_size", "short_side", "scale_min", "scale_max", "max_class_share"),
    *("flip", "rotate", "colour", "blur"),
)
"""The settings that decide what a training sample looks like."""


@dataclass(frozen=True)
class DataConfig:
    """Which data set; the same settings for train, eval and check."""

    data: str = setting(
        "voc",
        f"data set: {', '.join(DATA)}, or a Python file that reads your own format; without it, "
        "--images means folder and --annotations means coco",
    )
    data_root: str | None = setting(
        None, "folder of the data set; all but folder and shapes need it"
    )
    download: bool = setting(False, "voc, voc-aug: download what is missing into data_root")
    train_split: str | None = setting(
        None, "voc, voc-aug, camvid, coco: name of the list to train on (default train)"
    )
    val_split: str | None = setting(
        None,
        "the same: name of the list to validate on (default val); seg11valid is the 736 images of "
        "VOC that FCN scores are quoted on",
    )
    images: str | None = setting(None, "folder, coco: where the images are")
    masks: str | None = setting(None, "folder: where the masks are, one for each image")
    annotations: str | None = setting(None, "coco: JSON file, as labelling tools export it")
    classes: str | None = setting(
        None,
        "folder: class names in the order of their ids, a,b,c or a file with one on each line; for "
        "RGB masks a=#rrggbb,b=#rrggbb, or lines of a name and its colour, `road 128 64 128`; "
        "coco: all, voc (the 20 of PASCAL VOC), or names",
    )
    mask_encoding: str = setting(
        "auto",
        "folder: what the mask pixels are; binary255 means 0 and 255",
        choices=("auto", "index", "palette", "rgb", "binary255"),
    )
    mask_void: str | None = setting(
        None, "folder: what means void in masks beside 255: a value such as 11, or #rrggbb"
    )
    mask_suffix: str | None = setting(
        None, "folder: what mask names have behind those of images, such as _mask; found by itself"
    )
    val_images: str | None = setting(None, "folder, coco: images to validate on")
    val_masks: str | None = setting(None, "folder: masks to validate on")
    val_annotations: str | None = setting(None, "coco: JSON file to validate on")
    val_fraction: float | None = setting(
        None,
        "folder, annotations: share of the pairs kept for validation when no part is named for it; "
        "training takes 0.1 if it is not given, eval and check then use every pair",
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
    short_side: int | None = setting(
        None,
        "scale images to N pixels on their short side first, in training and wherever the network "
        "is used afterwards; for photographs much larger than the crops",
        at_least=16,
    )
    scale_min: float = setting(0.5, "smallest factor of the random scaling", above=0, at_most=10)
    scale_max: float = setting(2.0, "largest factor of the random scaling", above=0, at_most=10)
    max_class_share: float = setting(
        1.0,
        "training crops that one class fills by more than this share are drawn again",
        above=0,
        at_most=1,
    )
    flip: float = setting(0.5, "probability of the mirror image", at_least=0, at_most=1)
    rotate: float = setting(0.0, "largest random rotation in degrees", at_least=0, at_most=180)
    colour: float = setting(
        1.0,
        "strength of the random brightness, contrast, saturation and hue",
        at_least=0,
        at_most=1,
    )
    blur: float = setting(0.0, "probability of blurring", at_least=0, at_most=1)
    class_weights: str = setting(
        "none",
        "weights of the classes in the loss: none, auto (median frequency, from the masks), or a "
        "file with a name and its weight on each line",
    )
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
    cache: str | None = setting(
        None, "folder for decoded images and masks, built once, from which every epoch reads"
    )
    check_first: str = setting(
        "quick",
        "look at all masks and at the headers of all images before the first step",
        choices=("quick", "none"),
    )
    run: str | None = setting(None, "run folder (default runs/DATA-BACKBONE-VARIANT)")
    resume: bool = setting(False, "continue the run in the run folder at its last finished epoch")
    overwrite: bool = setting(False, "replace the run in the run folder")

    @property
    def crop(self) -> Size:
        """Size of the training crops, where none is given that of shapes or 480x480."""
        return self.crop_size or (self.image_size if self.data == "shapes" else Size(480, 480))

    @property
    def run_folder(self) -> Path:
        """The run folder, named after the data and the network where none is given."""
        data = Path(self.data).stem
        return Path(self.run or f"runs/{data}-{self.backbone}-{self.variant}")


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
    config = kind(**_with_data({**values, **chosen}))
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


def is_split_by_us(config: DataConfig) -> bool:
    """Whether the data come without a validation part, so that we keep some for it."""
    if config.data == "folder":
        return config.val_images is None
    return config.data == "coco" and bool(config.annotations) and not config.val_annotations


def _with_data(values: dict[str, Any]) -> dict[str, Any]:
    """The settings with the data set that the others imply, where none is named."""
    if "data" in values:
        return values
    if values.get("annotations"):
        return {**values, "data": "coco"}
    return {**values, "data": "folder"} if values.get("images") or values.get("masks") else values


def _data_contradictions(config: DataConfig) -> list[str]:
    data = config.data
    if data not in DATA and not data.endswith(".py"):
        listed = ", ".join(DATA)
        return [f"--data: expected {listed} or a file FILE.py, got {data!r}{nearest(data, DATA)}"]
    faults = []
    if data == "folder":
        missing = [flag_name(n) for n in ("images", "masks") if not getattr(config, n)]
        if missing:
            faults.append(f"--data folder: {' and '.join(missing)} missing; give both")
    if data == "coco" and bool(config.annotations) != bool(config.images):
        faults.append("--annotations, --images: one is missing; give both, or --data-root for COCO")
    split_by_us = is_split_by_us(config)
    needed_by = {
        ("images", "val_images"): (data in ("folder", "coco"), "--data folder or coco"),
        ("masks", "val_masks", "mask_suffix", "mask_void"): (data == "folder", "--data folder"),
        ("annotations", "val_annotations"): (data == "coco", "--data coco"),
        ("classes",): (data in ("folder", "coco"), "--data folder or coco"),
        ("val_fraction",): (split_by_us, "--images or --annotations without a part to validate on"),
        ("train_split", "val_split"): (
            data not in ("folder", "shapes") and not config.annotations,
            "a data set that has lists",
        ),
        ("download",): (data in ("voc", "voc-aug"), "--data voc or voc-aug"),
    }
    for names, (fits, need) in needed_by.items():
        given = [flag_name(name) for name in names if getattr(config, name)]
        if given and not fits:
            faults.append(f"{', '.join(given)}: needs {need}, got --data {data}")
    if data == "folder" and (config.val_images is None) != (config.val_masks is None):
        faults.append("--val-images, --val-masks: one is missing; give both or none")
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
