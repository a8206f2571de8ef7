"""Evaluation with one streaming confusion matrix."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from fcnseg.data.loading import Batch
from fcnseg.data.sample import Source
from fcnseg.engine.events import Evaluating, Notice, Observer, silent
from fcnseg.errors import DataError
from fcnseg.metrics import ConfusionMatrix, Scores
from fcnseg.model import Segmenter, score_images


def evaluate(
    model: Segmenter,
    batches: Iterable[Batch],
    device: torch.device,
    precision: torch.dtype = torch.float32,
    observer: Observer = silent,
    total: int = 0,
) -> ConfusionMatrix:
    """Score ``model`` on batches of images of one size each; void is not counted.

    ``total`` is the number of images, for the observer. The model's training mode is restored.
    Raises :class:`NumericError`, naming the images, where a score is not finite.
    """
    confusion = ConfusionMatrix(model.info.num_classes)
    for _, counts in each_image(model, batches, device, precision, observer, total):
        confusion.merge(counts)
    return confusion


def each_image(
    model: Segmenter,
    batches: Iterable[Batch],
    device: torch.device,
    precision: torch.dtype = torch.float32,
    observer: Observer = silent,
    total: int = 0,
) -> Iterator[tuple[str, ConfusionMatrix]]:
    """The name and the counts of each image; otherwise as :func:`evaluate`."""
    was_training = model.training
    model.eval()
    done = 0
    try:
        for batch in batches:
            labels_NHW = predict_labels(model, batch.images, batch.ids, device, precision)
            truth_NHW = batch.labels.to(device, non_blocking=True)
            for name, predicted, truth in zip(batch.ids, labels_NHW, truth_NHW, strict=True):
                counts = ConfusionMatrix(model.info.num_classes)
                counts.update(predicted, truth)
                yield name, counts
            done += len(batch.ids)
            observer(Evaluating(done, total))
    finally:
        model.train(was_training)


def predict_labels(
    model: Segmenter,
    images_N3HW: Tensor,
    ids: list[str],
    device: torch.device,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """The best class of every pixel: uint8 images (N, 3, H, W) -> int64 (N, H, W) on ``device``.

    The model must be in evaluation mode. Raises :class:`NumericError` where a score is not finite.
    """
    return score_images(model, images_N3HW, device, precision, ", ".join(ids)).argmax(1)


def scores_on(source: Source, confusion: ConfusionMatrix) -> Scores:
    """The scores of an evaluation on ``source``. Raises :class:`DataError` naming it if all of
    its masks are void: no measure is defined then."""
    if not confusion.counts.any():
        raise DataError(
            f"{source.name}: nothing to score, every pixel of its {len(source)} masks is void "
            "(255); correct the masks (`fcnseg check` looks at each)"
        )
    return confusion.scores()


def warn_if_collapsed(
    said: str, confusion: ConfusionMatrix, classes: Sequence[str], observer: Observer
) -> None:
    """Warn the observer if every prediction is one class while the truth has several.

    ``said`` are the words before the name of the class.
    """
    if is_collapsed(confusion):
        only = classes[int(confusion.counts.sum(0).argmax())]
        text = f"{said} {only!r}, although the truth has several classes; train longer or change "
        observer(Notice(f"{text}--lr", warning=True))


def is_collapsed(confusion: ConfusionMatrix) -> bool:
    """True if every prediction is one class while the truth has several."""
    counts = torch.as_tensor(confusion.counts)
    return int((counts.sum(0) > 0).sum()) == 1 and int((counts.sum(1) > 0).sum()) > 1


def named_scores(scores: Scores, classes: Sequence[str]) -> dict[str, Any]:
    """The scores as JSON-able values, IU per class by name."""
    values = scores.to_dict()
    values["class_iu"] = dict(zip(classes, scores.class_iu, strict=True))
    return values
