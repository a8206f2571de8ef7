"""The settings of training a classifier."""

from pathlib import Path

import pytest

from fcnseg.classifier_config import ClassifierConfig
from fcnseg.config import TrainConfig, load_config, to_yaml
from fcnseg.errors import UsageError


def made(**flags: object) -> ClassifierConfig:
    return load_config(ClassifierConfig, None, {"data_root": "photos", **flags})


def test_rates_depend_on_where_the_weights_come_from() -> None:
    scratch, tuned = made(), made(backbone="resnet18")
    assert (scratch.rate, scratch.head_lr_factor) == (3e-3, 1.0)
    assert (tuned.rate, tuned.head_lr_factor) == (1e-4, 10.0)
    assert made(backbone="resnet18", weights="none").head_lr_factor == 1.0
    assert made(backbone="resnet18", weights="mine.pth").rate == 1e-4
    assert made(weights="mine.pth").rate == 1e-4
    assert made(optimizer="sgd").rate == 5e-2
    assert (made(lr="0.01").rate, made(head_lr_factor="3").head_lr_factor) == (0.01, 3.0)


def test_the_run_folder_has_the_names_of_data_and_network(tmp_path: Path) -> None:
    assert made().run_folder == Path("runs/photos-small_cnn")
    assert made(backbone="timm/resnet26d").run_folder == Path("runs/photos-timm-resnet26d")
    assert made(run="x").run_folder == Path("x")


def test_yaml_goes_both_ways(tmp_path: Path) -> None:
    config = made(backbone="resnet18", epochs="3", image_size="96")
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config, comments=True))
    assert load_config(ClassifierConfig, file, {}) == config


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"data_root": None}, "--data-root: missing; give a folder with a folder of images a cla"),
        ({"freeze": "backbone"}, "--freeze backbone: the layers that it keeps would be random"),
        ({"epochs": "0"}, "--epochs: expected a value at least 1, got 0"),
        ({"val_fraction": "1"}, "--val-fraction: expected a value below 1"),
        ({"image_size": "8"}, "--image-size: expected a value at least 32, got 8"),
        ({"variant": "8s"}, "--variant: no such setting"),
        ({"resume": True, "overwrite": True}, "--resume, --overwrite: exclude each other"),
    ],
)
def test_what_contradicts_itself_is_refused(flags: dict, said: str) -> None:
    given = {k: v for k, v in {"data_root": "photos", **flags}.items() if v is not None}
    with pytest.raises(UsageError, match=said):
        load_config(ClassifierConfig, None, given)


def test_the_file_of_the_other_command_is_told_by_one_line(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine.yaml", tmp_path / "theirs.yaml"
    mine.write_text(to_yaml(made()))
    theirs.write_text(to_yaml(TrainConfig()))
    words = r"mine\.yaml: holds settings of fcnseg train-classifier; use that command$"
    with pytest.raises(UsageError, match=words):
        load_config(TrainConfig, mine, {})
    with pytest.raises(UsageError, match=r"theirs\.yaml: holds settings of fcnseg train; use"):
        load_config(ClassifierConfig, theirs, {})
