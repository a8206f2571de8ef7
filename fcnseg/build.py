"""From names and settings to objects: the one place where the parts meet."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from fcnseg.audit.first_look import first_look, read_class_weights
from fcnseg.backbones import build_backbone
from fcnseg.catalogue import describe
from fcnseg.checks import check_choice
from fcnseg.config import TrainConfig, validate
from fcnseg.data.loading import evaluation_loader, training_loader
from fcnseg.data.sample import Source
from fcnseg.devices import choose_device, choose_precision
from fcnseg.download import Progress
from fcnseg.engine.checkpoint import load_fitting, load_tensors, read_model
from fcnseg.engine.events import Evaluating, Notice, Observer, downloading, silent
from fcnseg.engine.train import Batches, Result, enter, fit_config, steps_in_epoch
from fcnseg.errors import UsageError, WeightsError
from fcnseg.heads import VARIANTS, Padding, SkipHead, UpsampleMode
from fcnseg.model import FCN, OUTPUT_STRIDES, ModelInfo
from fcnseg.palette import Colour, voc_palette
from fcnseg.preprocessing import Preprocessing
from fcnseg.sources import build_sources, scaled

if TYPE_CHECKING:
    from fcnseg.data.transforms import TrainingTransform


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
    short_side: int | None = None,
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
        short_side: what prediction and evaluation scale the short side of a photograph to, in
            pixels; None: they take it as it is.

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
        short_side=short_side,
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
    sources = build_sources(config, observer)
    class_weights = look_first(config, sources, observer)
    model = build_model(config, sources[0], observer)
    training, validation = prepared(config, sources, observer)
    batches = build_batches(config, training, validation, model)
    return fit_config(
        *(config, folder, model, batches, sources, device, precision),
        class_weights=class_weights,
        observer=observer,
    )


def look_first(
    config: TrainConfig, sources: tuple[Source, Source], observer: Observer = silent
) -> list[float] | None:
    """Stop at data that training would stop at later; return the weights of the classes.

    Raises :class:`DataError` with the first faults of the data.
    """
    balanced = config.class_weights == "auto"
    looked_at = sources if config.check_first == "quick" else sources[:1] if balanced else ()
    sizes = config.max_pixels, config.short_side
    reports = first_look(looked_at, config.workers, balanced, *sizes, observer)
    if config.class_weights == "none":
        return None
    training = sources[0]
    if not balanced:
        weights = read_class_weights(config.class_weights, training.classes)
    else:
        weights = reports[0].class_weights
    pairs = zip(training.classes, weights, strict=True)
    observer(Notice(f"class weights: {', '.join(f'{name} {w:.3g}' for name, w in pairs)}"))
    return weights


def prepared(
    config: TrainConfig, sources: tuple[Source, Source], observer: Observer = silent
) -> tuple[Source, Source]:
    """Training samples scaled, and both decoded into the cache, as the settings say.

    Raises :class:`UsageError` for samples that are no files, and :class:`EnvironmentFault` for a
    cache that cannot be written.
    """
    training, validation = scaled(sources[0], config.short_side), sources[1]
    if config.cache is None:
        return training, validation
    from fcnseg.data.cache import cached

    folder = Path(config.cache)

    def progress(done: int, total: int) -> None:
        observer(Evaluating(done, total, "checking and filling the cache"))

    made = [cached(s, folder, config.workers, progress) for s in (training, validation)]
    observer(Notice(f"{folder}: holds the decoded images and masks"))
    return made[0], made[1]


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
        short_side=config.short_side,
        progress=downloading(observer),
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
    fill = model.info.preprocessing.fill
    transform = training_transform(config, fill)
    return Batches(
        training=lambda epoch: training_loader(
            training, transform, config.batch_size, config.seed, epoch, config.workers, fill
        ),
        validation=lambda: evaluation_loader(validation, config.batch_size, config.workers),
        steps_per_epoch=steps_in_epoch(len(training), config.batch_size),
    )


def training_transform(config: TrainConfig, fill: Colour) -> "TrainingTransform":
    """The augmentation that the settings describe; ``fill`` is the colour beside the images."""
    from fcnseg.data.transforms import TrainingTransform

    return TrainingTransform(
        config.crop,
        scale=(config.scale_min, config.scale_max),
        flip=config.flip,
        rotate=config.rotate,
        colour=config.colour,
        blur=config.blur,
        max_class_share=config.max_class_share,
        fill=fill,
    )
