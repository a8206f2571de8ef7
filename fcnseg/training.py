"""A training from its settings to its last file: the one place where all parts meet."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from fcnseg.audit.first_look import first_look, read_class_weights
from fcnseg.build import build_fcn
from fcnseg.class_list import inline
from fcnseg.config import TrainConfig, validate
from fcnseg.data.loading import evaluation_loader, training_loader
from fcnseg.data.order import batches_in_epoch, evaluation_share
from fcnseg.data.sample import Source
from fcnseg.data.subset import Subset
from fcnseg.engine.checkpoint import load_fitting
from fcnseg.engine.command import command_line, resuming
from fcnseg.engine.continuity import describe_data, describe_machine
from fcnseg.engine.events import Evaluating, Notice, Observer, downloading, silent
from fcnseg.engine.interrupt import Interruption
from fcnseg.engine.segmentation import PixelLoss, Segmentation
from fcnseg.engine.start import Entered, Result, build_learner, entered, fit_config
from fcnseg.engine.train import Batches
from fcnseg.engine.world import World
from fcnseg.heads import Padding, UpsampleMode
from fcnseg.model import FCN
from fcnseg.palette import Colour
from fcnseg.sources import build_sources, scaled

if TYPE_CHECKING:
    from fcnseg.data.transforms import TrainingTransform


def train(
    config: TrainConfig,
    observer: Observer = silent,
    stop: Interruption | None = None,
    *,
    resumed_by: str = "",
) -> Result:
    """Train as ``config`` says; everything from the checks to the last file written.

    Under ``torchrun`` this process trains with the others; only the first of them writes and
    tells the observer. Of ``config.stages`` the variant alone is trained: see
    :func:`fcnseg.stages.train_all`. ``resumed_by`` is the command that an interrupted training
    names for going on, where it is not ``fcnseg train`` with this run folder.

    Raises the errors of the parts, before the first step where possible: a run folder in use or
    contradicting settings, missing data, missing weights, a device that is not there; and
    :class:`~fcnseg.errors.Interrupted` after a signal that ``stop`` heard.
    """
    validate(config)
    with entered(config, observer) as run:
        world, precision, observer = run.world, run.precision, run.observer
        with world.first():
            sources = build_sources(config, observer)
            weights = look_first(config, sources, observer) if world.is_first else None
        weights = world.share(weights)
        with world.first():
            model = build_model(config, sources[0], observer)
            training, validation = prepared(config, sources, observer)
        learner = build_learner(config, model, model.head, world.device, precision, world)
        batches = build_batches(config, training, validation, model, world)
        lengths = len(training), len(validation)
        found = {"lr": config.rate, "classes": inline(config.classes), "pairs": sum(lengths)}
        settings = {**asdict(config), **found}
        task = build_task(config, run, model, validation, weights, settings)
        each_step = config.batch_size * config.accumulate * world.size
        return fit_config(
            *(config, run.folder, learner, task, batches),
            data=describe_data(sources, weights, each_step),
            machine=describe_machine(world.device, precision, world.size),
            settings=settings,
            command=resumed_by or resuming("fcnseg train", run.folder.path, world.size),
            stop=stop,
            observer=observer,
        )


def build_task(
    config: TrainConfig,
    run: Entered,
    model: FCN,
    validation: Source,
    class_weights: list[float] | None,
    settings: Mapping[str, Any],
) -> Segmentation:
    """What the network is trained for; ``settings`` are those that the report shows."""
    world = run.world
    share = evaluation_share(len(validation), config.batch_size, world.rank, world.size)
    own = Subset(validation, share, validation.name)
    weights = None if class_weights is None else torch.tensor(class_weights)
    return Segmentation(
        preprocessing=model.info.preprocessing,
        validation=validation,
        batches=lambda: evaluation_loader(own, config.batch_size, config.workers) if share else (),
        folder=run.folder,
        device=world.device,
        precision=run.precision,
        pixel_loss=PixelLoss(config.reduction, weights, config.dice),
        world=world,
        settings=settings,
        title=f"FCN-{config.variant} of {config.backbone} on {config.data}",
        command=command_line("fcnseg train", config, world.size),
        observer=run.observer,
    )


def look_first(
    config: TrainConfig, sources: tuple[Source, Source], observer: Observer = silent
) -> list[float] | None:
    """Stop at data that training would stop at later; return the weights of the classes.

    A resumed training has looked already, and only counts again what its weights come from.

    Raises :class:`DataError` with the first faults of the data.
    """
    balanced = config.class_weights == "auto"
    quick = config.check_first == "quick" and not config.resume
    looked_at = sources if quick else sources[:1] if balanced else ()
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
    staged = config.recipe == "paper" and config.variant in ("16s", "8s")
    if staged and not replaced:
        text = f"--recipe paper: FCN-{config.variant} starts from the stage before it, from the "
        text += "classifier alone its rate learns next to nothing; give --stages 32s,16s,8s, or "
        observer(Notice(f"{text}--init-from the checkpoint of that stage", warning=True))
    if config.init_from is not None and not config.resume:
        taken, kept = load_fitting(config.init_from, model)
        text = f"{config.init_from}: {taken} tensors taken over"
        observer(
            Notice(f"{text}, {len(kept)} start fresh ({', '.join(kept[:6])})" if kept else text)
        )
    return model


def build_batches(
    config: TrainConfig,
    training: Source,
    validation: Source,
    model: FCN,
    world: World | None = None,
) -> Batches:
    """Augmented training batches, this process's share of them."""
    world = world or World()
    fill = model.info.preprocessing.fill
    transform = training_transform(config, fill)
    return Batches(
        training=lambda epoch, first: training_loader(
            *(training, transform, config.batch_size, config.seed, epoch, config.workers, fill),
            first_batch=first,
            rank=world.rank,
            world_size=world.size,
            sampling=config.sampling,
        ),
        per_epoch=batches_in_epoch(len(training), config.batch_size, world.size),
        images=(len(training), len(validation)),
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
