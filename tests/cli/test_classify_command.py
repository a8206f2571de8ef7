"""``fcnseg classify`` as a person runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.cli import classify, main


@pytest.fixture
def folder(tmp_path: Path, photograph: Callable[[str], np.ndarray]) -> Path:
    """Two photographs in folders of their classes, both called a.png."""
    for name, photo in (("Egyptian_cat", "chelsea"), ("n07920052", "coffee")):
        (tmp_path / "val" / name).mkdir(parents=True)
        Image.fromarray(photograph(photo)).save(tmp_path / "val" / name / "a.png")
    return tmp_path / "val"


def test_class_folders_give_accuracy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["classify", str(folder)]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["mode"], result["scales"], result["mirror"]) == ("center", [256], False)
    cat, coffee = result["images"]
    assert cat["truth"] == {"name": "Egyptian cat", "id": 285}
    assert [c["name"] for c in cat["classes"]][:2] == ["tiger cat", "Egyptian cat"]
    assert cat["rank"] == 2
    assert coffee["truth"] == {"name": "espresso", "id": 967}
    assert coffee["rank"] == 1
    assert coffee["classes"][0]["probability"] > 0.9
    assert result["accuracy"] == {"images": 2, "top1": 0.5, "top5": 1.0}

    assert main(words) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Egyptian", "cat", "1", "0.0", "100.0"] in rows
    assert ["espresso", "1", "100.0", "100.0"] in rows
    assert ["all", "2", "50.0", "100.0"] in rows


def test_photographs_give_their_best_classes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "Egyptian_cat"
    assert main(["classify", str(path), "--mode", "dense", "--top", "3"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == str(path / "a.png")  # whole, however long
    names = [" ".join(line.split()[:-1]) for line in lines if "0." in line]
    assert set(names) == {"Egyptian cat", "tiger cat", "tabby"}
    assert "accuracy" not in out
    assert not err

    assert main(["classify", str(path), "--mode", "dense", "--no-mirror", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["mirror"] is False
    assert result["accuracy"] is None
    assert "truth" not in result["images"][0]


def test_accuracy_of_ranks() -> None:
    scored = [{"rank": rank} for rank in (1, 5, 6, 1000)]
    assert classify.accuracy(scored) == {"images": 4, "top1": 0.25, "top5": 0.5}


def test_bad_files_are_passed_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cat = folder / "Egyptian_cat"
    (cat / "b.png").write_bytes((cat / "a.png").read_bytes()[:3000])
    Image.new("RGB", (8000, 8)).save(cat / "strip.png")
    assert main(["classify", str(folder), "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["accuracy"]["images"] == 2
    assert f"error: {cat / 'b.png'}: cannot be decoded" in err
    assert "strip.png: 8000x8 px would be scaled to 256 by 256000; crop it\n" in err
    assert "2 of 4 images were passed over" in err


def test_folders_that_are_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("espreso", "1000", "zebra", ".hidden", "without images"):
        (tmp_path / name).mkdir()
        if name != "without images":
            Image.new("RGB", (9, 9)).save(tmp_path / name / "a.png")
    assert main(["classify", str(tmp_path)]) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{tmp_path / 'espreso'}: no class has the name 'espreso'; did you mean 'esp" in err
    assert f"{tmp_path / '1000'}: expected the number of a class, 0 to 999, got 1000" in err
    assert "zebra" not in err
    assert ".hidden" not in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--mode", "centre"], 2, "--mode: expected one of center, dense, multicrop, both"),
        (["--scales", "256"], 2, "--scales: --mode center has one scale"),
        (["--scales", "256,x", "--mode", "dense"], 2, "--scales 256,x: expected lengths in pixels"),
        (["--scales", "256,", "--mode", "dense"], 2, "got ''"),
        (["--scales", "223", "--mode", "dense"], 2, "window has 224 pixels"),
        (["--scales", "999999", "--mode", "dense"], 2, "got '999999'"),
        (["--no-mirror"], 2, "--no-mirror: --mode center never mirrors"),
        (["--top", "0"], 2, "--top: expected 1 class or more, got 0"),
        (["--weights", "none"], 2, "--weights none: a classifier without weights knows nothing"),
        (["--weights", "none.pth"], 4, "none.pth: there is no such file"),
        (["--backbone", "resnet19"], 2, "--backbone resnet19: unknown; did you mean"),
        (["--device", "tpu"], 2, "--device tpu: cannot be used"),
    ],
)
def test_refusals_are_one_line(
    folder: Path, words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", str(folder), *words]) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", str(tmp_path / "none.jpg")]) == 3
    assert "no such file or folder" in capsys.readouterr().err
    assert main(["classify", str(tmp_path)]) == 3
    assert "no images in this folder" in capsys.readouterr().err
