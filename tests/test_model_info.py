"""The description of a model in a checkpoint, which may come from anyone."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from fcnseg.build import build_fcn, load
from fcnseg.cli import main
from fcnseg.engine.checkpoint import load_fitting, load_tensors, save_model
from fcnseg.engine.tensors import read_tensors, write_tensors
from fcnseg.errors import UsageError, WeightsError
from fcnseg.model import ModelInfo


def described() -> dict[str, Any]:
    """What a file holds: keys, texts, numbers and lists."""
    return {
        "backbone": "resnet18",
        "variant": "32s",
        "padding": "same",
        "upsample": "learned",
        "classes": ["sky", "road"],
        "palette": [[0, 0, 0], [255, 0, 128]],
        "preprocessing": {},
        "output_stride": 16,
    }


def test_a_description_comes_back() -> None:
    info = ModelInfo.from_dict(described())
    assert (info.backbone, info.variant, info.output_stride) == ("resnet18", "32s", 16)
    assert info.classes == ("sky", "road")
    assert info.palette == ((0, 0, 0), (255, 0, 128))
    assert ModelInfo.from_dict(info.to_dict()) == info


def test_older_files_have_no_output_stride() -> None:
    values = described()
    del values["output_stride"]
    assert ModelInfo.from_dict(values).output_stride == 32


LONG, RED = "x" * 100_000, "\x1b[31m"
WRONG: list[tuple[dict[str, Any], str]] = [
    *(
        ({"output_stride": value}, f"output_stride: expected 8, 16 or 32, got {re.escape(said)}")
        for value, said in (
            *(("8", "'8'"), (None, "None"), ([8], "a list"), (64, "64"), (True, "True")),
            *((8.0, "8.0"), ({}, "a dict"), (0, "0"), (-8, "-8"), (LONG, "\"'xxx")),
        )
    ),
    *(
        ({key: value}, f"{key}: expected a short name, got ")
        for key in ("backbone", "variant", "padding", "upsample")
        for value in (3, None, ["32s"], True, LONG, RED)
    ),
    *(
        ({"classes": value}, "classes: expected a list of names, got ")
        for value in ("sky", None, 2, [1, 2], ["sky", None], {"sky": 1, "road": 2}, LONG)
    ),
    *(
        ({"palette": value}, "palette: expected a list of colours, each of three whole numbers")
        for value in (
            *(None, 3, "red", [0, 0, 0], [[0, 0], [0, 0]], [[0, 0, 0], [0, 0, 256]]),
            *([[0, 0, 0], [0, 0, -1]], [[0, 0, 0], [0, 0, 1.0]], [[0, 0, 0], [0, 0, True]]),
            *([[0, 0, 0], "abc"], {"a": [0, 0, 0]}),
        )
    ),
    ({"palette": [[0, 0, 0]]}, "1 to 255 classes and a colour for each, got 2 and 1"),
    ({"classes": [], "palette": []}, "1 to 255 classes and a colour for each, got 0 and 0"),
    ({"classes": ["a"] * 256, "palette": [[0, 0, 0]] * 256}, "got 256 and 256"),
    ({"preprocessing": 3}, "preprocessing: expected keys and values, got 3"),
    ({RED: 1}, r"missing or unknown keys \[.*x1b"),
    ({LONG: 1}, "missing or unknown keys"),
]


@pytest.mark.parametrize(("change", "match"), WRONG)
def test_a_value_of_another_kind_is_one_line(change: Mapping[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        ModelInfo.from_dict({**described(), **change})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("values", [None, 3, [], "x"])
def test_no_description_at_all(values: Any) -> None:
    with pytest.raises(UsageError, match="model description: expected keys and values, got"):
        ModelInfo.from_dict(values)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("info") / "good.safetensors"
    torch.manual_seed(0)
    save_model(path, build_fcn("mobilenet_v2", "32s", 2))
    return path


def rewritten(good: Path, path: Path, **change: Any) -> Path:
    """A checkpoint whose description was changed, and its checksum with it."""
    content, tensors = read_tensors(good)
    write_tensors(path, tensors, {**content, "info": {**content["info"], **change}})
    return path


@pytest.mark.parametrize(
    "change",
    [
        *({"output_stride": value} for value in ("8", None, [8], 64, True)),
        *({"short_side": value} for value in ("8", 0, -3, 1.5, True, 10**12)),
        *({"backbone": value} for value in (3, RED, LONG)),
        {"classes": [1, 2]},
        {"palette": [[0, 0, 0], [0, 0, 999]]},
    ],
)
def test_a_checkpoint_with_it_is_refused_in_one_line(
    change: dict[str, Any], good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rewritten(good, tmp_path / "odd.safetensors", **change)
    with pytest.raises(WeightsError, match=r"odd\.safetensors: model description: ") as caught:
        load(path)
    assert str(caught.value).isprintable()
    photo = tmp_path / "photo.png"
    Image.new("RGB", (40, 40)).save(photo)
    assert main(["predict", str(photo), "--checkpoint", str(path)]) == 4
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: model description: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", [RED, "a\nb", LONG], ids=["escape", "lines", "long"])
def test_names_in_a_checkpoint_are_shown_short_and_printable(
    name: str, good: Path, tmp_path: Path
) -> None:
    model = load(good)
    with pytest.raises(WeightsError, match=r"1 unknown.*first: '") as caught:
        load_tensors("a.safetensors", model, {**model.state_dict(), name: torch.zeros(1)})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    path = rewritten(good, tmp_path / "odd.safetensors", backbone=name)
    with pytest.raises(WeightsError, match=r"made from '.*this network from mobilenet") as caught:
        load_fitting(path, model)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800 + len(str(path))
