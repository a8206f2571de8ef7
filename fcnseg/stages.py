"""Training in stages, as the paper does: FCN-32s, then 16s, then 8s, each from the last."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fcnseg.build import build_fcn
from fcnseg.config import TrainConfig, load_config, to_yaml, validate
from fcnseg.engine.command import resuming
from fcnseg.engine.events import Notice, Observer, silent
from fcnseg.engine.interrupt import Interruption
from fcnseg.engine.lock import locked
from fcnseg.engine.run import RunFolder, is_unfinished
from fcnseg.engine.start import Result, check_same_settings
from fcnseg.engine.world import is_first_process
from fcnseg.errors import UsageError
from fcnseg.files import write_atomically
from fcnseg.training import train


def train_all(
    config: TrainConfig, observer: Observer = silent, stop: Interruption | None = None
) -> list[Result]:
    """Train the stages of ``config``, or without any the one variant; the result of each.

    Each stage is a run of its own in a folder named after it, and starts from the weights with
    which the stage before ended (CVPR 2015, section 4.3). A resumed training goes on in the stage
    that is not finished. Raises what :func:`fcnseg.training.train` raises, also where another
    training has the folder of all stages.
    """
    validate(config)
    if not config.stage_names:
        return [train(config, observer, stop)]
    config = replace(config, stages=",".join(config.stage_names))
    folder = config.run_folder
    with ExitStack() as held:
        if is_first_process():
            if folder.exists() and not folder.is_dir():
                raise UsageError(f"{folder}: is a file; give a folder with --run")
            held.enter_context(locked(folder))
            _enter(config, folder)
        return _train_stages(config, folder, observer, stop)


def _train_stages(
    config: TrainConfig, folder: Path, observer: Observer, stop: Interruption | None
) -> list[Result]:
    results = []
    before: dict[str, Any] = {}
    resumed_by = resuming("fcnseg train", folder, _processes())
    for number, variant in enumerate(config.stage_names, 1):
        place = RunFolder(folder / variant)
        saved = config.resume and bool(place.states.files())
        if is_first_process():
            observer(Notice(f"stage {number} of {len(config.stage_names)}: FCN-{variant}"))
        stage = replace(
            config,
            variant=variant,
            stages=None,
            run=str(place.path),
            resume=saved,
            overwrite=not saved and place.path.is_dir(),
            **before,
        )
        results.append(train(stage, observer, stop, resumed_by=resumed_by))
        # The weights of the classifier are in the state, and the first stage has looked.
        start = str(place.states.files()[0])
        before = {"init_from": start, "weights": "none", "check_first": "none"}
    return results


def check_stage(config: TrainConfig, variant: str) -> None:
    """Build the network of a stage on shapes alone, before any stage is trained.

    Raises :class:`UsageError` for a variant that the backbone does not have.
    """
    how: dict[str, Any] = {"padding": config.padding, "output_stride": config.output_stride}
    with torch.device("meta"):
        build_fcn(config.backbone, variant, 2, **how)


def _processes() -> int:
    processes = os.environ.get("WORLD_SIZE", "1")  # what is no number the first stage refuses
    return max(1, int(processes)) if processes.isdecimal() else 1


def _enter(config: TrainConfig, folder: Path) -> None:
    """Make the folder of all stages; it keeps the settings, for resuming.

    Raises :class:`UsageError` if they may not be trained or resumed there.
    """
    stored = folder / "config.yaml"
    if config.resume:
        if not stored.is_file():
            raise UsageError(f"{folder}: nothing to resume; start it without --resume")
        _check_same(config, folder, stored)
        return
    occupied = not all(is_unfinished(path.name) for path in folder.iterdir())
    if occupied and not config.overwrite:
        raise UsageError(f"{folder}: exists already; give --resume, --overwrite or another --run")
    if occupied and not stored.is_file():
        raise UsageError(f"{folder}: not a run folder, so not overwritten; give another")
    for variant in config.stage_names:
        check_stage(config, variant)
    for variant in config.stage_names:
        place = RunFolder(folder / variant)
        if place.states.files():  # a killed training must not go on in an old stage
            with locked(place.path):
                place.forget_states()
    write_atomically(stored, to_yaml(replace(config, overwrite=False)).encode())


def _check_same(config: TrainConfig, folder: Path, stored: Path) -> None:
    check_same_settings(RunFolder(folder), config)
    then = load_config(TrainConfig, stored, {})
    # A run alone may be lengthened; here the stage after it has started from its end already.
    if (then.epochs, then.iterations) != (config.epochs, config.iterations):
        raise UsageError(
            f"{folder}: --epochs, --iterations: stages cannot be lengthened, since each starts "
            "from the end of the one before; leave them out, or start another --run"
        )
