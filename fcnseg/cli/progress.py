"""The engine's events on stderr: a live line in a terminal, plain lines anywhere else."""

import sys
import time
from types import TracebackType
from typing import Any

from fcnseg.engine.events import Downloading, Evaluated, Evaluating, Event, Notice, Started, Stepped


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
        match event:
            case Started():
                self._epochs = event.epochs
                self._say(
                    f"training on {event.training_images} images, validating on "
                    f"{event.validation_images}; epochs {event.epoch + 1} to {event.epochs}, "
                    f"{event.steps_per_epoch} steps each; writing to {event.folder}"
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
                self._say(
                    f"epoch {event.epoch}/{event.epochs}: loss {event.loss:.4f}, mean IU "
                    f"{100 * event.scores.mean_iu:.1f} %, pixel accuracy "
                    f"{100 * event.scores.pixel_accuracy:.1f} %"
                    f"{', best so far' if event.best else ''}"
                )
            case Notice():
                self._say(f"warning: {event.text}" if event.warning else event.text)

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
