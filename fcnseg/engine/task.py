"""What a network is trained for, seen from the training loop."""

from typing import Any, Protocol

from torch import Tensor, nn

from fcnseg.engine.events import Event


class Evaluation(Protocol):
    """What an evaluation found."""

    @property
    def score(self) -> float:
        """The measure that chooses the best checkpoint, in [0, 1]."""
        ...

    @property
    def row(self) -> dict[str, Any]:
        """All measures, ready for JSON: a row of the log, and ``metrics.json``."""
        ...

    def event(self, epoch: int, epochs: int, loss: float, best: bool) -> Event:
        """What the observer is told; ``loss`` is the mean training loss of the epoch."""
        ...


class Task(Protocol):
    """Segmentation or classification; ``batch`` is what its loader gives."""

    def ids(self, batch: Any) -> list[str]:
        """The names of the samples of a batch, for messages."""
        ...

    def mass(self, batch: Any) -> float:
        """What a batch counts in the mean loss of a step: its labelled pixels, its images.

        Read off labels on the CPU, so that no accelerator waits.
        """
        ...

    def loss(self, net: nn.Module, batch: Any, mass: float) -> Tensor:
        """The part of a batch in the loss of a step, a scalar on the device.

        ``mass`` is that of all batches of the step, of every process: the sum of these parts is
        the loss that one large batch would have.
        """
        ...

    def evaluate(self, model: nn.Module) -> Evaluation:
        """Score a network, shared out over the processes; the result is the same in each."""
        ...

    def show(
        self, model: nn.Module, evaluation: Any, rows: list[dict[str, Any]], best_epoch: int
    ) -> None:
        """Write what a person looks at: curves, samples, the report. Only the first process does.

        ``rows`` are those of the log, this evaluation included.
        """
        ...
