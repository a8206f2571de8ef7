"""What a run is made of: flat, frozen settings, read strictly from YAML and from flags.

Every setting is declared once, with its default, its help and its range; the flags, the YAML
keys, the help text and the checks all come from that declaration. Faults are collected and
reported together in one :class:`UsageError`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from fcnseg.data_config import DATA, DataConfig, is_split_by_us
from fcnseg.errors import UsageError
from fcnseg.recipes import default_lr, rate_fault, recipe_values
from fcnseg.run_config import RunConfig
from fcnseg.settings import Size, flag_name, read_yaml, setting, typed

__all__ = [
    "AUGMENTATION",
    "DATA",
    "DataConfig",
    "RunConfig",
    "Settings",
    "Size",
    "TrainConfig",
    "differences",
    "is_split_by_us",
    "load_config",
    "to_yaml",
    "validate",
]

AUGMENTATION = (
    *(
        "sampling",
        "native_size",
        "crop_size",
        "short_side",
        "scale_min",
        "scale_max",
        "max_class_share",
    ),
    *("flip", "rotate", "colour", "blur"),
)
"""The settings that decide what a training sample looks like."""


@dataclass(frozen=True)
class TrainConfig(RunConfig, DataConfig):
    """A training run of a segmentation network.

    ``others`` has settings by which files for another command are told.
    """

    others: ClassVar[dict[str, str]] = {"crop_share": "train-classifier"}
    recipe: str = setting(
        "modern",
        "paper: batch 1 of whole images, summed loss, constant rates, as published; it decides "
        "what no flag and no file says",
        choices=("modern", "paper"),
    )
    stages: str | None = setting(
        None, "variants trained one after the other, each from the last: 32s,16s,8s"
    )

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
    sampling: str = setting(
        "once",
        "once: each image once an epoch; replacement: as many draws, as in the paper",
        choices=("once", "replacement"),
    )
    native_size: bool = setting(
        False, "train on whole images as they are (after --short-side), in place of crops"
    )
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
    reduction: str = setting(
        "mean",
        "the loss of a step: mean over its labelled pixels, or their sum as published",
        choices=("mean", "sum"),
    )
    dice: float = setting(
        0.0,
        "weight of a Dice term, of each batch by itself, beside the cross-entropy",
        at_least=0,
        at_most=100,
    )
    class_weights: str = setting(
        "none",
        "weights of the classes in the loss: none, auto (median frequency, from the masks), or a "
        "file with a name and its weight on each line",
    )
    cache: str | None = setting(
        None, "folder for decoded images and masks, built once, from which every epoch reads"
    )
    check_first: str = setting(
        "quick",
        "look at all masks and at the headers of all images before the first step",
        choices=("quick", "none"),
    )

    @property
    def crop(self) -> Size | None:
        """Size of the training crops, None for whole images."""
        if self.native_size:
            return None
        return self.crop_size or (self.image_size if self.data == "shapes" else Size(480, 480))

    @property
    def rate(self) -> float:
        """The learning rate of the backbone."""
        return default_lr(self.recipe, self.variant) if self.lr is None else self.lr

    @property
    def run_folder(self) -> Path:
        """The run folder, named after the data and the network where none is given."""
        variant = "stages" if self.stages else self.variant
        return Path(self.run or f"runs/{Path(self.data).stem}-{self.backbone}-{variant}")

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The variants of :attr:`stages`, in order; none where it is not given."""
        return tuple(name.strip() for name in (self.stages or "").split(",") if name.strip())

    @classmethod
    def implied(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the settings that are ``given`` imply of those that are not."""
        names = ("recipe", "backbone", "variant")
        chosen = {item.name: given.get(item.name, item.default) for item in fields(cls)}
        try:
            recipe = recipe_values(*(str(chosen[name]) for name in names))
        except UsageError:
            recipe = {}  # a wrong name is reported with the other faults
        if "epochs" in given:
            recipe.pop("iterations", None)
        if given.get("crop_size") is not None:
            recipe.pop("native_size", None)
        return {**recipe, **super().implied(given)}

    def faults(self) -> list[str]:
        """What in the settings contradicts itself, a line each."""
        return DataConfig.faults(self) or RunConfig.faults(self) + _contradictions(self)


class Settings(Protocol):
    """A frozen dataclass of settings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @classmethod
    def implied(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the settings that are ``given`` imply of those that are not."""
        ...

    def faults(self) -> list[str]:
        """What in the settings contradicts itself, a line each."""
        ...


Config = TypeVar("Config", bound="Settings")


def load_config(kind: type[Config], file: str | Path | None, flags: Mapping[str, Any]) -> Config:
    """Settings from a YAML file and flags, which win over the file.

    ``flags`` maps names (``batch_size``) to text or values. Raises :class:`UsageError` with all
    faults of the file and the flags in one line.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    if file is not None:
        written = read_yaml(file)
        for name, command in getattr(kind, "others", {}).items():
            if name in written:
                raise UsageError(f"{file}: holds settings of fcnseg {command}; use that command")
        values, found = typed(kind, written, str)
        if found:
            faults.append(f"{file}: {'; '.join(found)}")
    chosen, found = typed(kind, flags, flag_name)
    faults += found
    if faults:
        raise UsageError("; ".join(faults))
    if {"epochs", "iterations"} <= chosen.keys():
        raise UsageError("--epochs, --iterations: exclude each other; give one of them")
    if "epochs" in chosen:
        values.pop("iterations", None)
    given = {**values, **chosen}
    config = kind(**{**kind.implied(given), **given})
    try:
        validate(config)
    except UsageError as error:
        raise UsageError(f"{file}: {error}" if file is not None else str(error)) from None
    return config


def validate(config: Settings) -> None:
    """Raise one :class:`UsageError` with every wrong value and every contradiction."""
    _, faults = typed(type(config), asdict(config), flag_name)
    faults = faults or config.faults()
    if faults:
        raise UsageError("; ".join(faults))


def to_yaml(config: Settings, comments: bool = False) -> str:
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


def differences(old: Settings, new: Settings, ignore: tuple[str, ...] = ()) -> list[str]:
    """Lines ``name: old -> new`` for the settings in which two configurations differ."""
    pairs = [(item.name, getattr(old, item.name), getattr(new, item.name)) for item in fields(old)]
    return [f"{name}: {a} -> {b}" for name, a, b in pairs if a != b and name not in ignore]


def _contradictions(config: TrainConfig) -> list[str]:
    faults = []
    if config.scale_min > config.scale_max:
        faults.append(
            f"--scale-min: {config.scale_min:g} is above --scale-max {config.scale_max:g}"
        )
    if config.init_from is not None and config.weights not in ("auto", "none"):
        faults.append("--init-from, --weights FILE: exclude each other; give one of them")
    random = config.weights == "none" and config.init_from is None
    if config.freeze == "backbone" and random and not config.resume:
        faults.append(
            "--freeze backbone, --weights none: the layers that it keeps would be random; give "
            "weights or --init-from"
        )
    if config.native_size and config.crop_size is not None:
        faults.append("--native-size, --crop-size: exclude each other; give one of them")
    known = next(item for item in fields(TrainConfig) if item.name == "variant")
    choices = known.metadata["choices"]
    if config.stages is not None:
        stages = config.stage_names
        if not stages or any(name not in choices for name in stages):
            listed = ", ".join(choices)
            faults.append(f"--stages: expected variants of {listed}, got {config.stages!r}")
        elif len(set(stages)) < len(stages):
            faults.append(f"--stages: {config.stages!r} names a variant twice; name each once")
        elif list(stages) != sorted(stages, key=choices.index):
            faults.append(f"--stages: {config.stages!r} goes back to a coarser one; give 32s first")
    for variant in config.stage_names or (config.variant,):
        if variant in choices:
            rate = config.lr or default_lr(config.recipe, variant)
            fault = rate_fault(rate, config.reduction, config.optimizer)
            faults += [fault] if fault and fault not in faults else []
    if config.reduction == "sum" and config.dice:
        faults.append("--dice: a mean, which does not go with --reduction sum; leave one out")
    return faults
