"""``fcnseg train-classifier`` as a person runs it, and what is done with its checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
from class_samples import CLASSES, scene
from PIL import Image

from fcnseg.cli import main

QUICK = ["--workers", "0", "--epochs", "1", "--batch-size", "4", "--image-size", "32"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of photographs as people have them: grey, transparent, wide and tall."""
    root = tmp_path_factory.mktemp("own") / "photos"
    for name in CLASSES[:2]:
        (root / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(scene(name, number, 48)[0]).save(root / name / f"{number}.jpg")
        picture = Image.fromarray(scene(name, 5, 60)[0])
        picture.convert("L").save(root / name / "grey.png")
        picture.convert("RGBA").save(root / name / "clear.png")
        picture.crop((0, 0, 60, 20)).save(root / name / "wide.jpg")
        picture.crop((0, 0, 13, 60)).save(root / name / "tall.bmp")
    return root


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "pets"
    assert main(["train-classifier", "--data-root", str(photos), "--run", str(folder), *QUICK]) == 0
    return folder


def test_it_says_what_it_did(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train-classifier", "--data-root", str(photos), "--run", str(tmp_path / "run")]
    assert main([*words, *QUICK, "--val-fraction", "0.4"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert [row[1] for row in rows if row and row[0] in CLASSES] == ["4", "4"]
    assert "% of the test images recognised" in out
    best = tmp_path / "run" / "best.safetensors"
    assert f"next: fcnseg heatmap PHOTO --checkpoint {best}" in out
    assert "training on 10 images, validating on 8" in err
    assert "test accuracy" in err


def test_heatmap_and_classify_take_its_checkpoint(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best, photo = str(run / "best.safetensors"), str(photos / "disc/wide.jpg")
    words = ["heatmap", photo, "--checkpoint", best, "--out", str(tmp_path), "--json"]
    assert main(words) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert {entry["name"] for entry in found["classes"]} == set(CLASSES[:2])
    with np.load(tmp_path / "wide.npz") as numbers:
        assert numbers["classes"].tolist() == list(CLASSES[:2])
        assert numbers["score"].shape == (2, 4, 12)  # 32x96 px at stride 8
        coarse = numbers["stride"]
    assert main([*words, "--stride", "4", "--size", "64", "--classes", "disc"]) == 0
    with np.load(tmp_path / "wide.npz") as numbers:
        assert numbers["score"].shape == (2, 16, 48)
        assert numbers["stride"][0] == pytest.approx(coarse[0] / 4)
    capsys.readouterr()

    assert main(["classify", str(photos), "--checkpoint", best, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy"]["images"] == 18
    assert sum(c["probability"] for c in result["images"][0]["classes"]) == pytest.approx(1)


def test_a_finished_run_is_resumed_by_its_folder_alone(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    assert main(["train-classifier", "--run", str(run), "--resume"]) == 0
    assert "finished already" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()} == before


def test_print_config_gives_a_file_that_works(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train-classifier", "--data-root", str(photos), "--backbone", "resnet18", "--epochs"]
    assert main([*words, "3", "--print-config"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "my.yaml").write_text(text)
    assert main(["train-classifier", "--config", str(tmp_path / "my.yaml"), "--print-config"]) == 0
    assert capsys.readouterr().out == text


def test_a_known_network_from_nothing(photos: Path, tmp_path: Path) -> None:
    words = ["train-classifier", "--data-root", str(photos), "--run", str(tmp_path / "run"), *QUICK]
    words += ["--backbone", "resnet18", "--weights", "none"]
    assert main(words) == 0
    assert (tmp_path / "run" / "best.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ([], 2, "--data-root: missing; give a folder with a folder of images a class"),
        (["--data-root", "none"], 3, "--data-root none: there is no such folder; expected a fol"),
        (["--data-root", "PHOTOS/disc"], 3, "disc: holds 0 folders; expected two or more, one a"),
        (["--data-root", "PHOTOS", "--backbone", "resnet81"], 2, "--backbone resnet81: unknown"),
        (["--data-root", "PHOTOS", "--freeze", "backbone"], 2, "--freeze backbone: the layers th"),
        (["--data-root", "PHOTOS", "--crop-size", "9"], 2, "--crop-size: no such flag of fcnseg"),
        (["--resume", "--run", "none"], 2, "none: nothing to resume, no state was saved here; st"),
    ],
)
def test_refusals_are_one_line(
    words: list[str],
    code: int,
    line: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word.replace("PHOTOS", str(photos)) for word in words]
    assert main(["train-classifier", "--workers", "0", *words]) == code
    error = capsys.readouterr().err
    assert line in error
    assert error.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "runs").exists()


def test_truncated_images_are_named_together(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in CLASSES[:2]:
        (tmp_path / "own" / name).mkdir(parents=True)
        for path in (photos / name).glob("*.jpg"):
            (tmp_path / "own" / name / path.name).write_bytes(path.read_bytes())
    for name in ("disc/1.jpg", "lozenge/2.jpg"):
        content = (tmp_path / "own" / name).read_bytes()
        (tmp_path / "own" / name).write_bytes(content[: len(content) // 2])
    words = ["train-classifier", "--data-root", str(tmp_path / "own"), "--run", str(tmp_path / "r")]
    assert main([*words, "--workers", "1"]) == 3
    (line,) = [row for row in capsys.readouterr().err.splitlines() if row.startswith("error: ")]
    assert "disc/1.jpg: cannot be decoded" in line
    assert "lozenge/2.jpg: cannot be decoded" in line
    assert not (tmp_path / "r").exists()


def test_commands_for_segmentation_refuse_it(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = str(run / "best.safetensors")
    assert main(["predict", str(photos / "disc"), "--checkpoint", best]) == 4
    assert "holds a classifier, not a segmentation network" in capsys.readouterr().err
    words = ["heatmap", str(photos / "disc/1.jpg"), "--checkpoint", best]
    assert main([*words, "--backbone", "resnet18"]) == 2
    assert "--backbone: the network of --checkpoint has its own" in capsys.readouterr().err
    words = ["classify", str(photos), "--checkpoint", best, "--weights", "x.pth"]
    assert main(words) == 2
    assert "--weights: the classifier of --checkpoint has its own" in capsys.readouterr().err
