"""From names and settings to objects: the one place where the parts meet."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from fcnseg.backbones import build_backbone, describe
from fcnseg.checks import check_choice
from fcnseg.config import DataConfig, Size, TrainConfig, validate
from fcnseg.data.loading import evaluation_loader, training_loader
from fcnseg.data.sample import Colour, Source
from fcnseg.devices import choose_device, choose_precision
from fcnseg.engine.checkpoint import load_fitting, load_tensors, read_model
from fcnseg.engine.events import Notice, Observer, silent
from fcnseg.engine.run import RunFolder
from fcnseg.engine.train import Batches, Result, fit_config, steps_in_epoch
from fcnseg.errors import UsageError, WeightsError
from fcnseg.heads import VARIANTS, Padding, SkipHead, UpsampleMode
from fcnseg.model import FCN, ModelInfo
from fcnseg.palette import voc_palette

_CROP = Size(480, 480)


def build_fcn(
    backbone: str,
    variant: str,
    num_classes: int,
    weights: str = "none",
    padding: Padding = "same",
    upsample: UpsampleMode = "learned",
    classes: Sequence[str] | None = None,
    palette: Sequence[tuple[int, int, int]] | None = None,
) -> FCN:
    """An FCN, ready to train: (N, 3, H, W) preprocessed -> (N, num_classes, H, W) scores.

    Args:
        backbone: a name that ``fcnseg models`` lists.
        variant: ``"32s"``, ``"16s"``, ``"8s"`` or ``"8s-atonce"``.
        num_classes: score maps K, background included.
        weights: of the classifier: ``"auto"``, ``"none"`` or a file.
        padding: ``"same"`` or ``"paper"``.
        upsample: ``"learned"`` or ``"fixed"``.
        classes: K names; numbered ones if None.
        palette: K colours, 8-bit RGB; PASCAL VOC's if None.

    Raises:
        UsageError: a name, a variant or a count that does not fit.
        WeightsError: the weights cannot be had or do not fit.
    """
    check_choice("--variant", variant, list(VARIANTS))
    if num_classes < 1 or num_classes > 255:
        raise UsageError(f"num_classes: expected 1 to 255 (255 is void), got {num_classes}")
    names = tuple(classes or (f"class {i}" for i in range(num_classes)))
    colours = tuple(palette or voc_palette(num_classes))
    if not len(names) == len(colours) == num_classes:
        raise UsageError(
            f"num_classes is {num_classes}, but there are {len(names)} class names and "
            f"{len(colours)} colours; they must be as many"
        )
    info = ModelInfo(
        backbone=backbone,
        variant=variant,
        padding=padding,
        upsample=upsample,
        classes=names,
        palette=colours,
        preprocessing=describe(backbone).preprocessing,
    )
    return _assemble(info, weights)


def load(path: str | Path) -> FCN:
    """A trained FCN from a checkpoint, in evaluation mode, on the CPU; needs no network.

    Raises:
        WeightsError: the file is missing, damaged or not one of ours.
    """
    described, tensors = read_model(path)
    try:
        info = ModelInfo.from_dict(described)
    except UsageError as error:
        raise WeightsError(f"{path}: {error}; it was written by another version") from error
    model = _assemble(info, "none")
    load_tensors(path, model, tensors)
    return model.eval()


def _assemble(info: ModelInfo, weights: str) -> FCN:
    strides = VARIANTS[info.variant].strides
    backbone = build_backbone(info.backbone, weights, info.padding, strides)
    head = SkipHead(
        backbone.taps,
        backbone.channels,
        info.num_classes,
        info.variant,
        info.upsample,
        info.padding,
    )
    return FCN(backbone, head, info)


def train(config: TrainConfig, observer: Observer = silent) -> Result:
    """Train as ``config`` says; everything from the checks to the last file written.

    Raises the errors of the parts, before the first step where possible: a run folder in use or
    contradicting settings, missing data, missing weights, a device that is not there.
    """
    validate(config)
    RunFolder(config.run_folder).check(config.resume, config.overwrite)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    training, validation = build_sources(config)
    model = build_model(config, training, observer)
    batches = build_batches(config, training, validation, model)
    return fit_config(config, model, batches, training, validation, device, precision, observer)


def build_sources(config: DataConfig) -> tuple[Source, Source]:
    """The training and the validation images."""
    if config.data == "folder":
        return _folder_sources(config)
    return _source(config, "train"), _source(config, "val")


def build_evaluation_source(config: DataConfig) -> Source:
    """The validation images; every pair of a folder that has no validation part of its own."""
    if config.data != "folder":
        return _source(config, "val")
    if config.val_images or config.val_fraction is not None:
        return _folder_sources(config)[1]
    return _folder(config, config.images, config.masks, "folder")


def build_check_sources(config: DataConfig) -> tuple[Source, ...]:
    """Every part of the data set: (training, validation), or all pairs of a folder at once."""
    if config.data == "folder" and not config.val_images:
        return (_folder(config, config.images, config.masks, "folder"),)
    return build_sources(config)


def build_model(config: TrainConfig, source: Source, observer: Observer = silent) -> FCN:
    """The network for the classes of ``source``, its new layers drawn from the seed."""
    torch.manual_seed(config.seed)
    # what is loaded over needs no weights of its own
    replaced = config.resume or config.init_from is not None
    model = build_fcn(
        config.backbone,
        config.variant,
        len(source.classes),
        weights="none" if replaced else config.weights,
        padding=cast(Padding, config.padding),
        upsample=cast(UpsampleMode, config.upsample),
        classes=source.classes,
        palette=source.palette,
    )
    if config.init_from is not None and not config.resume:
        taken, kept = load_fitting(config.init_from, model)
        text = f"{config.init_from}: {taken} tensors taken over"
        observer(
            Notice(f"{text}, {len(kept)} start fresh ({', '.join(kept[:6])})" if kept else text)
        )
    return model


def build_batches(config: TrainConfig, training: Source, validation: Source, model: FCN) -> Batches:
    """Augmented training batches and validation batches of whole images."""
    from fcnseg.data.transforms import TrainingTransform

    fill = model.info.preprocessing.fill
    crop = config.crop_size or (config.image_size if config.data == "shapes" else _CROP)
    scale = (config.scale_min, config.scale_max)
    transform = TrainingTransform(crop, scale=scale, fill=fill)
    return Batches(
        training=lambda epoch: training_loader(
            training, transform, config.batch_size, config.seed, epoch, config.workers, fill
        ),
        validation=lambda: evaluation_loader(validation, config.batch_size, config.workers),
        steps_per_epoch=steps_in_epoch(len(training), config.batch_size),
    )


def read_classes(text: str) -> tuple[tuple[str, ...], tuple[Colour, ...] | None]:
    """Class names from ``a,b,c``, or names and perhaps colours from a file.

    A file has one name on each line, or on every line a name and its colour in RGB masks:
    ``road 128 64 128``. Raises :class:`UsageError` if only some lines have a colour.
    """
    path = Path(text)
    if not path.is_file():
        if "," not in text:
            raise UsageError(f"--classes {text}: no such file, and not a list a,b,c")
        return tuple(name.strip() for name in text.split(",")), None
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    found = [re.fullmatch(r"(.*\S)\s+(\d+)[\s,]+(\d+)[\s,]+(\d+)", line) for line in lines]
    coloured = [match for match in found if match]
    if not coloured:
        return tuple(lines), None
    if len(coloured) < len(lines):
        raise UsageError(f"{path}: some lines have a colour and some have none; give all or none")
    names = tuple(match[1] for match in coloured)
    return names, tuple((int(m[2]), int(m[3]), int(m[4])) for m in coloured)


def _source(config: DataConfig, split: str) -> Source:
    if config.data == "camvid":
        from fcnseg.data.camvid import CamVid

        return CamVid(config.data_root, split)
    if config.data == "shapes":
        from fcnseg.data.shapes import Shapes

        length = config.train_length if split == "train" else config.val_length
        return Shapes(split, length, config.image_size, config.seed)
    from fcnseg.data.voc import Voc

    return Voc(config.data_root, split)


def _folder_sources(config: DataConfig) -> tuple[Source, Source]:
    from fcnseg.data.subset import split

    everything = _folder(config, config.images, config.masks, "folder")
    if config.val_images:
        return everything, _folder(config, config.val_images, config.val_masks, "folder/val")
    return split(everything, config.val_fraction or 0.1, config.seed)


def _folder(config: DataConfig, images: str | None, masks: str | None, name: str) -> Source:
    from fcnseg.data.folder import FolderPairs

    if images is None or masks is None or config.classes is None:
        raise UsageError("--data folder: needs --images, --masks and --classes")
    classes, palette = read_classes(config.classes)
    return FolderPairs(images, masks, classes, config.mask_encoding, palette=palette, name=name)
