"""Every file in configs/ is read, checked and trained with, by the command it names."""

import shlex
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from networks import narrow
from PIL import Image

from fcnseg.cli import main
from fcnseg.config import DataConfig, TrainConfig, load_config

ROOT = Path(__file__).parent.parent / "configs"
FILES = sorted(path for path in ROOT.rglob("*") if path.is_file())


def test_the_count_of_files_is_known() -> None:
    assert len(FILES) == 4
    assert {path.suffix for path in FILES} == {".yaml"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_is_valid_complete_and_says_how_it_is_used(path: Path) -> None:
    import yaml

    config = load_config(TrainConfig, path, {})
    assert path.name.startswith(f"{config.data}_fcn{config.variant}_{config.backbone}")

    first = path.read_text().splitlines()[0]
    assert first.startswith(f"# fcnseg train --config configs/{path.relative_to(ROOT)}")

    network_and_training = {item.name for item in fields(TrainConfig)} - {
        *(item.name for item in fields(DataConfig)),
        *("init_from", "resume", "overwrite"),
    }
    written = set(yaml.safe_load(path.read_text()))
    assert network_and_training - written == set(), "settings left to defaults"


def pairs(images: Path, masks: Path, ending: str, classes: int) -> list[str]:
    """Write 5 images and their masks; return their names."""
    numbers = np.random.default_rng(list(str(images).encode()))
    for folder in (images, masks):
        folder.mkdir(parents=True)
    for name in "abcde":
        image = numbers.integers(0, 256, (60, 70, 3), np.uint8)
        Image.fromarray(image).save(images / f"{name}{ending}")
        mask = numbers.integers(0, classes, (60, 70), np.uint8)
        Image.fromarray(mask).save(masks / f"{name}.png")
    return list("abcde")


def tiny_data(folder: Path) -> None:
    """The data sets that the commands in the files name, of 5 images each."""
    pairs(folder / "images", folder / "masks", ".jpg", 3)
    for split in ("train", "val"):
        pairs(folder / "CamVid" / split, folder / "CamVid" / f"{split}annot", ".png", 11)
    voc = folder / "VOCdevkit/VOC2012"
    names = pairs(voc / "JPEGImages", voc / "SegmentationClass", ".jpg", 21)
    lists = voc / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for split, part in (("train", names[:3]), ("val", names[3:])):
        (lists / f"{split}.txt").write_text("\n".join(part))


SHORTER = shlex.split(
    "--epochs 1 --batch-size 2 --crop-size 64x64 --workers 0 --device cpu --run run"
)
SMALLER = {
    "shapes": shlex.split("--train-length 4 --val-length 1 --image-size 64x64"),
    "voc": ["--weights", "none"],
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_command_of_the_file_trains(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_data(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fcnseg.classifiers.build", narrow)
    line = path.read_text().splitlines()[0].removeprefix("# fcnseg ")
    line = line.replace("--images DIR", "--images images").replace("--masks DIR", "--masks masks")
    smaller = SMALLER.get(path.name.partition("_")[0], [])
    assert main([*shlex.split(line), *SHORTER, *smaller]) == 0
    used = load_config(TrainConfig, tmp_path / "run/config.yaml", {})
    given = {"epochs", "batch_size", "crop_size", "workers", "device", "run"}
    given |= {word[2:].replace("-", "_") for word in [*smaller, *shlex.split(line)] if "--" in word}
    written = load_config(TrainConfig, path, {})
    for item in fields(TrainConfig):
        if item.name not in given:
            assert getattr(used, item.name) == getattr(written, item.name)
    assert (tmp_path / "run/best.safetensors").is_file()
