"""Settings: read strictly, all faults in one error."""

from pathlib import Path
from typing import Any

import pytest

from fcnseg.config import (
    DataConfig,
    Size,
    TrainConfig,
    differences,
    load_config,
    to_yaml,
    validate,
)
from fcnseg.errors import UsageError


def load(tmp_path: Path, text: str, flags: dict[str, Any] | None = None) -> TrainConfig:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return load_config(TrainConfig, path, flags or {})


def test_defaults_are_valid() -> None:
    validate(TrainConfig())
    validate(DataConfig())


def test_the_limit_of_pixels_is_that_of_the_readers() -> None:
    from fcnseg.data.sample import MAX_PIXELS

    assert DataConfig().max_pixels == MAX_PIXELS


def test_flags_win_over_the_file_and_text_becomes_typed(tmp_path: Path) -> None:
    config = load(tmp_path, "epochs: 3\nlr: 1e-3\ncrop_size: [320, 416]\n", {"epochs": "7"})
    assert config.epochs == 7
    assert config.lr == 0.001  # YAML 1.1 reads 1e-3 as text
    assert config.crop_size == Size(320, 416)
    assert load_config(TrainConfig, None, {"crop_size": "96"}).crop_size == (96, 96)


def test_classes_may_be_a_list_in_yaml(tmp_path: Path) -> None:
    text = "data: coco\ndata_root: x\nclasses: [sky, road]"
    assert load(tmp_path, text).classes == "sky,road"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, "voc"),
        ({"images": "a", "masks": "b"}, "folder"),
        ({"images": "a", "annotations": "b"}, "coco"),
        ({"data": "mine/format.py", "data_root": "x"}, "mine/format.py"),
    ],
)
def test_the_data_set_is_told_by_the_flags(flags: dict[str, Any], expected: str) -> None:
    assert load_config(TrainConfig, None, flags).data == expected


def test_the_run_folder_of_an_own_format_is_named_after_its_file() -> None:
    config = load_config(TrainConfig, None, {"data": "mine/format.py", "backbone": "resnet18"})
    assert str(config.run_folder) == "runs/format-resnet18-8s"


def test_all_faults_of_file_and_flags_come_in_one_line(tmp_path: Path) -> None:
    text = "epohcs: 3\nbatch_size: 0\nlr: .nan\nworkers: two\noverwrite: 1\n"
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text, {"variant": "8", "seed": "-1"})
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "x.yaml: epohcs: no such setting; did you mean 'epochs'?",
        "batch_size: expected a value at least 1, got 0",
        "lr: expected a finite number, got nan",
        "workers: expected a whole number, got 'two'",
        "overwrite: expected true or false, got 1",
        "--variant: expected one of 32s, 16s, 8s, 8s-atonce, got '8'; did you mean '8s'?",
        "--seed: expected a value at least 0, got -1",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("lr", 0, "above 0"),
        ("lr", -1e-3, "above 0"),
        ("lr", float("inf"), "a finite number"),
        ("lr", True, "a number"),
        ("epochs", 2.0, "a whole number"),
        ("epochs", True, "a whole number"),
        ("epochs", None, "a value, got nothing"),
        ("warmup", 1, "below 1"),
        ("crop_size", "320x", "HEIGHTxWIDTH"),
        ("crop_size", "8x320", "at least 16"),
        ("crop_size", [1, 2, 3], "HEIGHTxWIDTH"),
        ("run", 3, "text"),
        ("backbone", "", "text"),
    ],
)
def test_wrong_values_are_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        load_config(TrainConfig, None, {name: value})


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"data": "folder"}, "--images and --masks missing"),
        ({"data": "vox"}, r"--data: expected voc, .* or a file FILE\.py, got 'vox'; did you mean"),
        ({"data": "coco", "annotations": "a"}, "--annotations, --images: one is missing"),
        ({"data": "voc", "masks": "a"}, "--masks: needs --data folder, got --data voc"),
        ({"classes": "a,b"}, "--classes: needs --data folder or coco, got --data voc"),
        ({"data": "shapes", "val_split": "x"}, "--val-split: needs a data set that has lists"),
        ({"data": "camvid", "download": True}, "--download: needs --data voc or voc-aug"),
        ({"data": "camvid", "val_fraction": 0.2}, "--val-fraction: needs --images or --annot"),
        ({"data": "folder", "images": "a", "classes": "x,y"}, "--masks missing"),
        ({"resume": True, "overwrite": True}, "--resume, --overwrite: exclude each other"),
        ({"scale_min": 2, "scale_max": 1}, "--scale-min: 2 is above --scale-max 1"),
        (
            {"images": "a", "masks": "b", "val_images": "a"},
            "--val-images, --val-masks: one is missing",
        ),
        ({"init_from": "a", "weights": "b"}, "--init-from, --weights FILE"),
    ],
)
def test_contradictions_are_refused(flags: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        load_config(TrainConfig, None, flags)


def test_contradictions_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.yaml: --scale-min: 2 is above"):
        load(tmp_path, "scale_min: 2\nscale_max: 1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("- a", "expected lines `name: value`, got list"), ("a: [", "not valid YAML")],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml: No such file"):
        load_config(TrainConfig, tmp_path / "none.yaml", {})
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8 text"):
        load_config(TrainConfig, tmp_path / "b.yaml", {})


@pytest.mark.parametrize("comments", [False, True])
def test_yaml_round_trip(tmp_path: Path, comments: bool) -> None:
    config = TrainConfig(crop_size=Size(33, 47), data="coco", classes="a,ü", lr=1e-7, resume=True)
    assert load(tmp_path, to_yaml(config, comments)) == config


def test_differences_are_named() -> None:
    changed = TrainConfig(epochs=5, workers=7)
    assert differences(TrainConfig(), changed, ("workers",)) == ["epochs: 30 -> 5"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"stages": "8s,32s"}, r"--stages: '8s,32s' goes back to a coarser one; give 32s first"),
        ({"stages": "32s,32s"}, r"--stages: .* names a variant twice"),
        ({"stages": "32s,7s"}, r"--stages: expected variants of 32s, 16s, 8s, 8s-atonce"),
        ({"freeze": "backbone", "weights": "none"}, r"the layers that it keeps would be random"),
        ({"epochs": 1, "iterations": 2}, r"^--epochs, --iterations: exclude each other; give one"),
        ({"native_size": True, "crop_size": "64"}, r"--native-size, --crop-size: exclude each"),
        ({"reduction": "sum", "dice": 1, "optimizer": "adamw"}, r"^--dice: a mean, which does not"),
        ({"save_every": "5x"}, r"--save-every: expected steps such as 500, minutes such as 10m"),
    ],
)
def test_settings_that_do_not_go_together(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_config(TrainConfig, None, flags)


def test_epochs_on_the_command_line_win_over_iterations_in_a_file(tmp_path: Path) -> None:
    config = load(tmp_path, "iterations: 500\nepochs: 7", {"epochs": 2})
    assert (config.epochs, config.iterations) == (2, None)
    assert load(tmp_path, "iterations: 500\nepochs: 7").total_steps(9) == 500
    assert load_config(TrainConfig, None, {"recipe": "paper", "epochs": 3}).iterations is None
    crops = load_config(TrainConfig, None, {"recipe": "paper", "crop_size": "64"})
    assert crops.crop == (64, 64)
