"""Classification as the training loop sees it: the loss, the evaluation, the pictures."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcnseg.data.class_batches import ClassBatch, ClassBatches, consecutive
from fcnseg.data.class_parts import ClassSource
from fcnseg.data.order import evaluation_share
from fcnseg.devices import autocast
from fcnseg.engine.environment import environment
from fcnseg.engine.evaluate import warn_if_collapsed
from fcnseg.engine.events import Evaluating, Event, Observer, Tested, silent
from fcnseg.engine.report import Panel, evenly_spread, extremes, write_report
from fcnseg.engine.run import RunFolder
from fcnseg.engine.world import World
from fcnseg.errors import NumericError
from fcnseg.metrics import ConfusionMatrix
from fcnseg.model import to_input
from fcnseg.own_classifier import CentreView, OwnClassifier
from fcnseg.render.curves import training_curves
from fcnseg.render.files import write_image

MOST_TRAINING_IMAGES = 1000
"""Training images that an epoch's training accuracy is measured on, at most."""

Picture = Callable[[np.ndarray, Sequence[int]], np.ndarray]
"""An image, (H, W, 3) uint8, and class ids -> where these are seen, (h, w, 3) uint8."""


@dataclass(frozen=True)
class Seen:
    """What the network says of one image: its best class, and the probability of the true one."""

    truth: int
    predicted: int
    probability: float

    @property
    def ids(self) -> tuple[int, ...]:
        """The true class, and the one it is taken for where that is another."""
        return (self.truth,) if self.truth == self.predicted else (self.truth, self.predicted)


@dataclass(frozen=True)
class Classified:
    """An evaluation.

    Attributes:
        images: what was said of each test image, by name.
        test_loss: mean cross-entropy over the test images.
        train_accuracy: share of training images that are recognised, seen as in the test; of
            :data:`MOST_TRAINING_IMAGES` evenly spread ones where there are more.
        classes: K names.
    """

    images: Mapping[str, Seen]
    test_loss: float
    train_accuracy: float
    classes: tuple[str, ...]

    @property
    def confusion(self) -> np.ndarray:
        """(K, K) int64 counts of test images, [truth, predicted]."""
        counts = np.zeros((len(self.classes),) * 2, np.int64)
        for seen in self.images.values():
            counts[seen.truth, seen.predicted] += 1
        return counts

    @property
    def test_accuracy(self) -> float:
        """Share of test images that are recognised."""
        right = sum(seen.truth == seen.predicted for seen in self.images.values())
        return right / len(self.images)

    @property
    def class_accuracy(self) -> tuple[float | None, ...]:
        """The same of each class; None where no test image shows it."""
        counts = self.confusion
        totals = counts.sum(1)
        return tuple(
            float(counts[i, i] / totals[i]) if totals[i] else None for i in range(len(totals))
        )

    @property
    def score(self) -> float:
        """Chooses the best checkpoint: by test accuracy, among equals by test loss.

        A difference in the loss weighs less than one image.
        """
        count = len(self.images)
        return (count * self.test_accuracy + math.exp(-self.test_loss)) / (count + 1)

    @property
    def row(self) -> dict[str, Any]:
        """All measures, ready for JSON."""
        known = [value for value in self.class_accuracy if value is not None]
        return {
            "test_accuracy": self.test_accuracy,
            "mean_class_accuracy": sum(known) / len(known),
            "train_accuracy": self.train_accuracy,
            "test_loss": self.test_loss,
            "class_accuracy": dict(zip(self.classes, self.class_accuracy, strict=True)),
        }

    def event(self, epoch: int, epochs: int, loss: float, best: bool) -> Event:
        """What the observer is told."""
        accuracies = self.test_accuracy, self.train_accuracy
        classes = dict(zip(self.classes, self.class_accuracy, strict=True))
        return Tested(epoch, epochs, loss, self.test_loss, *accuracies, classes, best)


@dataclass(frozen=True)
class Classification:
    """Training a network that names what an image shows.

    Attributes:
        view: of an image, as the network is tested.
        training: all training images, large ones perhaps scaled down.
        testing: all test images.
        folder: where pictures and the report go.
        batch_size: images evaluated at a time.
        workers: processes that prepare them.
        pictures: makes of a network what draws where it sees classes.
        settings: what the report says of the configuration.
        title: of the report.
        command: what makes the run again, for the report.
    """

    view: CentreView
    training: ClassSource
    testing: ClassSource
    folder: RunFolder
    pictures: Callable[[OwnClassifier], Picture]
    device: torch.device
    precision: torch.dtype = torch.float32
    batch_size: int = 32
    workers: int = 0
    world: World = field(default_factory=World)
    settings: Mapping[str, Any] = field(default_factory=dict)
    title: str = "training"
    command: str = "fcnseg train-classifier"
    observer: Observer = silent

    def ids(self, batch: ClassBatch) -> list[str]:
        """The names of the images of a batch."""
        return batch.ids

    def mass(self, batch: ClassBatch) -> float:
        """The images of a batch."""
        return float(len(batch.ids))

    def loss(self, net: nn.Module, batch: ClassBatch, mass: float) -> Tensor:
        """The part of a batch in the mean cross-entropy of a step, a scalar on the device."""
        scores_NK = self._scores(net, batch)
        labels_N = batch.labels.to(self.device, non_blocking=True)
        return F.cross_entropy(scores_NK, labels_N, reduction="sum") / mass

    def evaluate(self, model: nn.Module) -> Classified:
        """Classify the test images and some training images, each in one process.

        The observer is warned if every prediction is one class. Raises :class:`NumericError` for
        scores that are not finite, and :class:`DataError` for a damaged image.
        """
        step = -(-len(self.training) // MOST_TRAINING_IMAGES)
        learned = range(0, len(self.training), step)
        tested = range(len(self.testing))
        total = (len(learned) + len(tested)) // self.world.size
        was_training = model.training
        model.eval()
        try:
            trained, _ = self._classify(model, self.training, learned, (0, total))
            done = len(trained)
            own, own_loss = self._classify(model, self.testing, tested, (done, total))
        finally:
            model.train(was_training)
        right = sum(seen.truth == seen.predicted for seen in trained.values())
        right_of_all, loss = self.world.sum(float(right), own_loss)
        images = {name: seen for part in self.world.gather(own) for name, seen in part.items()}
        # In the order of the images, whatever process looked at which.
        ordered = {self.testing.id(index): images[self.testing.id(index)] for index in tested}
        result = Classified(
            ordered, loss / len(tested), right_of_all / len(learned), self.testing.classes
        )
        counts = ConfusionMatrix(len(result.classes))
        counts.counts = result.confusion
        warn_if_collapsed("every test image is taken for", counts, result.classes, self.observer)
        return result

    @torch.inference_mode()
    def _classify(
        self, model: nn.Module, source: ClassSource, indices: Sequence[int], at: tuple[int, int]
    ) -> tuple[dict[str, Seen], float]:
        """What the network says of this process's share of images, and the sum of the losses."""
        done, total = at
        own = evaluation_share(len(indices), self.batch_size, self.world.rank, self.world.size)
        share = consecutive([indices[i] for i in own], self.batch_size)
        batches: Iterable[ClassBatch] = ClassBatches(source, self.view, share, workers=self.workers)
        found, loss = {}, 0.0
        for batch in batches:
            score_NK = self._scores(model, batch).cpu().double()  # MPS has no float64
            if not bool(torch.isfinite(score_NK).all()):
                raise NumericError(
                    f"{', '.join(batch.ids)}: the network's scores are not finite; lower --lr, or "
                    "use --precision fp32"
                )
            logarithm_N = score_NK.log_softmax(1).gather(1, batch.labels[:, None])[:, 0]
            loss -= float(logarithm_N.sum())
            said = zip(
                batch.ids,
                batch.labels.tolist(),
                score_NK.argmax(1).tolist(),
                logarithm_N.exp().tolist(),
                strict=True,
            )
            found.update({name: Seen(*values) for name, *values in said})
            done += len(batch.ids)
            self.observer(Evaluating(done, total))
        return found, loss

    def _scores(self, net: nn.Module, batch: ClassBatch) -> Tensor:
        pixels_N3HW = to_input(self.view.preprocessing, batch.images, self.device)
        with autocast(self.device, self.precision):
            score_NK: Tensor = net(pixels_N3HW)
        return score_NK.float()

    def show(
        self, model: nn.Module, evaluation: Classified, rows: list[dict[str, Any]], best_epoch: int
    ) -> None:
        """Write ``samples/``, ``curves.png`` and ``report.html``."""
        picture = self.pictures(cast(OwnClassifier, model))
        for index in evenly_spread(len(self.testing)):
            name = self.testing.id(index)
            drawn = picture(self.testing[index].image, evaluation.images[name].ids)
            stem = str(PurePosixPath(name).with_suffix("")).replace("/", "_")
            write_image(self.folder.samples / f"{stem}.png", drawn)
        write_image(self.folder.curves, training_curves(rows))
        row = evaluation.row
        names = ("test_accuracy", "mean_class_accuracy", "train_accuracy")
        write_report(
            self.folder.report,
            title=self.title,
            command=self.command,
            settings=self.settings,
            environment=environment(self.device, self.precision, self.world.size),
            classes=evaluation.classes,
            palette=(),
            class_values=evaluation.class_accuracy,
            class_measure="accuracy",
            summary={name.replace("_", " "): row[name] for name in names},
            confusion=evaluation.confusion,
            rows=rows,
            best_epoch=best_epoch,
            panels=self._extremes(picture, evaluation),
            unit="images",
        )

    def _extremes(self, picture: Picture, evaluation: Classified) -> list[Panel]:
        """The test images that are recognised worst and best."""
        place = {self.testing.id(i): i for i in range(len(self.testing))}
        images, classes = evaluation.images, evaluation.classes
        panels = []
        for kind, name in extremes({name: seen.probability for name, seen in images.items()}):
            seen = images[name]
            drawn = picture(self.testing[place[name]].image, seen.ids)
            caption = ", taken for ".join(classes[i] for i in seen.ids)
            panels.append(Panel(name, seen.probability, kind, drawn, caption))
        return panels
