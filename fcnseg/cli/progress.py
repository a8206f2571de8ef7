"""The engine's events on stderr: a live line in a terminal, plain lines anywhere else."""

import contextlib
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from fcnseg.cli.class_columns import class_columns
from fcnseg.engine.events import (
    Downloading,
    Evaluated,
    Evaluating,
    Event,
    Notice,
    Started,
    Stepped,
    Tested,
)

_PIPED = 100  # cells of a line where the output is no terminal


class Progress:
    """An observer to be used in a ``with`` block.

    ``counting`` is what counted images are called: "evaluating", "checking".
    """

    def __init__(self, counting: str = "evaluating", seconds_between_lines: float = 10.0) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live = self._console.is_terminal
        self._bar: Any = None
        self._task: Any = None
        self._epochs = 0
        self._before: Mapping[str, float | None] = {}
        self._counting = counting
        self._interval = seconds_between_lines
        self._last_line = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        # a terminal that was closed must not end a training before it has saved
        with contextlib.suppress(OSError):
            self._tell(event)

    def _tell(self, event: Event) -> None:
        match event:
            case Started():
                self._epochs, self._before = event.epochs, {}
                steps = f"{event.steps_per_epoch} steps each"
                if event.total_steps % event.steps_per_epoch:
                    steps += f", {event.total_steps} in all"
                done = f"going on after step {event.step} of {event.total_steps}: "
                self._say(
                    f"{done if event.step else ''}training on {event.training_images} images, "
                    f"validating on {event.validation_images}; epochs {event.epoch + 1} to "
                    f"{event.epochs}, {steps}; writing to {event.folder}"
                )
            case Downloading():
                of = f" of {event.total / 1e6:.0f}" if event.total else ""
                text = f"{event.doing} {event.what}: {event.done / 1e6:.0f}{of} MB"
                self._advance(text, event.done, event.total or event.done)
            case Stepped():
                text = (
                    f"epoch {event.epoch}/{self._epochs}  step {event.step}/{event.total_steps}  "
                    f"loss {event.loss:.4f}  lr {event.lr:.2e}  "
                    f"{event.images_per_second:.1f} images/s  "
                    f"{_duration(event.seconds_left)} left"
                )
                self._advance(text, event.step, event.total_steps)
            case Evaluating():
                text = f"{event.doing or self._counting} {event.done}/{event.total} images"
                self._advance(text, event.done, event.total)
            case Evaluated():
                measures = {
                    "mean IU": event.scores.mean_iu,
                    "pixel accuracy": event.scores.pixel_accuracy,
                }
                self._evaluated(event, measures)
                values = zip(event.classes, event.scores.class_iu, strict=True)
                self._say_classes("IU %", dict(values))
            case Tested():
                measures = {
                    "test accuracy": event.test_accuracy,
                    "train accuracy": event.train_accuracy,
                }
                self._evaluated(event, measures, f", test loss {event.test_loss:.4f}")
                self._say_classes("accuracy %", event.classes)
            case Notice():
                self._say(f"warning: {event.text}" if event.warning else event.text)

    def _evaluated(
        self, event: Evaluated | Tested, measures: Mapping[str, float], more: str = ""
    ) -> None:
        said = ", ".join(f"{name} {100 * value:.1f} %" for name, value in measures.items())
        best = ", best so far" if event.best else ""
        at = f"epoch {event.epoch}/{event.epochs}: loss {event.loss:.4f}"
        self._say(f"{at}{more}, {said}{best}")

    def _say_classes(self, measure: str, values: Mapping[str, float | None]) -> None:
        """The table of classes, with what has changed since the evaluation before."""
        since = ", and points since the last evaluation" if self._before else ""
        width = self._console.width if self._live else _PIPED
        lines = class_columns(values, self._before, width)
        self._say("\n".join([f"  {measure} of each class{since}:", *lines]))
        self._before = dict(values)

    def _say(self, text: str) -> None:
        self._last_line = time.monotonic()
        if self._live:
            self._console.print(text, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def _advance(self, text: str, done: int, total: int) -> None:
        if not self._live:
            if time.monotonic() - self._last_line >= self._interval:
                self._say(text)
            return
        if self._bar is None:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
            self._bar = Bar(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=total)
            self._bar.start()
        self._bar.update(self._task, description=text, completed=done, total=total)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
