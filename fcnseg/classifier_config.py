"""The settings of training a classifier on folders of images, one folder a class."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fcnseg.run_config import RunConfig
from fcnseg.settings import setting

# Learning rate and the head's multiple of it: (from scratch, from pretrained weights).
_RATES = {"adamw": ((3e-3, 1.0), (1e-4, 10.0)), "sgd": ((5e-2, 1.0), (2e-3, 10.0))}
_SCRATCH = "small_cnn"


@dataclass(frozen=True)
class ClassifierConfig(RunConfig):
    """A training run of a classifier.

    ``others`` has settings by which files for another command are told.
    """

    others: ClassVar[dict[str, str]] = {"variant": "train"}
    data_root: str | None = setting(
        None,
        "folder with a folder of images for each class, or with such folders in train/ and val/ or "
        "test/",
    )
    val_fraction: float | None = setting(
        None,
        "share of the images of each class that is kept for testing, where the folder has no part "
        "for it (default 0.2)",
        above=0,
        below=1,
    )
    max_pixels: int = setting(
        250_000_000, "images of more pixels are refused before decoding", at_least=1
    )
    check_first: str = setting(
        "all", "all: decode every image before the first step", choices=("all", "none")
    )
    backbone: str = setting("small_cnn", "network to train; `fcnseg models` lists them")
    weights: str = setting(
        "auto",
        "weights of all layers but the last: auto (of ImageNet, small_cnn: none), none or a file",
    )
    image_size: int | None = setting(
        None, "side of the training images in pixels (default the network's own)", at_least=32
    )
    crop_share: float = setting(
        0.5, "smallest share of an image that a training view shows", above=0, at_most=1
    )
    flip: float = setting(0.5, "probability of the mirror image", at_least=0, at_most=1)
    colour: float = setting(
        1.0,
        "strength of the random brightness, contrast, saturation and hue",
        at_least=0,
        at_most=1,
    )
    epochs: int = setting(15, "passes over the training images", at_least=1)
    batch_size: int = setting(16, "images in a training batch, of each process", at_least=1)
    lr: float | None = setting(
        None,
        "learning rate of all layers but the last, after warm-up (default 1e-4, from scratch 3e-3; "
        "with sgd 2e-3 and 5e-2)",
        above=0,
        at_most=10,
    )
    head_lr_factor: float = setting(
        10.0,
        "learning rate of the last layer, as a multiple of lr (from scratch 1)",
        above=0,
        at_most=1000,
    )
    freeze: str = setting(
        "none", "backbone: train the last layer only", choices=("none", "backbone")
    )
    run: str | None = setting(None, "run folder (default runs/DATA-BACKBONE)")

    @property
    def from_scratch(self) -> bool:
        """Whether no layer has weights to begin with."""
        return _is_from_scratch(self.weights, self.backbone)

    @property
    def rate(self) -> float:
        """The learning rate of all layers but the last."""
        return (
            _RATES[self.optimizer][0 if self.from_scratch else 1][0] if self.lr is None else self.lr
        )

    @property
    def run_folder(self) -> Path:
        """The run folder, named after the data and the network where none is given."""
        data = Path(self.data_root or "classes").resolve().name or "classes"
        return Path(self.run or f"runs/{data}-{self.backbone.replace('/', '-')}")

    @classmethod
    def implied(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the settings that are ``given`` imply of those that are not."""
        weights, backbone = given.get("weights", "auto"), given.get("backbone", _SCRATCH)
        return {"head_lr_factor": 1.0} if _is_from_scratch(weights, backbone) else {}

    def faults(self) -> list[str]:
        """What in the settings contradicts itself, a line each."""
        found = super().faults()
        if not self.data_root:
            found.append("--data-root: missing; give a folder with a folder of images a class")
        if self.freeze == "backbone" and self.from_scratch:
            found.append(
                "--freeze backbone: the layers that it keeps would be random; give --weights auto "
                "with a pretrained --backbone, or a file"
            )
        return found


def _is_from_scratch(weights: Any, backbone: Any) -> bool:
    return bool(weights == "none" or (weights == "auto" and backbone == _SCRATCH))
