"""One photograph of ``predict``: read, segmented in a batch, written; or read back."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcnseg import render
from fcnseg.cli.predict_plan import MASK, OVERLAY, SCORES, Job
from fcnseg.cli.predict_tiles import segment_in_tiles
from fcnseg.data.images import read_image, read_mask_pixels, read_size
from fcnseg.errors import DataError
from fcnseg.files import replacing
from fcnseg.inference.coco_results import regions_of
from fcnseg.inference.prediction import Prediction
from fcnseg.inference.predictor import Predictor
from fcnseg.render.files import JPEG_LONGEST
from fcnseg.render.shrunk import LONGEST


@dataclass(frozen=True)
class Result:
    """What there is to say of a photograph that was segmented.

    Attributes:
        pixels: (K,) how many pixels each class has.
        size: (H, W) of the photograph.
        written: the files that were written now.
        regions: its annotations for a COCO json, where one was asked for.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    written: list[Path]
    regions: list[dict[str, Any]]


@dataclass(frozen=True)
class Stages:
    """The stages of ``predict``, for :func:`fcnseg.inference.flow.overlapped`.

    Attributes:
        predictor: the network.
        max_pixels: larger photographs are refused.
        tiled: photographs are cut into tiles, and their rows written as they are done.
        categories: of a COCO json, None where there is none.
    """

    predictor: Predictor
    max_pixels: int
    tiled: bool = False
    categories: Mapping[int, Mapping[str, Any]] | None = None

    def read(self, job: Job) -> np.ndarray | None:
        """The photograph, or its mask where that is there; None where tiles will be read."""
        check_names(job)
        if MASK not in job.wanted:
            check_mask(job, self.max_pixels)
        if job.there:
            return read_labels(job.mask, len(self.predictor.info.classes), self.max_pixels)
        return None if self.tiled else read_image(job.photograph.path, self.max_pixels)

    def compute(self, jobs: Sequence[Job], images: Sequence[np.ndarray | None]) -> Sequence[Any]:
        """Labels that are there, counts of an image in tiles, a prediction, or a fault."""
        if jobs[0].there:
            return images
        if self.tiled:
            return [self._in_tiles(job) for job in jobs]
        scores = SCORES in jobs[0].results
        names = [str(job.photograph) for job in jobs]
        try:
            return self.predictor.batch(list(images), scores, names)  # type: ignore[arg-type]
        except DataError:  # of one of them
            return [self._alone(i, n, scores) for i, n in zip(images, names, strict=True)]

    def write(self, job: Job, found: Any) -> Result:
        """Write what is wanted of a photograph, where tiles have not done so."""
        classes = len(self.predictor.info.classes)
        written = [job.results[ending] for ending in job.results if ending in job.wanted]
        if isinstance(found, Prediction):
            write(found, {ending: job.results[ending] for ending in job.wanted})
            labels = found.labels
        elif job.there:
            labels = found
        elif self.categories is None:
            return Result(found[0], found[1], written, [])
        else:
            labels = read_labels(job.mask, classes, self.max_pixels)
        pixels = np.bincount(labels.ravel(), minlength=classes)
        regions = []
        if self.categories is not None:
            regions = regions_of(labels, job.number + 1, self.categories)
        return Result(pixels, labels.shape, written, regions)

    def _in_tiles(self, job: Job) -> Any:
        try:
            return segment_in_tiles(self.predictor, job, self.max_pixels)
        except DataError as error:
            return error

    def _alone(self, image: Any, name: str, scores: bool) -> Prediction | DataError:
        try:
            return self.predictor(image, scores, name)
        except DataError as error:
            return error


def write(prediction: Prediction, results: Mapping[str, Path]) -> None:
    """Write the results of one photograph: the file for each of the endings that are given."""
    classes, palette = prediction.classes, prediction.palette
    if OVERLAY in results:
        render.write_image(results[OVERLAY], overlay_of(prediction))
    if SCORES in results:
        assert prediction.scores is not None
        with replacing(results[SCORES]) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, score=prediction.scores, classes=np.array(classes))
    if MASK in results:
        render.write_mask(results[MASK], prediction.labels, palette)


def overlay_of(prediction: Prediction) -> np.ndarray:
    """The overlay over its legend, (h, w, 3) uint8, scaled down where no JPEG can be so large."""
    found, names, palette = prediction, prediction.classes, prediction.palette
    picture = render.segmented(found.image, found.labels, names, palette)
    if max(picture.shape) > JPEG_LONGEST:
        picture = render.segmented(found.image, found.labels, names, palette, LONGEST)
    return picture


def check_names(job: Job) -> None:
    """Raise :class:`DataError` where the disk takes no such long name for a result."""
    for path in job.results.values():
        try:
            path.lstat()
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise DataError(
                    f"{job.photograph}: the name of its result {path.name} is too long for the "
                    "disk; rename it"
                ) from None


def check_mask(job: Job, max_pixels: int) -> None:
    """Raise :class:`DataError` if the mask that is there has another size than the photograph."""
    mask, photograph = (read_size(p, max_pixels) for p in (job.mask, job.photograph.path))
    if mask != photograph:
        raise DataError(
            f"{job.mask}: was made of another photograph: is {mask[0]}x{mask[1]}, "
            f"{job.photograph} {photograph[0]}x{photograph[1]} (height x width); remove it"
        )


def read_labels(mask: Path, classes: int, max_pixels: int) -> np.ndarray:
    """The (H, W) uint8 labels of a mask that ``predict`` wrote.

    Raises:
        DataError: it cannot be read, or is no mask of so many classes.
    """
    found = read_mask_pixels(mask, max_pixels)
    if found.kind != "palette" or found.values.max() >= classes:
        raise DataError(
            f"{mask}: is there already, and is no mask of {classes} classes; remove it, leave "
            "--skip-existing out, or choose another --out"
        )
    return found.values
