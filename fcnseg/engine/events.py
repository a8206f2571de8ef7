"""What the engine tells its observer; it prints nothing itself.

An observer is any function that takes one event.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fcnseg.metrics import Scores


@dataclass(frozen=True)
class Started:
    """Training begins: at ``epoch`` of ``epochs`` (from 0), in ``folder``.

    ``step`` of ``total_steps`` are done already in a run that goes on.
    """

    folder: Path
    epoch: int
    epochs: int
    steps_per_epoch: int
    training_images: int
    validation_images: int
    step: int = 0
    total_steps: int = 0


@dataclass(frozen=True)
class Downloading:
    """``done`` of ``total`` bytes of ``what`` have come; ``total`` is None if nobody knows it.

    ``doing`` is "downloading" or "unpacking".
    """

    done: int
    total: int | None
    what: str = "weights"
    doing: str = "downloading"


@dataclass(frozen=True)
class Stepped:
    """One optimizer step is done. ``step`` counts from 1 over the whole run; times in seconds."""

    epoch: int
    step: int
    total_steps: int
    loss: float
    lr: float
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Evaluating:
    """``done`` of ``total`` images are dealt with; ``doing`` says how, if not as usual."""

    done: int
    total: int
    doing: str = ""


@dataclass(frozen=True)
class Evaluated:
    """An epoch is over (``epoch`` counts from 1) and its scores are known."""

    epoch: int
    epochs: int
    loss: float
    scores: Scores
    classes: tuple[str, ...]
    best: bool


@dataclass(frozen=True)
class Tested:
    """An epoch of a classifier is over (``epoch`` counts from 1).

    ``loss`` is the mean training loss of the epoch; accuracies are shares in [0, 1], those of
    ``classes`` None where no test image shows the class.
    """

    epoch: int
    epochs: int
    loss: float
    test_loss: float
    test_accuracy: float
    train_accuracy: float
    classes: Mapping[str, float | None]
    best: bool


@dataclass(frozen=True)
class Notice:
    """Something a person should know; ``warning`` where it may spoil the result."""

    text: str
    warning: bool = False


Event = Downloading | Started | Stepped | Evaluating | Evaluated | Tested | Notice
Observer = Callable[[Event], None]


def silent(event: Event) -> None:
    """The observer that ignores everything."""
    del event


def downloading(observer: Observer, what: str = "weights") -> Callable[[int, int | None], None]:
    """What a download calls with (bytes done, bytes in all or None), to tell the observer."""

    def progress(done: int, total: int | None) -> None:
        observer(Downloading(done, total, what))

    return progress
