"""Checkpoints: a model with all that its use needs, and the state that training resumes from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fcnseg
from fcnseg.engine.tensors import read_content, read_tensors, write_tensors
from fcnseg.errors import NumericError, WeightsError
from fcnseg.model import FCN
from fcnseg.upsample import Upsample
from fcnseg.weights.state import shown


@dataclass
class Progress:
    """How far a run is: epochs trained, optimizer steps, the best mean IU and its epoch.

    ``evaluated`` is ``epoch``, or one less while the scores of the epoch are still to come;
    ``loss`` is the mean training loss of the epoch. ``data`` is what
    :func:`~fcnseg.engine.continuity.describe_data` says of the samples; {} in older runs.
    """

    epoch: int = 0
    step: int = 0
    best_mean_iu: float = -1.0
    best_epoch: int = 0
    evaluated: int = 0
    loss: float = 0.0
    data: dict[str, Any] = field(default_factory=dict)


def save_model(path: str | Path, model: FCN, config: Mapping[str, Any] | None = None) -> None:
    """Write weights, classes, palette, preprocessing and ``config`` as one safetensors file.

    Raises :class:`NumericError` if a tensor is not finite and :class:`EnvironmentFault` if the
    disk refuses; a file that was there before is then untouched.
    """
    tensors = model.state_dict()
    _check_finite(path, tensors)
    content = {
        "kind": "model",
        "version": fcnseg.__version__,
        "info": model.info.to_dict(),
        "config": dict(config or {}),
    }
    write_tensors(Path(path), tensors, content)


def read_model(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The ``ModelInfo`` dictionary and the tensors of a checkpoint.

    Raises :class:`WeightsError` for a missing, damaged or foreign file.
    """
    content, tensors = read_tensors(Path(path))
    if content.get("kind") != "model":
        raise WeightsError(f"{path}: a training state, not a model; give best.safetensors")
    info = content.get("info")
    if not isinstance(info, dict):
        raise WeightsError(f"{path}: does not say what network it holds; give another checkpoint")
    return info, tensors


def read_config(path: str | Path) -> dict[str, Any]:
    """The settings that a checkpoint was trained with, {} where none were stored.

    Beside those of ``TrainConfig`` there is ``pairs``, the number of images with masks, of
    training and validation together.

    The file's sha256 is not checked; :func:`read_model` does. Raises :class:`WeightsError` for a
    missing or foreign file.
    """
    return dict(read_content(Path(path)).get("config") or {})


def save_state(
    path: Path,
    model: FCN,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Write what resuming needs: weights, optimizer, loss scale, random states and progress."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    _check_finite(path, tensors)
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if value is not None:
                tensors[f"optimizer.{index}.{key}"] = value
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        for index, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"random.cuda.{index}"] = state
    content = {
        "kind": "state",
        "version": fcnseg.__version__,
        "progress": asdict(progress),
        "scaler": {} if scaler is None else scaler.state_dict(),
    }
    write_tensors(path, tensors, content)


def load_state(
    path: Path,
    model: FCN,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None = None,
) -> Progress:
    """Restore in place what :func:`save_state` wrote and return the progress.

    Learning rates and decays are not restored: they follow from the configuration and the step.
    Raises :class:`WeightsError` if the file is damaged or belongs to another network.
    """
    content, tensors = read_tensors(path)
    if content.get("kind") != "state":
        raise WeightsError(f"{path}: a model, not a training state; start a run with --init-from")
    load_tensors(path, model, _below(tensors, "model."))
    _load_optimizer(optimizer, _below(tensors, "optimizer."))
    torch.set_rng_state(tensors["random.cpu"])
    if torch.cuda.is_available():
        for index, state in _below(tensors, "random.cuda.").items():
            if int(index) < torch.cuda.device_count():
                torch.cuda.set_rng_state(state, int(index))
    if scaler is not None and content.get("scaler"):
        scaler.load_state_dict(content["scaler"])
    return Progress(**content["progress"])


def load_tensors(path: str | Path, model: FCN, tensors: Mapping[str, Tensor]) -> None:
    """Load every tensor of ``model``. Raises :class:`WeightsError` with counts unless the names
    and shapes are exactly the model's."""
    own = model.state_dict()
    missing = [name for name in own if name not in tensors]
    extra = [name for name in tensors if name not in own]
    other = [n for n in own if n in tensors and own[n].shape != tensors[n].shape]
    if missing or extra or other:
        first = (missing + extra + other)[0]
        raise WeightsError(
            f"{path}: does not fit this {model.info.backbone} {model.info.variant}: "
            f"{len(missing)} tensors missing, {len(extra)} unknown, {len(other)} of another shape "
            f"(first: {shown(first)}); give a checkpoint of the same network"
        )
    model.load_state_dict(tensors)


def load_fitting(path: str | Path, model: FCN) -> tuple[int, list[str]]:
    """Start ``model`` from a checkpoint of another variant or other classes.

    Tensors of the same name and shape are taken over, except for upsampling kernels that are
    fixed in ``model``: these stay bilinear. Returns the number of tensors taken and the names of
    the others that keep their initial values. Raises :class:`WeightsError` if the backbone is
    another or no tensor fits.
    """
    info, tensors = read_model(path)
    if info.get("backbone") != model.info.backbone:
        theirs = shown(str(info.get("backbone")))
        raise WeightsError(
            f"{path}: made from {theirs}, this network from {model.info.backbone}; "
            f"use --backbone {theirs}"
        )
    fixed = {
        f"{name}.{buffer}"
        for name, module in model.named_modules()
        if isinstance(module, Upsample)
        for buffer, _ in module.named_buffers()
    }
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in fixed}
    fitting = {n: t for n, t in tensors.items() if n in own and own[n].shape == t.shape}
    kept = [name for name in own if name not in fitting]
    if not fitting:
        raise WeightsError(f"{path}: none of its {len(tensors)} tensors fits this network")
    model.load_state_dict({**model.state_dict(), **fitting})
    return len(fitting), kept


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        like = parameters[int(index)]
        if tensor.shape == like.shape:
            # the memory format of the parameter, so that the arithmetic is the same to the bit
            tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
        states.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}


def _check_finite(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NumericError(
                f"{path}: not written, because {name} holds NaN or infinity; the checkpoint "
                "before is kept; lower the learning rate"
            )
