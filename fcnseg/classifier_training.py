"""Training a classifier, from its settings to its last file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fcnseg.audit.copies import copied_files
from fcnseg.classifier_config import ClassifierConfig
from fcnseg.config import validate
from fcnseg.convolutionalize import convolutionalize
from fcnseg.data.class_batches import ClassBatches, check_images
from fcnseg.data.class_parts import ClassSource, ClassSubset, class_parts
from fcnseg.data.class_views import RandomView
from fcnseg.data.faults import first_names
from fcnseg.data.order import batches_in_epoch, epoch_batches
from fcnseg.engine.classification import Classification, Picture
from fcnseg.engine.command import command_line, resuming
from fcnseg.engine.continuity import describe_data, describe_machine
from fcnseg.engine.events import Evaluating, Notice, Observer, downloading, silent
from fcnseg.engine.interrupt import Interruption
from fcnseg.engine.start import Entered, Result, build_learner, entered, fit_config
from fcnseg.engine.train import Batches
from fcnseg.engine.world import World
from fcnseg.inference.heatmap import classifier_maps
from fcnseg.own_classifier import CentreView, OwnClassifier, build_own_classifier, without_ends
from fcnseg.preprocessing import Preprocessing
from fcnseg.render.heatmap import heatmap

_MARGIN = 1.5  # how much larger than a view the part of the image is that it shows


def train_classifier(
    config: ClassifierConfig, observer: Observer = silent, stop: Interruption | None = None
) -> Result:
    """Train as ``config`` says; everything from the checks to the last file written.

    Under ``torchrun`` this process trains with the others, as in :func:`fcnseg.training.train`.

    Raises the errors of the parts, before the first step where possible: a run folder in use or
    contradicting settings, missing or damaged images, missing weights, a device that is not
    there; and :class:`~fcnseg.errors.Interrupted` after a signal that ``stop`` heard.
    """
    validate(config)
    with entered(config, observer) as run:
        world, observer = run.world, run.observer
        training, testing = build_parts(config, world, observer)
        with world.first():
            model = build_model(config, training.classes, observer)
        preprocessing = model.info.preprocessing
        # A large photograph is decoded at a fraction; views of it are scaled down all the same.
        side = preprocessing.native_size * _MARGIN / math.sqrt(config.crop_share)
        training = training.scaled(math.ceil(side))
        learner = build_learner(config, model, model.head, world.device, run.precision, world)
        settings = {**asdict(config), "lr": config.rate, "images": len(training) + len(testing)}
        each_step = config.batch_size * config.accumulate * world.size
        return fit_config(
            *(config, run.folder, learner),
            build_task(config, run, preprocessing, (training, testing), settings),
            build_batches(config, training, len(testing), preprocessing, world),
            data=describe_data((training, testing), None, each_step),
            machine=describe_machine(world.device, run.precision, world.size),
            settings=settings,
            command=resuming("fcnseg train-classifier", run.folder.path, world.size),
            stop=stop,
            observer=observer,
        )


def build_task(
    config: ClassifierConfig,
    run: Entered,
    preprocessing: Preprocessing,
    parts: tuple[ClassSource, ClassSource],
    settings: Mapping[str, Any],
) -> Classification:
    """What the network is trained for; ``settings`` are those that the report shows."""
    device = run.world.device
    return Classification(
        view=CentreView(preprocessing),
        training=parts[0],
        testing=parts[1],
        folder=run.folder,
        pictures=lambda net: pictures(net, str(device)),
        device=device,
        precision=run.precision,
        batch_size=config.batch_size,
        workers=config.workers,
        world=run.world,
        settings=settings,
        title=f"{config.backbone} on {Path(str(config.data_root)).resolve().name}",
        command=command_line("fcnseg train-classifier", config, run.world.size),
        observer=run.observer,
    )


def build_parts(
    config: ClassifierConfig, world: World | None = None, observer: Observer = silent
) -> tuple[ClassSource, ClassSource]:
    """The images to train on and those to test on, each decoded once if the settings say so.

    Raises :class:`DataError` with the first faults.
    """
    world = world or World()
    *parts, notes = class_parts(
        str(config.data_root), config.val_fraction, config.seed, config.max_pixels
    )
    training, testing = parts
    for note in notes:
        observer(Notice(note))
    copies = copied_files(training, testing) if world.is_first else []
    if copies:
        named = first_names([f"{theirs} of {mine}" for mine, theirs in copies])
        text = f"{testing.name}: {len(copies)} images are copies of training images: {named}; "
        observer(Notice(f"{text}what is recognised there was learned by heart", warning=True))
    if config.check_first == "all" and not config.resume:
        shares = [ClassSubset(s, range(world.rank, len(s), world.size), s.name) for s in parts]
        check_images(
            shares,
            config.workers,
            lambda done, total: observer(Evaluating(done, total, "looking at")),
        )
    return training, testing


def build_model(
    config: ClassifierConfig, classes: tuple[str, ...], observer: Observer = silent
) -> OwnClassifier:
    """The network for ``classes``, what is new in it drawn from the seed."""
    torch.manual_seed(config.seed)
    # what is loaded over needs no weights of its own
    weights = "none" if config.resume else config.weights
    return build_own_classifier(
        config.backbone, classes, weights, config.image_size, downloading(observer)
    )


def build_batches(
    config: ClassifierConfig,
    training: ClassSource,
    tested: int,
    preprocessing: Preprocessing,
    world: World | None = None,
) -> Batches:
    """Batches of random views, this process's share of them; ``tested`` counts test images."""
    world = world or World()
    view = RandomView(
        preprocessing.native_size, config.crop_share, flip=config.flip, colour=config.colour
    )
    how = len(training), config.batch_size, config.seed

    def batches(epoch: int, first: int) -> ClassBatches:
        own = epoch_batches(*how, epoch, world.rank, world.size)[first:]
        return ClassBatches(training, view, own, config.seed, epoch, config.workers)

    return Batches(
        training=batches,
        per_epoch=batches_in_epoch(len(training), config.batch_size, world.size),
        images=(len(training), tested),
    )


def pictures(model: OwnClassifier, device: str) -> Picture:
    """What draws an image and where ``model``, as it is now, sees classes in it."""
    preprocessing, classes = model.info.preprocessing, model.info.classes
    net = convolutionalize(model.net, preprocessing.native_size)

    def picture(image: np.ndarray, ids: Sequence[int]) -> np.ndarray:
        image = without_ends(image)
        maps = classifier_maps(net, preprocessing, classes, image, device=device)
        return heatmap(
            image,
            maps.probabilities(ids, image.shape[:2]),
            [classes[i] for i in ids],
            scores=[float(maps.image_score[i]) for i in ids],
        )

    return picture
