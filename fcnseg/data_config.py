"""Which data set: the settings that training, evaluation and the check share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fcnseg.checks import nearest
from fcnseg.settings import Size, flag_name, seed_setting, setting

DATA = ("voc", "voc-aug", "coco", "camvid", "camvid32", "folder", "shapes")
"""Data sets that are known by name."""


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
    seed: int = seed_setting()

    @classmethod
    def implied(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the settings that are ``given`` imply of those that are not."""
        return _implied_data(given)

    def faults(self) -> list[str]:
        """What in the settings contradicts itself, a line each."""
        return _contradictions(self)


def is_split_by_us(config: DataConfig) -> bool:
    """Whether the data come without a validation part, so that we keep some for it."""
    if config.data == "folder":
        return config.val_images is None
    return config.data == "coco" and bool(config.annotations) and not config.val_annotations


def _implied_data(given: Mapping[str, Any]) -> dict[str, Any]:
    """The data set that other settings are for, where none is named."""
    if "data" in given:
        return {}
    if given.get("annotations"):
        return {"data": "coco"}
    return {"data": "folder"} if given.get("images") or given.get("masks") else {}


def _contradictions(config: DataConfig) -> list[str]:
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
