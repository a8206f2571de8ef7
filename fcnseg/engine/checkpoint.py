"""Checkpoints: a model with all that its use needs, and the state that training resumes from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fcnseg
from fcnseg.engine.average import Average
from fcnseg.engine.tensors import read_content, read_tensors, write_tensors
from fcnseg.errors import NumericError, WeightsError
from fcnseg.model import FCN
from fcnseg.upsample import Upsample
from fcnseg.weights.state import shown

_REMEMBERED = {"AdamW": ("step", "exp_avg", "exp_avg_sq"), "SGD": ("momentum_buffer",)}
_KINDS = {"model": "a segmentation network", "classifier": "a classifier"}


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        epoch: epochs trained to their end.
        step: optimizer steps.
        loss: sum of the losses of the steps since the last epoch that was evaluated.
        best_score: the highest score of an evaluation, -1 before the first, and its epoch.
        best_epoch: see above; 0 before the first.
        data: what :func:`~fcnseg.engine.continuity.describe_data` says of the samples.
        machine: what :func:`~fcnseg.engine.continuity.describe_machine` says.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    best_score: float = -1.0
    best_epoch: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)


def save_model(path: str | Path, model: Any, config: Mapping[str, Any] | None = None) -> None:
    """Write weights, classes, palette, preprocessing and ``config`` as one safetensors file.

    ``model`` is an :class:`~fcnseg.model.FCN` or another module whose ``info`` has a ``kind``
    and a ``to_dict()``.

    Raises :class:`NumericError` if a tensor is not finite and :class:`EnvironmentFault` if the
    disk refuses; a file that was there before is then untouched.
    """
    tensors = model.state_dict()
    _check_finite(path, tensors)
    content = {
        "kind": model.info.kind,
        "version": fcnseg.__version__,
        "info": model.info.to_dict(),
        "config": dict(config or {}),
    }
    write_tensors(Path(path), tensors, content)


def read_model(path: str | Path, kind: str = "model") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description and the tensors of a network in a checkpoint.

    A state for resuming will do too: what is read of it is the averaged network where it has one.
    ``kind`` is ``"model"`` for an FCN, ``"classifier"`` for a classifier. Raises
    :class:`WeightsError` for a missing, damaged or foreign file.
    """
    content, tensors = read_tensors(Path(path))
    found = content.get("kind")
    if found == "state":
        found = content.get("model")
        averaged = _below(tensors, "average.module.")
        tensors = averaged or _below(tensors, "model.")
    if found != kind:
        wanted, got = _KINDS.get(kind, kind), _KINDS.get(str(found), shown(str(found)))
        takes = "heatmap, classify and --weights of train take it, here give"
        otherwise = takes if found == "classifier" else "give"
        raise WeightsError(f"{path}: holds {got}, not {wanted}; {otherwise} another checkpoint")
    info = content.get("info")
    if not isinstance(info, dict):
        raise WeightsError(f"{path}: does not say what network it holds; give another checkpoint")
    return info, tensors


def kind_of(path: str | Path) -> str:
    """``"model"`` or ``"classifier"``: what network a checkpoint holds.

    Raises :class:`WeightsError` for a missing or foreign file.
    """
    content = read_content(Path(path))
    return str(content.get("model" if content.get("kind") == "state" else "kind"))


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
    model: Any,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    scaler: torch.amp.GradScaler | None = None,
    average: Average | None = None,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Write what resuming needs: weights, their average, optimizer, loss scale and progress.

    There is no random state among it: the order of the samples, their augmentation and what is
    random in the network are functions of the seed and the position.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if value is not None:
                tensors[f"optimizer.{index}.{key}"] = value
    _check_finite(path, tensors)
    content = {
        "kind": "state",
        "version": fcnseg.__version__,
        "model": model.info.kind,
        "info": model.info.to_dict(),
        "config": dict(config or {}),
        "progress": asdict(progress),
        "scaler": {} if scaler is None else scaler.state_dict(),
    }
    write_tensors(path, tensors, content)


def load_state(
    path: Path,
    model: Any,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None = None,
    average: Average | None = None,
) -> Progress:
    """Restore in place what :func:`save_state` wrote and return the progress.

    Learning rates and decays are not restored: they follow from the configuration and the step.
    Raises :class:`WeightsError` if the file is damaged or belongs to another network; nothing is
    restored then.
    """
    content, tensors = read_tensors(path)
    if content.get("kind") != "state":
        raise WeightsError(f"{path}: a model, not a training state; start another --run from it")
    progress = _progress(path, content.get("progress"))
    wrong = _not_finite(tensors)
    if wrong is not None:
        raise WeightsError(f"{path}: {shown(wrong)} holds NaN or infinity; not a state")
    averaged = _below(tensors, "average.")
    if bool(averaged) != (average is not None):
        has = "has" if averaged else "has no"
        raise WeightsError(f"{path}: {has} averaged weights; resume with the --ema it began with")
    states = _optimizer_states(path, optimizer, _below(tensors, "optimizer."))
    scale = content.get("scaler")
    if not isinstance(scale, dict) or not all(isinstance(v, (int, float)) for v in scale.values()):
        raise WeightsError(f"{path}: its loss scale is {shown(repr(scale))}; not a state")
    if average is not None:
        average.load(averaged)
    load_tensors(path, model, _below(tensors, "model."))
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    if scaler is not None and scale.keys() == scaler.state_dict().keys():
        scaler.load_state_dict(scale)
    return progress


def _progress(path: Path, values: Any) -> Progress:
    kinds = {item.name: type(getattr(Progress(), item.name)) for item in fields(Progress)}
    if not isinstance(values, dict) or set(values) != set(kinds):
        raise WeightsError(
            f"{path}: does not say how far the run was, or was written by another version of "
            "fcnseg; start another --run from the best checkpoint"
        )
    for name, kind in kinds.items():
        numbers = (int, float) if kind is float else (kind,)
        if not isinstance(values[name], numbers) or isinstance(values[name], bool):
            raise WeightsError(f"{path}: its {name} is {shown(repr(values[name]))}; not a state")
        least = -1 if name == "best_score" else 0
        if kind is not dict and not least <= values[name] < 2**63:
            raise WeightsError(f"{path}: its {name} is {values[name]}; not a state")
    return Progress(**values)


def load_tensors(path: str | Path, model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Load every tensor of ``model``. Raises :class:`WeightsError` with counts unless the names
    and shapes are exactly the model's."""
    own = model.state_dict()
    missing = [name for name in own if name not in tensors]
    extra = [name for name in tensors if name not in own]
    other = [n for n in own if n in tensors and own[n].shape != tensors[n].shape]
    if missing or extra or other:
        first = (missing + extra + other)[0]
        raise WeightsError(
            f"{path}: does not fit this {model.info.backbone} "
            f"{getattr(model.info, 'variant', 'classifier')}: "
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


def _optimizer_states(
    path: Path, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> dict[int, dict[str, Tensor]]:
    """What the optimizer remembers of each parameter, in the parameter's memory format.

    Raises :class:`WeightsError` unless every tensor is a number or has its parameter's shape.
    """
    remembered = _REMEMBERED[type(optimizer).__name__]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        known = index.isdecimal() and int(index) < len(parameters) and key in remembered
        like = parameters[int(index)] if known else None
        if like is None or tensor.shape != (() if key == "step" else like.shape):
            raise WeightsError(
                f"{path}: optimizer.{shown(name)} belongs to another network or --optimizer; "
                "resume with the settings that the run was started with"
            )
        if tensor.ndim:
            # the memory format of the parameter, so that the arithmetic is the same to the bit
            tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
        states.setdefault(int(index), {})[key] = tensor
    if any(len(state) < len(remembered) for state in states.values()):
        raise WeightsError(
            f"{path}: lacks a part of what the optimizer remembers; start another --run from the "
            "best checkpoint"
        )
    return states


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}


def _check_finite(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    name = _not_finite(tensors)
    if name is not None:
        raise NumericError(
            f"{path}: not written, because {name} holds NaN or infinity; the checkpoint before is "
            "kept; lower the learning rate"
        )


def _not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return name
    return None
