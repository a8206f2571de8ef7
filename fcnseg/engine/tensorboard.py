"""The events of a training, for TensorBoard."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from fcnseg.engine.events import Evaluated, Event, Observer, Stepped, Tested
from fcnseg.errors import EnvironmentFault, UsageError


class TensorBoard:
    """An observer that writes scalars by step; to be used in a ``with`` block.

    Written are the loss, the learning rate and the pace at each step, and the measures of each
    evaluation, those of the classes under their names. Nothing is written before the first step;
    what an earlier start wrote of that step and later ones is then hidden, so that a resumed run
    shows one curve. ``steps_per_epoch`` places an evaluation before which no step was heard of.

    Raises :class:`UsageError` where the package ``tensorboard`` is missing, and
    :class:`EnvironmentFault` where the disk refuses.
    """

    def __init__(self, folder: Path, steps_per_epoch: int) -> None:
        self._folder = folder
        self._make = writer_class()
        self._writer: Any = None
        self._step = 0
        self._steps_per_epoch = steps_per_epoch

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            with _refusing(self._folder):
                self._writer.close()

    def __call__(self, event: Event) -> None:
        match event:
            case Stepped():
                self._step = event.step
                values = {
                    "training/loss": event.loss,
                    "training/learning rate": event.lr,
                    "training/images per second": event.images_per_second,
                }
                self._write(values)
            case Evaluated():
                scores = event.scores
                values = {
                    "training/loss of the epoch": event.loss,
                    "validation/mean IU": scores.mean_iu,
                    "validation/pixel accuracy": scores.pixel_accuracy,
                    "validation/mean accuracy": scores.mean_accuracy,
                    "validation/frequency-weighted IU": scores.frequency_weighted_iu,
                }
                classes = dict(zip(event.classes, scores.class_iu, strict=True))
                self._evaluated(event.epoch, {**values, **_named("class IU", classes)})
            case Tested():
                values = {
                    "training/loss of the epoch": event.loss,
                    "training/accuracy": event.train_accuracy,
                    "test/loss": event.test_loss,
                    "test/accuracy": event.test_accuracy,
                }
                named = _named("class accuracy", event.classes)
                self._evaluated(event.epoch, {**values, **named})

    def _evaluated(self, epoch: int, values: Mapping[str, float]) -> None:
        # A run may be resumed between the last step of an epoch and its evaluation.
        self._step = self._step or epoch * self._steps_per_epoch
        self._write(values)
        with _refusing(self._folder):
            self._writer.flush()

    def _write(self, values: Mapping[str, float]) -> None:
        with _refusing(self._folder):
            if self._writer is None:
                self._writer = self._make(str(self._folder), purge_step=self._step)
            for name, value in values.items():
                self._writer.add_scalar(name, value, self._step)


@contextmanager
def with_tensorboard(folder: Path, steps_per_epoch: int, observer: Observer) -> Iterator[Observer]:
    """Yield an observer that tells ``observer`` and writes for TensorBoard into ``folder``.

    Raises what :class:`TensorBoard` raises.
    """
    with TensorBoard(folder, steps_per_epoch) as board:

        def both(event: Event) -> None:
            observer(event)
            board(event)

        yield both


def _named(group: str, values: Mapping[str, float | None]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items() if value is not None}


def writer_class() -> Any:
    """The writer of the package. Raises :class:`UsageError` where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError(
            "--tensorboard: needs the package tensorboard, which is not installed; "
            "pip install 'fcnseg[log]', or leave the flag out"
        ) from None
    return SummaryWriter


@contextmanager
def _refusing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise EnvironmentFault(
            f"{folder}: cannot be written ({reason}); free some space or leave out --tensorboard"
        ) from error
