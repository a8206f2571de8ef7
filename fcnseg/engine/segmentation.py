"""Segmentation as the training loop sees it: the loss, the evaluation, the pictures."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from fcnseg.data.loading import Batch
from fcnseg.data.sample import Sample, Source
from fcnseg.devices import autocast
from fcnseg.engine.environment import environment
from fcnseg.engine.evaluate import (
    each_image,
    named_scores,
    predict_labels,
    scores_on,
    warn_if_collapsed,
)
from fcnseg.engine.events import Evaluated, Event, Observer, silent
from fcnseg.engine.report import Panel, evenly_spread, extremes, write_report
from fcnseg.engine.run import RunFolder
from fcnseg.engine.world import World
from fcnseg.losses import cross_entropy, dice_loss, labelled_mass
from fcnseg.metrics import ConfusionMatrix, Scores
from fcnseg.model import Segmenter, to_input
from fcnseg.preprocessing import Preprocessing
from fcnseg.render.comparison import comparison_sheet
from fcnseg.render.curves import training_curves
from fcnseg.render.files import write_image


@dataclass(frozen=True)
class PixelLoss:
    """What is minimized.

    Attributes:
        reduction: ``"mean"`` over the labelled pixels of a step, or their ``"sum"``.
        class_weights: (K,) float on the CPU; None for equal ones.
        dice: weight of the Dice term of each batch beside the cross-entropy.
    """

    reduction: str = "mean"
    class_weights: Tensor | None = None
    dice: float = 0.0

    def __call__(self, score_NKHW: Tensor, label_NHW: Tensor, mass: float, share: float) -> Tensor:
        """The part of a batch in the loss of a step.

        ``mass`` is what the sum is divided by, that of the whole step; ``share`` is the batch's
        part of it. A step without any label has a loss of exactly 0.
        """
        how: dict[str, Any] = {"class_weights": self.class_weights, "reduction": "sum"}
        total = cross_entropy(score_NKHW, label_NHW, **how)
        if self.reduction == "sum":
            return total
        loss = total / mass if mass else total
        if self.dice:
            loss = loss + self.dice * share * dice_loss(score_NKHW, label_NHW)
        return loss


@dataclass(frozen=True)
class Scored:
    """An evaluation: the four measures, the counts behind them, and the mean IU of each image."""

    scores: Scores
    confusion: ConfusionMatrix
    images: Mapping[str, float]
    classes: tuple[str, ...]

    @property
    def score(self) -> float:
        """The mean IU, which chooses the best checkpoint."""
        return self.scores.mean_iu

    @property
    def row(self) -> dict[str, Any]:
        """The scores as JSON-able values, IU per class by name."""
        return named_scores(self.scores, self.classes)

    def event(self, epoch: int, epochs: int, loss: float, best: bool) -> Event:
        """What the observer is told."""
        return Evaluated(epoch, epochs, loss, self.scores, self.classes, best)


@dataclass(frozen=True)
class Segmentation:
    """Training a network that scores every pixel.

    Attributes:
        preprocessing: what the network expects of images.
        validation: all validation images.
        batches: those that this process evaluates, as batches.
        folder: where pictures and the report go.
        settings: what the report says of the configuration.
        title: of the report.
        command: what makes the run again, for the report.
    """

    preprocessing: Preprocessing
    validation: Source
    batches: Callable[[], Iterable[Batch]]
    folder: RunFolder
    device: torch.device
    precision: torch.dtype = torch.float32
    pixel_loss: PixelLoss = field(default_factory=PixelLoss)
    world: World = field(default_factory=World)
    settings: Mapping[str, Any] = field(default_factory=dict)
    title: str = "training"
    command: str = "fcnseg train"
    observer: Observer = silent

    def ids(self, batch: Batch) -> list[str]:
        """The names of the samples of a batch."""
        return batch.ids

    def mass(self, batch: Batch) -> float:
        """The labelled pixels of a batch, or the sum of their weights; a sum needs neither."""
        if self.pixel_loss.reduction == "sum":
            return 1.0
        return labelled_mass(batch.labels, class_weights=self.pixel_loss.class_weights)

    def loss(self, net: nn.Module, batch: Batch, mass: float) -> Tensor:
        """The part of a batch in the loss of a step, a scalar on the device."""
        pixels_N3HW = to_input(self.preprocessing, batch.images, self.device)
        label_NHW = batch.labels.to(self.device, non_blocking=True)
        with autocast(self.device, self.precision):
            score_NKHW = net(pixels_N3HW)
        share = self.mass(batch) / mass if mass and self.pixel_loss.dice else 0.0
        return self.pixel_loss(score_NKHW, label_NHW, mass, share)

    def evaluate(self, model: nn.Module) -> Scored:
        """Score the validation images, each in one process, counts added up exactly.

        The observer is warned if every prediction is one class. Raises :class:`DataError` if the
        masks are all void, and :class:`NumericError` for scores that are not finite.
        """
        source, own = self.validation, {}
        net = cast(Segmenter, model)
        confusion = ConfusionMatrix(len(source.classes))
        how = self.device, self.precision, self.observer, len(source) // self.world.size
        for name, counts in each_image(net, self.batches(), *how):
            confusion.merge(counts)
            if counts.counts.any():
                own[name] = counts.scores().mean_iu
        confusion.counts = self.world.sum_array(confusion.counts)
        images = {name: iu for part in self.world.gather(own) for name, iu in part.items()}
        scores = scores_on(source, confusion)
        warn_if_collapsed(
            "every validation pixel is predicted as", confusion, source.classes, self.observer
        )
        return Scored(scores, confusion, images, source.classes)

    def show(
        self, model: nn.Module, evaluation: Scored, rows: list[dict[str, Any]], best_epoch: int
    ) -> None:
        """Write ``samples/``, ``curves.png`` and ``report.html``."""
        was_training = model.training
        model.eval()
        for index in evenly_spread(len(self.validation)):
            sample = self.validation[index]
            path = self.folder.samples / f"{sample.id.replace('/', '_')}.png"
            write_image(path, self._panel(model, sample, columns=4))
        write_image(self.folder.curves, training_curves(rows))
        scores = evaluation.scores
        write_report(
            self.folder.report,
            title=self.title,
            command=self.command,
            settings=self.settings,
            environment=environment(self.device, self.precision, self.world.size),
            classes=evaluation.classes,
            palette=self.validation.palette,
            class_values=scores.class_iu,
            class_measure="IU",
            summary={
                "mean IU": scores.mean_iu,
                "pixel accuracy": scores.pixel_accuracy,
                "mean accuracy": scores.mean_accuracy,
                "f.w. IU": scores.frequency_weighted_iu,
            },
            confusion=evaluation.confusion.counts,
            rows=rows,
            best_epoch=best_epoch,
            panels=self._extremes(model, evaluation.images),
        )
        model.train(was_training)

    def _extremes(self, model: nn.Module, images: Mapping[str, float]) -> list[Panel]:
        """The worst and the best images, each with its prediction."""
        place = {self.validation.id(i): i for i in range(len(self.validation))}
        return [
            Panel(name, images[name], kind, self._panel(model, self.validation[place[name]], 2))
            for kind, name in extremes(images)
        ]

    def _panel(self, model: nn.Module, sample: Sample, columns: int) -> np.ndarray:
        """Image, truth, prediction and where they differ, with titles and a legend."""
        images_13HW = torch.from_numpy(sample.image.copy()).permute(2, 0, 1)[None]
        net = cast(Segmenter, model)
        labels_1HW = predict_labels(net, images_13HW, [sample.id], self.device, self.precision)
        predicted = labels_1HW[0].to(torch.uint8).cpu().numpy()
        classes, palette = self.validation.classes, self.validation.palette
        longest = 480 if columns == 2 else 800
        return comparison_sheet(
            *(sample.image, sample.label, predicted, palette, classes), columns, longest
        )
