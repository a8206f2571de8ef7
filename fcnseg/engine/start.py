"""Entering a run folder, and everything that has to be right before the first step."""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from fcnseg.config import Settings, differences, load_config, to_yaml
from fcnseg.data.workers import killed_workers_named
from fcnseg.devices import choose_precision
from fcnseg.engine.average import Average
from fcnseg.engine.checkpoint import Progress
from fcnseg.engine.compiling import Compiled, check_compiler
from fcnseg.engine.continuity import data_changes, machine_changes
from fcnseg.engine.events import Notice, Observer, Started, silent
from fcnseg.engine.interrupt import Interruption
from fcnseg.engine.lock import locked
from fcnseg.engine.optimizer import build_optimizer, parameter_groups
from fcnseg.engine.run import RunFolder
from fcnseg.engine.step import Learner
from fcnseg.engine.task import Task
from fcnseg.engine.tensorboard import with_tensorboard, writer_class
from fcnseg.engine.train import Batches, Run, fit
from fcnseg.engine.world import World, joined
from fcnseg.errors import EnvironmentFault, Interrupted, UsageError, WeightsError
from fcnseg.run_config import MACHINE, RunConfig

# A run continues under these without another result being expected; that the images of a step
# stay as many is looked at apart.
_MAY_CHANGE = (
    *(*MACHINE, "batch_size", "accumulate"),
    *("data_root", "images", "masks", "annotations", "val_images", "val_masks"),
    *("val_annotations", "max_pixels", "download", "cache", "check_first", "init_from"),
)


@dataclass(frozen=True)
class Result:
    """The end of a run. ``evaluation`` is that of the last epoch."""

    folder: Path
    best: Path
    best_epoch: int
    best_score: float
    evaluation: Any


def enter(config: Any) -> RunFolder:
    """The run folder, if the run may start or resume there; changes nothing.

    Raises :class:`UsageError` for a folder that may not be used, and for a resumed run whose
    settings differ, or without the package of TensorBoard where its events are wanted.
    """
    folder = RunFolder(config.run_folder)
    folder.check(config.resume, config.overwrite)
    if config.resume:
        check_same_settings(folder, config)
    if config.tensorboard:
        writer_class()
    return folder


@dataclass(frozen=True)
class Entered:
    """A run folder that is this training's own, and what computes."""

    folder: RunFolder
    world: World
    precision: torch.dtype
    observer: Observer


@contextlib.contextmanager
def entered(config: Any, observer: Observer = silent) -> Iterator[Entered]:
    """Join the other processes, if there are any, and lock the run folder.

    The observer is that of the first process; the others tell nobody. Raises
    :class:`UsageError` as :func:`enter` does or for a device that is not there, and
    :class:`~fcnseg.errors.EnvironmentFault` where another training has the folder.
    """
    with joined(config.device) as world, contextlib.ExitStack() as held:
        if world.is_first:
            folder = enter(config)
            held.enter_context(locked(folder.path))
        world.wait()
        if config.deterministic:
            held.enter_context(deterministic_algorithms())
        yield Entered(
            RunFolder(config.run_folder),
            world,
            choose_precision(config.precision, world.device),
            observer if world.is_first else silent,
        )


@contextlib.contextmanager
def deterministic_algorithms() -> Iterator[None]:
    """Ask CUDA for algorithms that give the same bits each time, as far as it has them."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def build_learner(
    config: RunConfig,
    model: nn.Module,
    head: nn.Module,
    device: torch.device,
    precision: torch.dtype,
    world: World | None = None,
) -> Learner:
    """``model``, moved to ``device``, with all that trains it.

    ``head`` is the part of it that starts anew: it has a learning rate of its own, and with
    ``--freeze backbone`` nothing else is trained or keeps gradients.
    """
    world = world or World()
    model.to(device).to(memory_format=torch.channels_last)  # faster on CPUs and GPUs
    frozen = config.freeze == "backbone"
    if frozen:
        model.requires_grad_(False)
        head.requires_grad_(True)
    rates = config.rate, config.head_lr_factor, config.weight_decay, config.bias_lr_factor
    groups = parameter_groups(model, head, *rates)
    net: nn.Module = model
    if config.compile:
        check_compiler(device)
        net = Compiled(model)
    return Learner(
        model=model,
        net=world.wrap(net, device),
        head=head,
        optimizer=build_optimizer(config.optimizer, groups, config.momentum),
        scaler=torch.amp.GradScaler(device.type, enabled=precision == torch.float16),
        average=Average(model, config.ema) if config.ema else None,
        frozen=frozen,
        clip_norm=config.clip_norm or math.inf,
        world=world,
    )


def fit_config(
    config: RunConfig,
    folder: RunFolder,
    learner: Learner,
    task: Task,
    batches: Batches,
    data: dict[str, Any],
    machine: dict[str, Any],
    settings: Mapping[str, Any],
    command: str,
    stop: Interruption | None = None,
    observer: Observer = silent,
) -> Result:
    """Run :func:`fit` in a folder from :func:`enter`, resuming if asked; return its result.

    Args:
        config: how the training runs.
        folder: where.
        learner: what is trained.
        task: what for.
        batches: on what.
        data: of :func:`~fcnseg.engine.continuity.describe_data`; a resumed run must find it so.
        machine: of :func:`~fcnseg.engine.continuity.describe_machine`; a change is said.
        settings: of the configuration; checkpoints keep those that decide what is computed.
        command: what continues the run, for the message of one that is interrupted.
        stop: a request to end; none is heard if None.
        observer: told of everything.

    Raises what :func:`fit` raises.
    """
    kept = {name: value for name, value in settings.items() if name not in MACHINE}
    run = Run(config, learner, task, batches, folder, None, kept, command, observer)
    data = {**data, "steps an epoch": run.steps_per_epoch}
    machine = {**machine, "batch size": config.batch_size, "batches a step": config.accumulate}
    progress = Progress()
    if config.resume:
        progress, notes = folder.states.load(learner)
        check_same_state(folder, learner.world.gather(progress.step))
        changed = machine_changes(progress.machine, machine)
        if changed:
            text = f"{folder.path}: goes on with other conditions ({', '.join(changed)}); "
            notes.append(f"{text}the result may differ from that of an unbroken run")
        for note in notes:
            observer(Notice(note, warning=True))
        check_same_data(folder, progress.data, data)
        check_position(run, progress)
    progress.data, progress.machine = data, machine
    if learner.world.is_first:
        unfinished = run.was_to_evaluate(progress) and folder.evaluation_of(progress) is None
        resumed = progress if config.resume else None
        stored = cast(Settings, replace(config, resume=False, overwrite=False))
        log = folder.create(to_yaml(stored), resumed, not unfinished)
        run = replace(run, log=log)
    counts = run.batches.images
    ends = min(progress.step // run.steps_per_epoch, run.epochs), run.epochs
    if progress.step < run.total_steps:
        position = progress.step, run.total_steps
        observer(Started(folder.path, *ends, run.steps_per_epoch, *counts, *position))
    images = run.batches.per_epoch * config.batch_size * learner.world.size
    if counts[0] > images:
        left = "image is" if counts[0] == images + 1 else f"{counts[0] - images} images are"
        text = f"the last {left} left out of each epoch: too few for a batch of their own"
        observer(Notice(text))
    try:
        with ExitStack() as held:
            if config.tensorboard and learner.world.is_first:
                written = with_tensorboard(folder.tensorboard, run.steps_per_epoch, observer)
                run = replace(run, observer=held.enter_context(written))
            with killed_workers_named():
                evaluation = fit(run, progress, stop or Interruption())
    except Interrupted as error:
        raise Interrupted(f"{error}; {run.kept()}", error.exit_code) from None
    finally:
        if run.log is not None:
            run.log.close()
    return Result(folder.path, folder.best, progress.best_epoch, progress.best_score, evaluation)


def check_same_settings(folder: RunFolder, config: Any) -> None:
    """Raise :class:`UsageError` naming the settings in which a resumed run would differ."""
    then = load_config(type(config), folder.config, {})
    may: tuple[str, ...] = _MAY_CHANGE
    if config.schedule == "constant" and config.warmup == 0 == then.warmup:
        may = (*may, "epochs", "iterations")  # the steps before do not depend on it
    changed = differences(replace(then, lr=then.rate), replace(config, lr=config.rate), may)
    if changed:
        longer = any(line.startswith(("epochs", "iterations")) for line in changed)
        why = " (its learning rates are laid out over all steps)" if longer else ""
        raise UsageError(
            f"{folder.path}: cannot be resumed with other settings ({', '.join(changed)}){why}; "
            "leave them out, or start another --run from its best checkpoint"
        )


def check_same_data(folder: RunFolder, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise :class:`UsageError` naming what a resumed run would find changed in its data."""
    before, after = then.get("images a step"), now.get("images a step")
    if before != after:
        raise UsageError(
            f"{folder.path}: a step had {before} images and would have {after}; give such "
            "--batch-size, --accumulate and number of processes that their product is the same"
        )
    changed = data_changes(then, now)
    if changed:
        raise UsageError(
            f"{folder.path}: cannot be resumed, because its data have changed "
            f"({'; '.join(changed)}); restore them, or start another --run from its best checkpoint"
        )


def check_same_state(folder: RunFolder, steps: list[int]) -> None:
    """Raise :class:`EnvironmentFault` unless all processes resume at one step."""
    if len(set(steps)) > 1:
        raise EnvironmentFault(
            f"{folder.path}: the processes found states of other steps there "
            f"({', '.join(map(str, steps))}); give a --run that all hosts see"
        )


def check_position(run: Run, progress: Progress) -> None:
    """Raise :class:`UsageError` for a run that is beyond its end already, and
    :class:`WeightsError` for steps and epochs that contradict each other."""
    step, total, each = progress.step, run.total_steps, run.steps_per_epoch
    if step > total:
        raise UsageError(
            f"{run.folder.path}: is at step {step} already, beyond the {total} asked for; give "
            "more --epochs or --iterations, or another --run"
        )
    if not step // each <= progress.epoch <= -(-step // each):
        raise WeightsError(
            f"{run.folder.path}: its state says step {step} and epoch {progress.epoch}, which are "
            f"not possible with {each} steps an epoch; start another --run from its best checkpoint"
        )
