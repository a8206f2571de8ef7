"""``fcnseg upper-bound`` as a person runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.cli import main


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Two images of 64x64 pixels, the second void: a pole of 4 pixels and a road."""
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 1
    mask[:, 8:12] = 2
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for name, label in (("a", mask), ("b", np.full_like(mask, 255))):
        Image.new("RGB", (64, 64)).save(tmp_path / f"images/{name}.png")
        Image.fromarray(label).save(tmp_path / f"masks/{name}.png")
    where = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks")]
    return ["--data", "folder", *where, "--classes", "sky,road,pole"]


def test_numbers_by_hand_in_json(data: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upper-bound", *data, "--factors", "64,8,4", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["data"] == "folder"
    assert result["images"] == 2
    whole, eight, four = result["factors"]
    assert whole["factor"] == 64
    assert whole["variants"] == []
    assert whole["class_iu"] == {"sky": 0.0, "road": 0.5, "pole": 0.0}
    assert whole["pixel_accuracy"] == 0.5
    # Columns 8 to 15 are half pole, half sky: the tie goes to sky.
    assert eight["variants"] == ["8s", "8s-atonce"]
    assert eight["class_iu"] == {"sky": 28 / 32, "road": 1.0, "pole": 0.0}
    assert eight["mean_iu"] == pytest.approx((28 / 32 + 1) / 3)
    assert four["mean_iu"] == four["pixel_accuracy"] == 1.0


def test_the_table_names_variants_and_the_worst_classes(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upper-bound", *data]) == 0
    out, err = capsys.readouterr()
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["32"][1:4] == ["32s", "62.5", "93.8"]
    assert rows["16"][1] == "16s"
    assert rows["8"][1:3] == ["8s,", "8s-atonce"]
    assert rows["8"][5:] == ["pole", "0.0,", "sky", "87.5,", "road", "100.0"]
    assert [row for row in rows if row.isdigit()] == ["128", "64", "32", "16", "8", "4"]
    assert "images looked at: 2 (folder)" in out
    assert err == "scoring all 2 pairs\n"


def test_the_validation_part_of_shapes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["upper-bound", "--data", "shapes", "--val-length", "3", "--factors", "8,32,8"]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["data"] == "shapes/val"
    assert [entry["factor"] for entry in result["factors"]] == [8, 32]
    assert result["factors"][0]["mean_iu"] > result["factors"][1]["mean_iu"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--factors", "0"], 2, "--factors 0: expected whole numbers from 1 up such as"),
        (["--factors", "8,x"], 2, "got 'x'"),
        (["--factors", ""], 2, "got ''"),
        (["--factors", "9999999999"], 2, "got '9999999999'"),
        (["--factor", "8"], 2, "--factor: no such flag of fcnseg upper-bound; did you mean"),
        (["--data", "camvid"], 3, "--data-root: CamVid needs a folder"),
        (["--data", "folder"], 2, "--data folder: --images and --masks missing"),
    ],
)
def test_refusals_are_one_line(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upper-bound", *words]) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_masks_that_are_void_or_damaged(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(tmp_path / "masks/a.png")
    assert main(["upper-bound", *data]) == 3
    assert "folder: nothing to score, every pixel" in capsys.readouterr().err
    (tmp_path / "masks/a.png").write_bytes(b"")
    assert main(["upper-bound", *data]) == 3
    assert "a.png: the file is empty" in capsys.readouterr().err
