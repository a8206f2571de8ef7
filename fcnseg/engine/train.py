"""Training: the loop, and the steps before it."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcnseg.class_list import inline
from fcnseg.config import TrainConfig, differences, load_config, to_yaml
from fcnseg.data.loading import Batch
from fcnseg.data.sample import Source
from fcnseg.devices import autocast
from fcnseg.engine.checkpoint import Progress, load_state, save_model, save_state
from fcnseg.engine.continuity import data_changes, describe_data
from fcnseg.engine.evaluate import evaluate, is_collapsed, scores_on
from fcnseg.engine.events import Evaluated, Notice, Observer, Started, Stepped, silent
from fcnseg.engine.log import Log
from fcnseg.engine.optimizer import build_optimizer, parameter_groups, set_learning_rate
from fcnseg.engine.run import RunFolder, named_scores
from fcnseg.engine.schedule import poly_with_warmup
from fcnseg.errors import NumericError, UsageError
from fcnseg.losses import cross_entropy
from fcnseg.metrics import Scores
from fcnseg.model import FCN, to_input

# A run continues under these without another result being expected.
_MAY_CHANGE = (
    *("run", "resume", "overwrite", "workers", "device"),
    *("data_root", "images", "masks", "annotations", "val_images", "val_masks"),
    *("val_annotations", "max_pixels", "download", "cache", "check_first"),
)


@dataclass(frozen=True)
class Batches:
    """Where the loop gets its batches: one pass of training images, and the validation images."""

    training: Callable[[int], Iterable[Batch]]  # epoch from 0 -> batches
    validation: Callable[[], Iterable[Batch]]
    steps_per_epoch: int


@dataclass(frozen=True)
class Run:
    """What stays the same through a run; ``settings`` go into the checkpoints."""

    model: FCN
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    batches: Batches
    validation: Source
    folder: RunFolder
    log: Log
    epochs: int
    device: torch.device
    precision: torch.dtype
    settings: dict[str, Any]
    class_weights: Tensor | None = None  # (K,)
    observer: Observer = silent


@dataclass(frozen=True)
class Result:
    """The end of a run. ``scores`` are those of the last epoch."""

    folder: Path
    best: Path
    best_epoch: int
    best_mean_iu: float
    scores: Scores
    classes: tuple[str, ...]


def enter(config: TrainConfig) -> RunFolder:
    """The run folder, if the run may start or resume there; changes nothing.

    Raises :class:`UsageError` for a folder that may not be used, and for a resumed run whose
    settings differ.
    """
    folder = RunFolder(config.run_folder)
    folder.check(config.resume, config.overwrite)
    if config.resume:
        check_same_settings(folder, config)
    return folder


def fit_config(
    config: TrainConfig,
    folder: RunFolder,
    model: FCN,
    batches: Batches,
    sources: tuple[Source, Source],
    device: torch.device,
    precision: torch.dtype,
    class_weights: Sequence[float] | None = None,
    observer: Observer = silent,
) -> Result:
    """Run :func:`fit` in a folder from :func:`enter`, resuming if asked; return its result.

    ``sources`` are training and validation, ``class_weights`` one number a class. Raises what
    :func:`fit` raises.
    """
    training, validation = sources
    if config.freeze == "backbone":
        model.backbone.requires_grad_(False)
    model.to(device).to(memory_format=torch.channels_last)  # faster on CPUs and GPUs
    rates = config.lr, config.head_lr_factor, config.weight_decay
    groups = parameter_groups(model.backbone, model.head, *rates)
    optimizer = build_optimizer(config.optimizer, groups)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    torch.manual_seed(config.seed)  # dropout
    progress = Progress()
    data = describe_data(sources, class_weights)
    if config.resume:
        progress = load_state(folder.state, model, optimizer, scaler)
        check_same_data(folder, progress.data, data)
    progress.data = data
    log = folder.create(to_yaml(config), progress if config.resume else None)
    lengths = len(training), len(validation)
    observer(Started(folder.path, progress.epoch, config.epochs, batches.steps_per_epoch, *lengths))
    if lengths[0] - batches.steps_per_epoch * config.batch_size == 1:
        observer(Notice("the last batch of an epoch would hold one image and is left out"))
    parts = (model, optimizer, scaler, batches, validation, folder, log)
    # Checkpoints travel without the files beside them.
    settings = {**asdict(config), "classes": inline(config.classes), "pairs": sum(lengths)}
    weights = None if class_weights is None else torch.tensor(class_weights, device=device)
    run = Run(*parts, config.epochs, device, precision, settings, weights, observer)
    frozen = config.freeze == "backbone"
    try:
        scores = fit(run, progress, config.lr, config.warmup, frozen)
    finally:
        log.close()
    best = folder.best, progress.best_epoch, progress.best_mean_iu
    return Result(folder.path, *best, scores, validation.classes)


def fit(run: Run, progress: Progress, lr: float, warmup: float, frozen_backbone: bool) -> Scores:
    """Train from ``progress`` (updated in place) to the last epoch; return the last scores.

    After each epoch the state for resuming is written, and the epoch is finished by
    :func:`finish_epoch`. Raises :class:`NumericError` for a loss that is not finite, with the
    files before it left as they are.
    """
    model, steps_per_epoch = run.model, run.batches.steps_per_epoch
    total_steps = run.epochs * steps_per_epoch
    pace = Pace(progress.step)
    if progress.evaluated < progress.epoch:
        scores = finish_epoch(run, progress)
    elif progress.epoch >= run.epochs:
        run.observer(Notice(f"all {run.epochs} epochs are done already; nothing is trained"))
        scores = score(run)

    for epoch in range(progress.epoch, run.epochs):
        model.train()
        if frozen_backbone:
            model.backbone.eval()  # batch norm keeps its statistics, dropout is off
        loss_sum = 0.0

        for batch in islice(run.batches.training(epoch), steps_per_epoch):
            factor = poly_with_warmup(progress.step, total_steps, warmup)
            set_learning_rate(run.optimizer, factor)

            pixels_N3HW = to_input(model, batch.images, run.device)
            label_NHW = batch.labels.to(run.device, non_blocking=True)
            with autocast(run.device, run.precision):
                score_NKHW = model(pixels_N3HW)
            loss = cross_entropy(score_NKHW, label_NHW, class_weights=run.class_weights)
            value = check_loss(loss, progress.step + 1, batch.ids, lr * factor)

            run.optimizer.zero_grad(set_to_none=True)
            run.scaler.scale(loss).backward()
            run.scaler.step(run.optimizer)
            run.scaler.update()

            progress.step += 1
            loss_sum += value
            speed, left = pace.after(progress.step, total_steps, len(batch.ids))
            at = epoch + 1, progress.step
            run.log.write("step", epoch=at[0], step=at[1], loss=value, lr=lr * factor)
            run.observer(Stepped(*at, total_steps, value, lr * factor, speed, left))

        progress.epoch, progress.loss = epoch + 1, loss_sum / steps_per_epoch
        save_state(run.folder.state, model, run.optimizer, progress, run.scaler)
        scores = finish_epoch(run, progress)
    return scores


def finish_epoch(run: Run, progress: Progress) -> Scores:
    """Evaluate the epoch that was trained; return its scores.

    Written are, in this order, the log, the best checkpoint by mean IU, the figures and the
    state for resuming. Raises :class:`DataError` if the validation masks are all void.
    """
    scores = score(run)
    named = named_scores(scores, run.validation.classes)
    at = {"epoch": progress.epoch, "step": progress.step}
    run.log.write("eval", **at, train_loss=progress.loss, **named)
    is_best = scores.mean_iu > progress.best_mean_iu
    if is_best:
        progress.best_mean_iu, progress.best_epoch = scores.mean_iu, progress.epoch
        save_model(run.folder.best, run.model, run.settings)
    best = {"epoch": progress.best_epoch, "mean_iu": progress.best_mean_iu}
    run.folder.write_metrics({**at, **named, "best": best})
    run.folder.write_samples(run.model, run.validation, run.device, run.precision)
    run.folder.write_curves(run.log.rows())
    progress.evaluated = progress.epoch
    save_state(run.folder.state, run.model, run.optimizer, progress, run.scaler)
    ends = progress.epoch, run.epochs
    run.observer(Evaluated(*ends, progress.loss, scores, run.validation.classes, is_best))
    return scores


def score(run: Run) -> Scores:
    """Evaluate on the validation images; the observer is warned if every prediction is one
    class. Raises :class:`DataError` if the validation masks are all void."""
    source, batches = run.validation, run.batches.validation()
    confusion = evaluate(run.model, batches, run.device, run.precision, run.observer, len(source))
    scores = scores_on(source, confusion)
    if is_collapsed(confusion):
        only = source.classes[int(confusion.counts.sum(0).argmax())]
        text = f"every validation pixel is predicted as {only!r}, although the truth has several "
        run.observer(Notice(f"{text}classes; train longer or change --lr", warning=True))
    return scores


def check_loss(loss: Tensor, step: int, ids: Sequence[str], lr: float) -> float:
    """The loss as a number. Raises :class:`NumericError` naming step, images and rate unless it
    is finite."""
    value = float(loss.detach())
    if not math.isfinite(value):
        raise NumericError(
            f"step {step}: the loss is {value} at learning rate {lr:.3g} on {', '.join(ids)}; "
            "the checkpoints written before are intact; lower --lr"
        )
    return value


def steps_in_epoch(images: int, batch_size: int) -> int:
    """Batches in a pass; a last batch of one image is left out, unless it is the only one.

    Batch norm cannot learn from a single image whose map is a single cell.
    """
    whole, rest = divmod(images, batch_size)
    return max(1, whole + (rest > 1))


def check_same_settings(folder: RunFolder, config: TrainConfig) -> None:
    """Raise :class:`UsageError` naming the settings in which a resumed run would differ."""
    changed = differences(load_config(TrainConfig, folder.config, {}), config, _MAY_CHANGE)
    if changed:
        raise UsageError(
            f"{folder.path}: cannot be resumed with other settings ({', '.join(changed)}); "
            "leave them out, or start another --run with --init-from"
        )


def check_same_data(folder: RunFolder, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise :class:`UsageError` naming what a resumed run would find changed in its data."""
    changed = data_changes(then, now)
    if changed:
        raise UsageError(
            f"{folder.path}: cannot be resumed, because its data have changed "
            f"({'; '.join(changed)}); restore them, or start another --run with --init-from"
        )


class Pace:
    """Images per second over the last steps, and the seconds left at the pace since the start."""

    def __init__(self, first_step: int) -> None:
        self._first = first_step
        self._start = self._last = time.perf_counter()
        self._speed = 0.0

    def after(self, step: int, total_steps: int, images: int) -> tuple[float, float]:
        """Call after each step; returns (images per second, seconds left)."""
        now = time.perf_counter()
        speed = images / max(now - self._last, 1e-9)
        self._speed = 0.9 * self._speed + 0.1 * speed if self._speed else speed
        self._last = now
        per_step = (now - self._start) / (step - self._first)
        return self._speed, per_step * (total_steps - step)
