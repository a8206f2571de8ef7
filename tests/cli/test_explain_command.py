"""``fcnseg explain`` as a person runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.cli import main


def test_the_table_of_vgg16(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--padding", "paper"]) == 0
    text = capsys.readouterr().out
    assert "vgg16 as FCN-8s, padding paper, for 500x500 px" in text
    assert text.count("138,357,544") == 2
    for wanted in ("Linear 25088->4096", "ceil(8 - (-23.5)) - 1 = 31", "features.23  (level 16)"):
        assert wanted in text
    rows = [line for line in text.splitlines() if line.startswith("  features.")]
    assert len([row for row in rows if "->" in row and "Conv" in row]) == 13


def test_every_layer_is_listed_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--backbone", "resnet18", "--size", "128"]) == 0
    short = capsys.readouterr().out
    assert main(["explain", "--backbone", "resnet18", "--size", "128", "--all"]) == 0
    whole = capsys.readouterr().out
    assert "BatchNorm2d" not in short
    assert whole.count("BatchNorm2d") == 20
    assert "layer4.1.conv2" in whole


def test_a_dilated_network_has_levels_and_strides(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", "--backbone", "resnet18", "--size", "64", "--output-stride", "8"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "From level 32 (stride 8) to level 16 (stride 8): ratio 1\n" in text
    assert "From level 8 (stride 8) to the image: ratio 8\n" in text
    assert "1 finer" not in text


@pytest.mark.parametrize("columns", [80, 100])
def test_a_narrow_terminal_cuts_no_number(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", "--backbone", "densenet121", "--output-stride", "8"]
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(words) == 0
    wide = capsys.readouterr().out
    assert "left out for want of room" not in wide
    assert "11,119.8" in wide
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(words) == 0
    narrow = capsys.readouterr().out
    assert "…" not in narrow
    table = narrow[: narrow.index("offset and field in pixels")].splitlines()[3:]
    assert max(map(len, table)) <= max(columns, 70)
    (row,) = [line for line in table if "1024x63x63" in line]
    assert row.split()[-3:] == ["8", "6", "1031"]
    for number in ("64x256x256", "128x128x128", "512x61x61", "1047", "2071"):
        assert number in "".join(table)
    flat = " ".join(narrow.split())
    assert "left out for want of room: M mult-adds" in flat
    assert "--html, --json or a wider terminal has" in flat


def test_the_output_stride_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "out.html"
    words = ["explain", "--backbone", "densenet121", "--size", "64", "--html", str(page)]
    assert main([*words, "--output-stride", "8"]) == 0
    text, shown = capsys.readouterr().out, page.read_text(encoding="utf-8")
    assert text.startswith("densenet121 as FCN-8s, padding same, output stride 8, for 64x64 px")
    assert "<title>densenet121 as FCN-8s, output stride 8</title>" in shown
    assert "and output stride 8: no map is coarser" in shown
    for told in (text, shown):
        assert "stride 1, dilation 2 (25 layers), dilation 4 (16 layers)" in told
        assert "DilatedAvgPool" not in told
    assert main(words) == 0
    assert "output stride" not in capsys.readouterr().out.splitlines()[0]
    assert "output stride 32" not in page.read_text(encoding="utf-8")


def test_a_photograph_of_too_many_pixels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "a.png"
    Image.new("RGB", (40, 40)).save(photo)
    assert main(["explain", "--image", str(photo), "--max-pixels", "1000"]) == 3
    assert "a.png" in capsys.readouterr().err


def test_json_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "out.html"
    words = ["explain", "--backbone", "vgg16", "--variant", "8s", "--size", "500x500"]
    assert main([*words, "--html", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["totals"]["classifier"] == told["totals"]["converted"] == 138_357_544
    assert told["input"] == [512, 512]
    assert told["experiment"] is None
    assert len(told["layers"]) == 31 + 1 + 1 + 7  # features, pool, flatten, classifier
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_experiment_on_a_photograph(
    tmp_path: Path,
    photograph: Callable[[str], np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo, page = tmp_path / "cat.jpg", tmp_path / "cat.html"
    Image.fromarray(photograph("chelsea")[:, :160]).save(photo)
    assert main(["explain", "--image", str(photo), "--html", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = told["experiment"]
    assert told["backbone"] == "efficientnet_lite0"
    assert (found["window"], found["stride"], len(found["crops"])) == (224, 32, 8)
    assert found["native_difference"] < 1e-4
    assert found["seconds_crops"] > found["seconds_dense"]
    assert page.read_text(encoding="utf-8").count("data:image/") == 4


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--padding", "paper", "--backbone", "resnet18"], 2, "--padding paper: defined for VGG"),
        (["--padding", "none"], 2, "--padding: expected one of same, paper, got 'none'"),
        (["--size", "0"], 2, "--size 0x0: expected sides of 1"),
        (["--size", "big"], 2, "--size big: expected HEIGHTxWIDTH"),
        (["--size", "5x5x5"], 2, "--size 5x5x5: expected HEIGHTxWIDTH"),
        (["--backbone", "resnet19"], 2, "--backbone resnet19: unknown; did you mean"),
        (["--variant", "4s"], 2, "--variant: expected one of 32s"),
        (["--output-stride", "5"], 2, "--output-stride: expected one of 8, 16, 32, got 5"),
        (["--html", "page.txt"], 2, "--html page.txt: expected the name of a file that ends in"),
        (["--html", "nowhere/page.html"], 5, "the folder nowhere does not exist"),
        (["--image", "none.jpg"], 3, "--image none.jpg: no such file"),
        (["--weights", "none.pth"], 2, "--weights: is for the experiment; give --image too"),
        (["--device", "cpu"], 2, "--device: is for the experiment; give --image too"),
        (["--max-pixels", "1000"], 2, "--max-pixels: is for the experiment; give --image too"),
        (["--json", "--all"], 2, "--all: is for the tables, --json always has every layer"),
    ],
)
def test_refusals_are_one_line(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *words]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_weights_that_are_not_to_be_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "a.png"
    Image.new("RGB", (40, 40)).save(photo)
    words = ["explain", "--image", str(photo), "--backbone", "resnet18"]
    assert main([*words, "--weights", "none.pth"]) == 4
    assert "none.pth" in capsys.readouterr().err
    assert main([*words, "--weights", "none"]) == 2
    assert "sees nothing" in capsys.readouterr().err
