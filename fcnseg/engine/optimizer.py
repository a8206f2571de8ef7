"""Parameter groups and optimizers."""

from collections.abc import Iterable

import torch
from torch import nn

from fcnseg.checks import check_choice
from fcnseg.upsample import Upsample


def parameter_groups(
    backbone: nn.Module, head: nn.Module, lr: float, head_lr_factor: float, weight_decay: float
) -> list[dict]:
    """Groups with their own rates and decays: backbone, score layers, upsampling.

    The score layers start from nothing and get ``lr * head_lr_factor``. Upsampling kernels start
    from the bilinear answer: they keep ``lr`` and, like all vectors (biases, gains and shifts of
    norms), are not decayed. Parameters that need no gradient are left out. Each group keeps its
    full rate as ``peak_lr``.
    """
    kernels = {id(p) for m in head.modules() if isinstance(m, Upsample) for p in m.parameters()}
    members: dict[tuple[str, float, float], list[nn.Parameter]] = {}
    for name, module, rate in (("backbone", backbone, lr), ("head", head, lr * head_lr_factor)):
        for parameter in module.parameters():
            if not parameter.requires_grad:
                continue
            if id(parameter) in kernels:
                key = ("upsampling", lr, 0.0)
            elif parameter.ndim > 1:
                key = (name, rate, weight_decay)
            else:
                key = (f"{name}, no decay", rate, 0.0)
            members.setdefault(key, []).append(parameter)
    return [
        {"params": p, "name": name, "lr": rate, "peak_lr": rate, "weight_decay": decay}
        for (name, rate, decay), p in members.items()
    ]


def build_optimizer(kind: str, groups: Iterable[dict]) -> torch.optim.Optimizer:
    """``adamw`` (betas 0.9, 0.999) or ``sgd`` (momentum 0.9) over parameter groups."""
    check_choice("--optimizer", kind, ("adamw", "sgd"))
    if kind == "adamw":
        return torch.optim.AdamW(list(groups))
    return torch.optim.SGD(list(groups), momentum=0.9)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group to ``factor`` times its full rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
