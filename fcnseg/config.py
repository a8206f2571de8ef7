"""What a run is made of: flat, frozen settings, read strictly from YAML and from flags.

Every setting is declared once, with its default, its help and its range; the flags, the YAML
keys, the help text and the checks all come from that declaration. Faults are collected and
reported together in one :class:`UsageError`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from fcnseg.checks import nearest
from fcnseg.errors import UsageError


class Size(NamedTuple):
    """Height and width in pixels, written ``HEIGHTxWIDTH``."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def setting(default: Any, help: str, **limits: Any) -> Any:
    """Declare a field. Limits: ``choices``, ``above``, ``at_least``, ``below``, ``at_most``."""
    return field(default=default, metadata={"help": help, **limits})


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


def flag_name(name: str) -> str:
    """The flag of a setting: ``batch_size`` -> ``--batch-size``."""
    return "--" + name.replace("_", "-")


def load_config(kind: type[Config], file: str | Path | None, flags: Mapping[str, Any]) -> Config:
    """Settings from a YAML file and flags, which win over the file.

    ``flags`` maps names (``batch_size``) to text or values. Raises :class:`UsageError` with all
    faults of the file and the flags in one line.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    if file is not None:
        values, found = _typed(kind, _read_yaml(file), str)
        if found:
            faults.append(f"{file}: {'; '.join(found)}")
    typed, found = _typed(kind, flags, flag_name)
    faults += found
    if faults:
        raise UsageError("; ".join(faults))
    config = kind(**{**values, **typed})
    try:
        validate(config)
    except UsageError as error:
        raise UsageError(f"{file}: {error}" if file is not None else str(error)) from None
    return config


def validate(config: DataConfig) -> None:
    """Raise one :class:`UsageError` with every wrong value and every contradiction."""
    _, faults = _typed(type(config), asdict(config), flag_name)
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
    if config.padding == "paper" and not config.backbone.startswith(("vgg", "alexnet")):
        faults.append(f"--padding paper: only for vgg* and alexnet, not {config.backbone}")
    if config.scale_min > config.scale_max:
        faults.append(
            f"--scale-min: {config.scale_min:g} is above --scale-max {config.scale_max:g}"
        )
    if config.init_from is not None and config.weights not in ("auto", "none"):
        faults.append("--init-from, --weights FILE: exclude each other; give one of them")
    return faults


def _read_yaml(file: str | Path) -> dict[str, Any]:
    import yaml

    try:
        text = Path(file).read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"{file}: {reason}; give a YAML file of settings") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{file}: expected lines `name: value`, got {type(content).__name__}")
    return content


def _typed(
    kind: type[DataConfig], given: Mapping[Any, Any], label: Callable[[str], str]
) -> tuple[dict[str, Any], list[str]]:
    """The known settings of ``given`` in their types, and what is wrong with the others."""
    known = {item.name: item for item in fields(kind)}
    values: dict[str, Any] = {}
    faults = []
    for name, raw in given.items():
        if name not in known:
            hint = nearest(name, known) if isinstance(name, str) else ""
            faults.append(f"{label(str(name))}: no such setting{hint}")
            continue
        item = known[name]
        try:
            value = _convert(item.type, item.default, raw)
            _check_limits(value, item.metadata)
        except ValueError as error:
            faults.append(f"{label(name)}: {error}")
        else:
            values[name] = value
    return values, faults


def _convert(declared: Any, default: Any, raw: Any) -> Any:
    if raw is None:
        if default is None:
            return None
        raise ValueError(f"expected a value, got nothing (default {default})")
    types = get_args(declared) or (declared,)
    if Size in types:
        return _size(raw)
    if bool in types:
        if isinstance(raw, bool):
            return raw
        raise ValueError(f"expected true or false, got {raw!r}")
    if int in types:
        return _number(int, "a whole number", raw)
    if float in types:
        return _number(float, "a number", raw)
    if isinstance(raw, list) and raw and all(isinstance(part, str) for part in raw):
        return ",".join(raw)
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"expected text, got {raw!r}")
    return raw


def _number(kind: Callable[[Any], Any], expected: str, raw: Any) -> Any:
    # YAML 1.1 reads 1e-3 as text, so text that is a number counts as one.
    whole = isinstance(raw, float) and kind is int
    if not isinstance(raw, (int, float, str)) or isinstance(raw, bool) or whole:
        raise ValueError(f"expected {expected}, got {raw!r}")
    try:
        value = kind(raw)
    except (ValueError, OverflowError):
        raise ValueError(f"expected {expected}, got {raw!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {raw!r}")
    return value


def _size(raw: Any) -> Size:
    parts = raw.lower().split("x") if isinstance(raw, str) else raw
    parts = [parts] if isinstance(parts, int) else parts
    try:
        if isinstance(parts, (list, tuple)) and len(parts) in (1, 2):
            numbers = [_number(int, "", part) for part in parts]
            return Size(numbers[0], numbers[-1])
    except ValueError:
        pass
    raise ValueError(f"expected HEIGHTxWIDTH in pixels such as 320x416, got {raw!r}")


def _check_limits(value: Any, limits: Mapping[str, Any]) -> None:
    choices = limits.get("choices")
    if choices and value not in choices:
        hint = nearest(value, choices)
        raise ValueError(f"expected one of {', '.join(choices)}, got {value!r}{hint}")
    numbers = value if isinstance(value, Size) else (value,)
    comparisons: dict[str, Callable[[Any, Any], bool]] = {
        "above": lambda x, limit: x > limit,
        "at_least": lambda x, limit: x >= limit,
        "below": lambda x, limit: x < limit,
        "at_most": lambda x, limit: x <= limit,
    }
    for key, holds in comparisons.items():
        if key in limits and value is not None and not all(holds(x, limits[key]) for x in numbers):
            wanted = f"{key.replace('_', ' ')} {limits[key]}"
            raise ValueError(f"expected a value {wanted}, got {value}")
