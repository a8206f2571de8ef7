"""From names and settings to objects: the one place where the parts meet."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from fcnseg.backbones import build_backbone
from fcnseg.catalogue import describe
from fcnseg.checks import check_choice
from fcnseg.config import Size, TrainConfig, validate
from fcnseg.data.loading import evaluation_loader, training_loader
from fcnseg.data.sample import Source
from fcnseg.devices import choose_device, choose_precision
from fcnseg.engine.checkpoint import load_fitting, load_tensors, read_model
from fcnseg.engine.events import Downloading, Notice, Observer, silent
from fcnseg.engine.train import Batches, Result, enter, fit_config, steps_in_epoch
from fcnseg.errors import UsageError, WeightsError
from fcnseg.heads import VARIANTS, Padding, SkipHead, UpsampleMode
from fcnseg.model import FCN, OUTPUT_STRIDES, ModelInfo
from fcnseg.palette import voc_palette
from fcnseg.preprocessing import Preprocessing
from fcnseg.sources import build_sources
from fcnseg.weights.download import Progress

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
    preprocessing: Preprocessing | None = None,
    progress: Progress | None = None,
    output_stride: int = 32,
) -> FCN:
    """An FCN, ready to train: (N, 3, H, W) preprocessed -> (N, num_classes, H, W) scores.

    Args:
        backbone: a name that ``fcnseg models`` lists.
        variant: ``"32s"``, ``"16s"``, ``"8s"`` or ``"8s-atonce"``.
        num_classes: score maps K, background included.
        weights: of the classifier: ``"auto"``, ``"none"`` or a file.
        padding: ``"same"`` or ``"paper"``.
        upsample: ``"learned"``, ``"fixed"`` or ``"dense"``.
        classes: K names; numbered ones if None.
        palette: K colours, 8-bit RGB; PASCAL VOC's if None.
        preprocessing: what the network expects of images; what its classifier does if None.
        progress: called with (bytes done, bytes in all or None) while weights are downloaded.
        output_stride: the coarsest stride left in the backbone, 32, 16 or 8: what went further is
            dilated, for finer score maps at more memory and time.

    Raises:
        UsageError: a name, a variant or a count that does not fit.
        WeightsError: the weights cannot be had or do not fit.
    """
    check_choice("--variant", variant, list(VARIANTS))
    check_choice("--output-stride", output_stride, OUTPUT_STRIDES)
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
        preprocessing=preprocessing or describe(backbone).preprocessing,
        output_stride=output_stride,
    )
    return _assemble(info, weights, progress)


def load(path: str | Path) -> FCN:
    """A trained FCN from a checkpoint, in evaluation mode, on the CPU; needs no network.

    Raises:
        WeightsError: the file is missing, damaged or not one of ours.
    """
    described, tensors = read_model(path)
    try:
        info = ModelInfo.from_dict(described)
        # Shapes first: numbers that are replaced at once need not be drawn.
        with torch.device("meta"):
            model = _assemble(info, "none")
        stored = set(model.state_dict())
        if all(name in stored for name, _ in model.named_buffers()):
            model.to_empty(device="cpu")
        else:  # what no file stores, such as the filter of a blur pool, only building can give
            model = _assemble(info, "none")
    except UsageError as error:
        raise WeightsError(f"{path}: {error}; it was written by another version") from error
    load_tensors(path, model, tensors)
    return model.eval()


def _assemble(info: ModelInfo, weights: str, progress: Progress | None = None) -> FCN:
    strides = VARIANTS[info.variant].strides
    backbone = build_backbone(
        info.backbone, weights, info.padding, strides, progress, info.output_stride
    )
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
    folder = enter(config)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    training, validation = build_sources(config)
    model = build_model(config, training, observer)
    batches = build_batches(config, training, validation, model)
    sources = training, validation
    return fit_config(config, folder, model, batches, sources, device, precision, observer)


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
        output_stride=config.output_stride,
        progress=lambda done, total: observer(Downloading(done, total)),
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
