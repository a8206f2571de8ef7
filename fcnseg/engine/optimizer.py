"""Parameter groups and optimizers."""

from collections.abc import Iterable

import torch
from torch import nn

from fcnseg.checks import check_choice
from fcnseg.errors import UsageError
from fcnseg.upsample import Upsample


def parameter_groups(
    model: nn.Module,
    head: nn.Module,
    lr: float,
    head_lr_factor: float,
    weight_decay: float,
    bias_lr_factor: float = 1.0,
) -> list[dict]:
    """Groups with their own rates and decays: backbone, score layers, biases, upsampling.

    ``head`` is a part of ``model``. It starts from nothing and gets ``lr * head_lr_factor``;
    everything else counts as the backbone and gets ``lr``. Biases get ``bias_lr_factor`` times
    the rate of their part (2 in the paper, as in Caffe). Upsampling kernels start from the
    bilinear answer: they keep ``lr`` and, like all vectors (biases, gains and shifts of norms),
    are not decayed. Parameters that need no gradient are left out. Each group keeps its full rate
    as ``peak_lr``.

    Raises:
        UsageError: ``head`` is no part of ``model``.
    """
    in_head = {id(parameter) for parameter in head.parameters()}
    if not in_head <= {id(parameter) for parameter in model.parameters()}:
        raise UsageError("head: expected a part of the model, got parameters that it does not have")
    kernels = {id(p) for m in head.modules() if isinstance(m, Upsample) for p in m.parameters()}
    members: dict[tuple[str, float, float], list[nn.Parameter]] = {}
    for full_name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part, rate = ("head", lr * head_lr_factor) if id(parameter) in in_head else ("backbone", lr)
        if id(parameter) in kernels:
            key = ("upsampling", lr, 0.0)
        elif parameter.ndim > 1:
            key = (part, rate, weight_decay)
        elif full_name.endswith("bias") and bias_lr_factor != 1:
            key = (f"{part}, biases", rate * bias_lr_factor, 0.0)
        else:
            key = (f"{part}, no decay", rate, 0.0)
        members.setdefault(key, []).append(parameter)
    return [
        {"params": p, "name": name, "lr": rate, "peak_lr": rate, "weight_decay": decay}
        for (name, rate, decay), p in members.items()
    ]


def build_optimizer(
    kind: str, groups: Iterable[dict], momentum: float = 0.9
) -> torch.optim.Optimizer:
    """``adamw`` (betas 0.9, 0.999) or ``sgd`` with ``momentum`` over parameter groups.

    Raises:
        UsageError: no such optimizer.
    """
    check_choice("--optimizer", kind, ("adamw", "sgd"))
    if kind == "adamw":
        return torch.optim.AdamW(list(groups))
    return torch.optim.SGD(list(groups), momentum=momentum)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group to ``factor`` times its full rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
