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

from fcnseg.config import TrainConfig, differences, load_config, to_yaml
from fcnseg.data.loading import Batch
from fcnseg.data.sample import Source
from fcnseg.devices import autocast
from fcnseg.engine.checkpoint import Progress, load_state, save_model, save_state
from fcnseg.engine.evaluate import evaluate, is_collapsed
from fcnseg.engine.events import Evaluated, Notice, Observer, Started, Stepped, silent
from fcnseg.engine.log import Log
from fcnseg.engine.optimizer import build_optimizer, parameter_groups, set_learning_rate
from fcnseg.engine.run import RunFolder, named_scores
from fcnseg.engine.schedule import poly_with_warmup
from fcnseg.errors import NumericError, UsageError
from fcnseg.losses import cross_entropy
from fcnseg.metrics import ConfusionMatrix, Scores
from fcnseg.model import FCN, to_input

# A run continues under these without another result being expected.
_MAY_CHANGE = (
    *("run", "resume", "overwrite", "workers", "device"),
    *("data_root", "images", "masks", "val_images", "val_masks"),
)


@dataclass(frozen=True)
class Batches:
    """Where the loop gets its batches: one pass of training images, and the validation images."""

    training: Callable[[int], Iterable[Batch]]  # epoch from 0 -> batches
    validation: Callable[[], Iterable[Batch]]
    steps_per_epoch: int


@dataclass(frozen=True)
class Result:
    """The end of a run. ``scores`` are those of the last epoch."""

    folder: Path
    best: Path
    best_epoch: int
    best_mean_iu: float
    scores: Scores
    classes: tuple[str, ...]


def fit_config(
    config: TrainConfig,
    model: FCN,
    batches: Batches,
    training_source: Source,
    validation_source: Source,
    device: torch.device,
    precision: torch.dtype,
    observer: Observer = silent,
) -> Result:
    """Enter the run folder, resume if asked, run :func:`fit` and return its result.

    Raises :class:`UsageError` for a folder that may not be used or a resumed run whose settings
    differ, and what :func:`fit` raises.
    """
    folder = RunFolder(config.run_folder)
    folder.check(config.resume, config.overwrite)
    if config.resume:
        check_same_settings(folder, config)
    if config.freeze == "backbone":
        model.backbone.requires_grad_(False)
    model.to(device).to(memory_format=torch.channels_last)  # faster on CPUs and GPUs
    optimizer = build_optimizer(
        config.optimizer,
        parameter_groups(
            model.backbone, model.head, config.lr, config.head_lr_factor, config.weight_decay
        ),
    )
    torch.manual_seed(config.seed)  # dropout
    progress = load_state(folder.state, model, optimizer) if config.resume else Progress()
    log = folder.create(to_yaml(config), progress.step if config.resume else None)
    lengths = len(training_source), len(validation_source)
    observer(Started(folder.path, progress.epoch, config.epochs, batches.steps_per_epoch, *lengths))
    if lengths[0] - batches.steps_per_epoch * config.batch_size == 1:
        observer(Notice("the last batch of an epoch would hold one image and is left out"))
    try:
        scores = fit(
            *(model, optimizer, batches, validation_source, folder, log, progress),
            epochs=config.epochs,
            warmup=config.warmup,
            frozen_backbone=config.freeze == "backbone",
            device=device,
            precision=precision,
            settings=asdict(config),
            observer=observer,
        )
    finally:
        log.close()
    return Result(
        folder.path,
        folder.best,
        progress.best_epoch,
        progress.best_mean_iu,
        scores,
        validation_source.classes,
    )


def fit(
    model: FCN,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    validation_source: Source,
    folder: RunFolder,
    log: Log,
    progress: Progress,
    *,
    epochs: int,
    warmup: float,
    frozen_backbone: bool,
    device: torch.device,
    precision: torch.dtype,
    settings: dict[str, Any],
    observer: Observer = silent,
) -> Scores:
    """Train from ``progress`` (updated in place) to ``epochs``; return the last scores.

    After each epoch the model is evaluated, and the log, the best checkpoint by mean IU, the
    figures and the state for resuming are written, in this order. Raises :class:`NumericError`
    for a loss that is not finite, with the files before it left as they are.
    """
    total_steps = epochs * batches.steps_per_epoch
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    pace = Pace(progress.step)
    if progress.epoch >= epochs:
        observer(Notice(f"all {epochs} epochs are done already; nothing is trained"))
        return score(model, batches, validation_source, device, precision, observer).scores()

    for epoch in range(progress.epoch, epochs):
        model.train()
        if frozen_backbone:
            model.backbone.eval()  # batch norm keeps its statistics, dropout is off
        loss_sum = 0.0

        for batch in islice(batches.training(epoch), batches.steps_per_epoch):
            factor = poly_with_warmup(progress.step, total_steps, warmup)
            lr = set_learning_rate(optimizer, factor)

            pixels_N3HW = to_input(model, batch.images, device)
            label_NHW = batch.labels.to(device, non_blocking=True)
            with autocast(device, precision):
                score_NKHW = model(pixels_N3HW)
            loss = cross_entropy(score_NKHW, label_NHW)
            value = check_loss(loss, progress.step + 1, batch.ids, lr)

            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

            progress.step += 1
            loss_sum += value
            speed, left = pace.after(progress.step, total_steps, len(batch.ids))
            log.write("step", epoch=epoch + 1, step=progress.step, loss=value, lr=lr)
            observer(Stepped(epoch + 1, progress.step, total_steps, value, lr, speed, left))

        progress.epoch = epoch + 1
        confusion = score(model, batches, validation_source, device, precision, observer)
        scores = confusion.scores()
        best = scores.mean_iu > progress.best_mean_iu
        loss_mean = loss_sum / batches.steps_per_epoch
        named = named_scores(scores, validation_source.classes)
        log.write("eval", epoch=epoch + 1, step=progress.step, train_loss=loss_mean, **named)
        if best:
            progress.best_mean_iu, progress.best_epoch = scores.mean_iu, epoch + 1
            save_model(folder.best, model, settings)
        write_report(folder, log, model, validation_source, progress, named, device, precision)
        save_state(folder.state, model, optimizer, progress)
        observer(Evaluated(epoch + 1, epochs, loss_mean, scores, validation_source.classes, best))
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


def score(
    model: FCN,
    batches: Batches,
    source: Source,
    device: torch.device,
    precision: torch.dtype,
    observer: Observer,
) -> ConfusionMatrix:
    """Evaluate on the validation images and warn if every prediction is one class."""
    total = len(source)
    confusion = evaluate(model, batches.validation(), device, precision, observer, total)
    if is_collapsed(confusion):
        only = source.classes[int(confusion.counts.sum(0).argmax())]
        text = f"every validation pixel is predicted as {only!r}, although the truth has several "
        observer(Notice(f"{text}classes; train longer or change --lr", warning=True))
    return confusion


def write_report(
    folder: RunFolder,
    log: Log,
    model: FCN,
    source: Source,
    progress: Progress,
    named: dict[str, Any],
    device: torch.device,
    precision: torch.dtype,
) -> None:
    """Write ``metrics.json``, the sample panels and the curves of an evaluation."""
    best = {"epoch": progress.best_epoch, "mean_iu": progress.best_mean_iu}
    folder.write_metrics({"epoch": progress.epoch, "step": progress.step, **named, "best": best})
    folder.write_samples(model, source, device, precision)
    folder.write_curves(log.rows())


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
