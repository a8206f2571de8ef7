"""``fcnseg check --show-augmented``: samples as training would get them."""

from pathlib import Path

from fcnseg.catalogue import describe
from fcnseg.config import TrainConfig
from fcnseg.data.order import augmentation_seed, epoch_order
from fcnseg.data.sample import Source
from fcnseg.errors import DataError, UsageError
from fcnseg.render.augmented import Row, contact_sheet
from fcnseg.render.files import write_image
from fcnseg.sources import build_sources, scaled
from fcnseg.training import training_transform


def draw_augmented(path: Path, config: TrainConfig, opened: Source | None, count: int) -> int:
    """Draw the first samples of the first epoch beside their augmented form.

    The augmentation of a sample is a function of the seed, the epoch and its place in the training
    images, so the same settings draw the same picture, and training gets the same samples.

    Args:
        path: .png or .jpg.
        config: the settings of the training.
        opened: the training part as the check opened it, which is taken where its layout has
            faults that training would stop at.
        count: samples; fewer where not so many can be read.

    Returns:
        How many were drawn.

    Raises:
        UsageError: a setting is out of range, or ``path`` is one of the images.
        DataError: no sample can be read.
        EnvironmentFault: the picture cannot be written.
    """
    source = _training(config, opened)
    transform = training_transform(config, describe(config.backbone).preprocessing.fill)
    rows: list[Row] = []
    titles: list[str] = []
    for index in epoch_order(len(source), config.seed, epoch=0):
        if len(rows) == count:
            break
        try:
            whole = source[index]
        except DataError:  # among the findings already
            continue
        seed = augmentation_seed(config.seed, 0, index)
        rows.append((whole.image, whole.label, *transform(whole.image, whole.label, seed)))
        titles.append(whole.id)
    if not rows:
        raise DataError(f"--show-augmented: {source.name} has no image that can be read")
    inputs = {file.resolve() for i in range(len(source)) for file in source.files(i)}
    if path.resolve() in inputs:
        raise UsageError(f"--augmented {path}: is one of the images; choose another name")
    write_image(path, contact_sheet(rows, source.palette, titles, source.classes))
    return len(rows)


def _training(config: TrainConfig, opened: Source | None) -> Source:
    try:
        source = build_sources(config)[0]
    except DataError:
        if opened is None:
            raise
        source = opened
    return scaled(source, config.short_side)
