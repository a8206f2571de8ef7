"""Recipes: which settings a way of training stands for, and which learning rates go with them.

``modern`` is what the fields of the settings default to. ``paper`` is the published one, batches
of a single whole image with a summed loss ("heavy" learning, PAMI 2017, section 4.3 and the
solver files of the authors' repository).
"""

from typing import Any

from fcnseg.checks import check_choice
from fcnseg.run_config import DEFAULT_LR

RECIPES = ("modern", "paper")
"""The ways of training that are known by name."""

# One rate a stage: each starts from the network of the stage before and moves it less.
_PAPER_RATES = {"32s": 1e-10, "16s": 1e-12, "8s": 1e-14, "8s-atonce": 1e-10}
_PAPER_ITERATIONS = {"8s-atonce": 300_000}

# A sum over the pixels has gradients larger by their number, 10^5 to 10^6, than a mean has.
_SUM_RANGE = 1e-15, 1e-6
_MEAN_RANGE = 1e-7, 10.0


def recipe_values(recipe: str, backbone: str, variant: str) -> dict[str, Any]:
    """The settings, by name, in which a recipe differs from the defaults of the fields.

    The learning rate is not among them: see :func:`default_lr`. ``paper`` pads by 100 pixels
    where that is defined, for VGG and AlexNet; other backbones keep ``same``.

    Raises:
        UsageError: no such recipe or variant.
    """
    check_choice("--recipe", recipe, RECIPES)
    check_choice("--variant", variant, list(_PAPER_RATES))
    if recipe == "modern":
        return {}
    values: dict[str, Any] = {
        "optimizer": "sgd",
        "momentum": 0.99,
        "batch_size": 1,
        "reduction": "sum",
        "head_lr_factor": 1.0,
        "bias_lr_factor": 2.0,
        "weight_decay": 5e-4,
        "schedule": "constant",
        "warmup": 0.0,
        "iterations": _PAPER_ITERATIONS.get(variant, 100_000),
        "upsample": "fixed",
        "native_size": True,
        "sampling": "replacement",
        "scale_min": 1.0,
        "scale_max": 1.0,
        "flip": 0.0,
        "colour": 0.0,
    }
    if backbone.startswith(("alexnet", "vgg")):
        values["padding"] = "paper"
    return values


def default_lr(recipe: str, variant: str) -> float:
    """The learning rate of a recipe: published for ``paper``, 1e-4 for ``modern``.

    Raises:
        UsageError: no such recipe or variant.
    """
    check_choice("--recipe", recipe, RECIPES)
    check_choice("--variant", variant, list(_PAPER_RATES))
    return _PAPER_RATES[variant] if recipe == "paper" else DEFAULT_LR


def rate_fault(lr: float, reduction: str, optimizer: str) -> str | None:
    """What is wrong with a learning rate for this loss and optimizer, None where they agree.

    With SGD a summed loss takes rates smaller by the number of pixels than a mean does. AdamW
    divides the gradient by its own size, so that its rates are those of a mean in either case.

    Args:
        lr: the learning rate of the backbone, above 0.
        reduction: of the loss, ``"mean"`` or ``"sum"``.
        optimizer: ``"adamw"`` or ``"sgd"``.
    """
    summed = reduction == "sum" and optimizer == "sgd"
    low, high = _SUM_RANGE if summed else _MEAN_RANGE
    if low <= lr <= high:
        return None
    side = "low" if lr < low else "high"
    expected = f"expected {low:g} to {high:g}"
    start = f"--lr: {lr:g} is too {side} for --optimizer {optimizer} and --reduction {reduction}"
    if summed:
        return (
            f"{start}, whose gradients grow with the number of pixels; {expected} (published: "
            "1e-10 for 32s and 8s-atonce, 1e-12 for 16s, 1e-14 for 8s), or take --reduction mean"
        )
    if optimizer == "adamw":
        return f"{start}: AdamW's steps do not depend on the size of the loss; {expected}"
    return f"{start}; {expected}, or take --reduction sum, which such rates are meant for"
