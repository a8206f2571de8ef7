"""Recipes: what they set, the published rates, and rates that do not fit a loss."""

import re
from dataclasses import fields

import pytest

from fcnseg.config import TrainConfig, load_config
from fcnseg.errors import UsageError
from fcnseg.recipes import RECIPES, default_lr, rate_fault, recipe_values
from fcnseg.run_config import DEFAULT_LR

VARIANTS = ("32s", "16s", "8s", "8s-atonce")
# The solver and net files of the authors' repository, as the table of the design notes has them.
PUBLISHED = {
    "32s": (1e-10, 100_000),
    "16s": (1e-12, 100_000),
    "8s": (1e-14, 100_000),
    "8s-atonce": (1e-10, 300_000),
}


def test_modern_is_what_the_fields_default_to() -> None:
    assert all(recipe_values("modern", "vgg16", variant) == {} for variant in VARIANTS)
    assert {default_lr("modern", variant) for variant in VARIANTS} == {DEFAULT_LR} == {1e-4}


@pytest.mark.parametrize("variant", VARIANTS)
def test_paper_has_the_published_numbers(variant: str) -> None:
    values = recipe_values("paper", "vgg16", variant)
    rate, iterations = PUBLISHED[variant]
    assert default_lr("paper", variant) == rate
    assert values["iterations"] == iterations
    expected = {
        "optimizer": "sgd", "momentum": 0.99, "batch_size": 1, "reduction": "sum",
        "bias_lr_factor": 2, "head_lr_factor": 1, "weight_decay": 5e-4,
        "schedule": "constant", "warmup": 0, "upsample": "fixed", "padding": "paper",
        "native_size": True, "sampling": "replacement",
    }  # fmt: skip
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_settings_that_differ_from_their_defaults_are_named(variant: str) -> None:
    defaults = {item.name: item.default for item in fields(TrainConfig)}
    values = recipe_values("paper", "vgg16", variant)
    assert {name for name, value in values.items() if value == defaults[name]} == set()


def test_the_paper_augments_nothing() -> None:
    config = load_config(TrainConfig, None, {"recipe": "paper", "data_root": "x"})
    assert (config.flip, config.colour, config.rotate, config.blur) == (0, 0, 0, 0)
    assert (config.scale_min, config.scale_max, config.accumulate) == (1, 1, 1)
    assert config.crop is None
    assert config.rate == 1e-14


@pytest.mark.parametrize(
    ("backbone", "padding"),
    [("vgg16_bn", "paper"), ("alexnet", "paper"), ("resnet50", "same"), ("timm/vgg16", "same")],
)
def test_the_padding_of_the_paper_is_for_vgg_and_alexnet(backbone: str, padding: str) -> None:
    values = recipe_values("paper", backbone, "8s")
    assert values.get("padding", "same") == padding


def test_every_backbone_that_is_padded_so_by_the_recipe_can_be() -> None:
    from fcnseg.catalogue import catalogue, describe

    for name in catalogue():
        padded = "padding" in recipe_values("paper", name, "8s")
        assert padded == describe(name).paper_padding


def test_flags_win_over_the_recipe() -> None:
    flags = {"recipe": "paper", "data_root": "x", "momentum": "0.9", "iterations": "7"}
    config = load_config(TrainConfig, None, flags)
    assert (config.momentum, config.iterations, config.reduction) == (0.9, 7, "sum")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--recipe: expected one of modern, paper, got 'papers'"):
        recipe_values("papers", "vgg16", "8s")
    for function in (default_lr, lambda *names: recipe_values(names[0], "vgg16", names[1])):
        with pytest.raises(UsageError, match=r"--variant: expected one of 32s, .*, got '4s'"):
            function("paper", "4s")


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_recipes_own_rates_fit_its_loss(recipe: str, variant: str) -> None:
    values = recipe_values(recipe, "vgg16", variant)
    optimizer, reduction = values.get("optimizer", "adamw"), values.get("reduction", "mean")
    assert rate_fault(default_lr(recipe, variant), reduction, optimizer) is None


@pytest.mark.parametrize(
    ("lr", "reduction", "optimizer"),
    [
        (1e-3, "mean", "sgd"), (1.0, "mean", "sgd"), (1e-9, "sum", "sgd"),
        (1e-4, "sum", "adamw"), (1e-4, "mean", "adamw"),
    ],
)  # fmt: skip
def test_rates_that_fit(lr: float, reduction: str, optimizer: str) -> None:
    assert rate_fault(lr, reduction, optimizer) is None


@pytest.mark.parametrize(
    ("lr", "reduction", "optimizer", "wording"),
    [
        (1e-4, "sum", "sgd", r"0\.0001 is too high for --optimizer sgd and --reduction sum, whose "
         r"gradients grow .*; expected 1e-15 to 1e-06 \(published: 1e-10 for 32s .* "
         r"take --reduction mean$"),
        (1e-20, "sum", "sgd", r"1e-20 is too low .*; expected 1e-15 to 1e-06"),
        (1e-10, "mean", "sgd", r"1e-10 is too low for --optimizer sgd and --reduction mean; "
         r"expected 1e-07 to 10, or take --reduction sum"),
        (1e-10, "mean", "adamw", r"1e-10 is too low .*: AdamW's steps do not depend on the size"),
        (1e-14, "sum", "adamw", r"1e-14 is too low .*: AdamW's steps .*; expected 1e-07 to 10$"),
    ],
)  # fmt: skip
def test_rates_that_do_not_fit_are_named_with_the_right_range(
    lr: float, reduction: str, optimizer: str, wording: str
) -> None:
    fault = rate_fault(lr, reduction, optimizer)
    assert fault is not None
    assert "\n" not in fault
    assert re.match(f"--lr: {wording}", fault), fault


@pytest.mark.parametrize(
    "flags",
    [
        {"recipe": "paper", "reduction": "mean"},
        {"recipe": "paper", "optimizer": "adamw"},
        {"recipe": "paper", "lr": "1e-3"},
        {"optimizer": "sgd", "reduction": "sum"},
    ],
)
def test_settings_that_contradict_the_rate_are_refused_before_training(
    flags: dict[str, str],
) -> None:
    with pytest.raises(UsageError, match=r"--lr: .* is too (low|high) .*expected 1e-"):
        load_config(TrainConfig, None, {"data_root": "x", **flags})
