"""Training: the loop."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from fcnseg.engine.checkpoint import Progress, save_model
from fcnseg.engine.events import Notice, Observer, Stepped, silent
from fcnseg.engine.interrupt import Interruption
from fcnseg.engine.log import Log
from fcnseg.engine.optimizer import set_learning_rate
from fcnseg.engine.run import RunFolder
from fcnseg.engine.schedule import schedule
from fcnseg.engine.step import Learner, take_step
from fcnseg.engine.task import Evaluation, Task
from fcnseg.run_config import RunConfig


@dataclass(frozen=True)
class Batches:
    """Where the loop gets its batches.

    ``training`` takes an epoch and how many of its batches to leave out, both from 0;
    ``per_epoch`` is how many batches an epoch has. ``images`` counts (training, validation).
    """

    training: Callable[[int, int], Iterable[Any]]
    per_epoch: int
    images: tuple[int, int]


class Gallery:
    """When to draw what a person looks at: seldom enough to take a tenth of the time at most."""

    def __init__(self) -> None:
        self._took = self._end = 0.0

    def is_due(self, last: bool) -> bool:
        """Whether to draw after this evaluation; always after the ``last``."""
        return last or time.perf_counter() - self._end >= 9 * self._took

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Around the drawing, whose time is taken."""
        start = time.perf_counter()
        yield
        self._end = time.perf_counter()
        self._took = self._end - start


@dataclass(frozen=True)
class Run:
    """What stays the same through a run.

    ``settings`` go into the checkpoints; ``command`` is what continues the run.
    """

    config: RunConfig
    learner: Learner
    task: Task
    batches: Batches
    folder: RunFolder
    log: Log | None  # None in all processes but the first
    settings: Mapping[str, Any]
    command: str
    observer: Observer = silent
    gallery: Gallery = field(default_factory=Gallery)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch; the last may be of fewer batches than the others."""
        return -(-self.batches.per_epoch // self.config.accumulate)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.config.total_steps(self.steps_per_epoch)

    @property
    def epochs(self) -> int:
        """Epochs of the whole run, the last one perhaps cut short."""
        return -(-self.total_steps // self.steps_per_epoch)

    def ends_epoch(self, step: int) -> bool:
        """Whether the network is evaluated after ``step``."""
        return step > 0 and (step % self.steps_per_epoch == 0 or step == self.total_steps)

    def was_to_evaluate(self, progress: Progress) -> bool:
        """Whether ``progress`` is that of a state from which an evaluation followed."""
        return progress.step > 0 and progress.epoch * self.steps_per_epoch >= progress.step

    def tell(
        self, epoch: int, step: int, loss: float, lr: float, pace: "Pace", group: Sequence[Any]
    ) -> None:
        """Log a step and tell the observer of it."""
        if self.log is not None:
            self.log.write("step", epoch=epoch, step=step, loss=loss, lr=lr)
        images = self.learner.world.size * sum(len(self.task.ids(batch)) for batch in group)
        speed, seconds = pace.after(step, self.total_steps, images)
        self.observer(Stepped(epoch, step, self.total_steps, loss, lr, speed, seconds))

    def save(self, progress: Progress) -> None:
        """Write what resuming needs, in the first process alone."""
        if self.log is not None:
            self.log.sync()
            self.folder.states.save(self.learner, progress, self.settings)

    def kept(self) -> str:
        """What an interrupted run leaves, and how to go on."""
        folder, saved = self.folder.path, self.folder.states.newest_step()
        if saved is None:
            return f"{folder}: nothing was saved yet; start it again"
        return (
            f"{folder} is saved at step {saved} of {self.total_steps}; continue with "
            f"`{self.command}`"
        )


def fit(run: Run, progress: Progress, stop: Interruption) -> Evaluation:
    """Train from ``progress`` (updated in place) to the last step; return the last evaluation.

    What resuming needs is saved at each interval and at the end of each epoch, which
    :func:`finish_epoch` then evaluates. Raises :class:`~fcnseg.errors.NumericError` for a loss or
    a gradient that is not finite, and :class:`~fcnseg.errors.Interrupted` after a signal, once
    the state is saved.
    """
    config, learner, total = run.config, run.learner, run.total_steps
    factor_at, pace = schedule(config.schedule), Pace(progress.step)
    evaluation = catch_up(run, progress)
    if progress.step == 0:
        run.save(progress)  # from here on there is something to resume, and room for it

    while progress.step < total:
        epoch, done = divmod(progress.step, run.steps_per_epoch)
        batches = run.batches.training(epoch, done * config.accumulate)
        learner.training_mode()
        progress.epoch, ends, asked = epoch, False, False

        with stop.at_step():
            for group in grouped(batches, config.accumulate):
                factor = factor_at(progress.step, total, config.warmup)
                set_learning_rate(learner.optimizer, factor)
                lr, step = config.rate * factor, progress.step + 1

                loss = take_step(learner, run.task, group, step, config.seed, lr)

                progress.step, progress.loss = step, progress.loss + loss
                ends, asked = run.ends_epoch(step), learner.world.sum(stop.requested)[0] > 0
                if ends:
                    progress.epoch = epoch + 1
                run.tell(epoch + 1, step, loss, lr, pace, group)
                if ends or asked or pace.is_due(config, step):
                    run.save(progress)
                    pace.saved()
                if ends or asked:
                    break

        if asked:
            learner.world.wait()  # until the first process has saved
        if asked or stop.requested:
            raise stop.error()
        assert ends, "the loader gave fewer batches than there are"
        evaluation = finish_epoch(run, progress)
    assert evaluation is not None
    return evaluation


def catch_up(run: Run, progress: Progress) -> Evaluation | None:
    """Evaluate an epoch that was trained, but whose evaluation was not finished.

    A run that was lengthened may have evaluated in the middle of an epoch, where it ended then.
    """
    if not run.was_to_evaluate(progress):
        return None
    loss = 0.0 if run.ends_epoch(progress.step) else progress.loss
    found = run.learner.world.share(run.folder.evaluation_of(progress))
    if found is None:
        evaluation = finish_epoch(run, progress)
        progress.loss = loss
        return evaluation
    progress.best_score, progress.best_epoch = found["best"]["score"], found["best"]["epoch"]
    progress.loss = loss
    if progress.step < run.total_steps:
        return None
    done = f"{run.epochs} of {run.epochs} epochs"
    run.observer(Notice(f"{run.folder.path}: finished already, {done}"))
    return run.task.evaluate(run.learner.judged)


def finish_epoch(run: Run, progress: Progress) -> Evaluation:
    """Evaluate the epoch that was trained.

    Written are, in this order, the best checkpoint, the log, what a person looks at, and
    ``metrics.json``, which stands for all of it: a run that is killed before that file is there
    evaluates again. Raises :class:`~fcnseg.errors.DataError` if nothing can be scored.
    """
    run.learner.world.agree(run.learner.judged)
    evaluation = run.task.evaluate(run.learner.judged)
    steps = progress.step - (progress.epoch - 1) * run.steps_per_epoch
    loss = progress.loss / steps
    is_best = evaluation.score > progress.best_score
    if is_best:
        progress.best_score, progress.best_epoch = evaluation.score, progress.epoch
    if run.log is not None:
        if is_best:
            save_model(run.folder.best, run.learner.judged, run.settings)
        at = {"epoch": progress.epoch, "step": progress.step}
        run.log.write("eval", **at, train_loss=loss, **evaluation.row)
        if run.gallery.is_due(last=progress.step == run.total_steps):
            with run.gallery.drawing():
                best_epoch, rows = progress.best_epoch, run.log.rows()
                run.task.show(run.learner.judged, evaluation, rows, best_epoch)
        best = {"epoch": progress.best_epoch, "score": progress.best_score}
        done = {**at, "steps": run.total_steps, "train_loss": loss}
        run.log.sync()
        run.folder.write_metrics({**done, **evaluation.row, "best": best})
    progress.loss = 0.0
    run.observer(evaluation.event(progress.epoch, run.epochs, loss, is_best))
    return evaluation


def grouped(batches: Iterable[Any], count: int) -> Iterator[list[Any]]:
    """The batches of each optimizer step: ``count``, of the last one what is left."""
    iterator = iter(batches)
    while group := list(islice(iterator, count)):
        yield group


class Pace:
    """Images per second over the last steps, the seconds left, and when the next save is due."""

    def __init__(self, first_step: int) -> None:
        self._first = first_step
        self._start = self._last = self._saved = time.perf_counter()
        self._speed = 0.0

    def after(self, step: int, total_steps: int, images: int) -> tuple[float, float]:
        """Call after each step; returns (images per second, seconds left)."""
        now = time.perf_counter()
        speed = images / max(now - self._last, 1e-9)
        self._speed = 0.9 * self._speed + 0.1 * speed if self._speed else speed
        self._last = now
        per_step = (now - self._start) / (step - self._first)
        return self._speed, per_step * (total_steps - step)

    def is_due(self, config: RunConfig, step: int) -> bool:
        """Whether ``--save-every`` asks for a save after ``step``."""
        steps, seconds = config.save_interval
        if steps is not None:
            return step % steps == 0
        return seconds is not None and time.perf_counter() - self._saved >= seconds

    def saved(self) -> None:
        """A state was written."""
        self._saved = time.perf_counter()
