"""Every file in configs/ is read, checked and trained with, by the command it names."""

import shlex
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from networks import CHAINS, SmallVGG
from PIL import Image
from torch import nn
from torchvision.models import resnet
from voc_layout import write_sbd_mask

from fcnseg import classifiers
from fcnseg.build import build_fcn
from fcnseg.catalogue import BackboneInfo
from fcnseg.cli import main
from fcnseg.config import DataConfig, TrainConfig, differences, load_config
from fcnseg.data.voc import CLASSES
from fcnseg.engine.checkpoint import save_model
from fcnseg.recipes import default_lr, recipe_values

ROOT = Path(__file__).parent.parent / "configs"
FILES = sorted(path for path in ROOT.rglob("*") if path.is_file())
MODELS = ("32s", "16s", "8s", "8s-atonce")
_real_build = classifiers.build


def command(path: Path) -> list[str]:
    """The words of the command in the first line of a file, without ``fcnseg``."""
    line = path.read_text().splitlines()[0]
    assert line.startswith("# fcnseg train ")
    return shlex.split(line.removeprefix("# fcnseg "))


def named(flag: str, words: list[str]) -> str | None:
    """What a command gives for a flag."""
    return words[words.index(flag) + 1] if flag in words else None


def test_the_files_are_those_that_are_promised() -> None:
    expected = {
        *(f"voc_fcn{variant}_vgg16.yaml" for variant in MODELS),
        *(f"voc-aug_fcn{variant}_vgg16_paper.yaml" for variant in MODELS),
        *("voc_fcn8s_resnet50.yaml", "camvid_fcn8s_efficientnet_lite0.yaml"),
        *("shapes_fcn8s_efficientnet_lite0.yaml", "folder_fcn8s_efficientnet_lite0.yaml"),
    }
    assert {str(path.relative_to(ROOT)) for path in FILES} == expected
    assert len(FILES) == 12


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_is_valid_complete_and_says_how_it_is_used(path: Path) -> None:
    import yaml

    config = load_config(TrainConfig, path, {})
    paper = "_paper" if config.recipe == "paper" else ""
    assert path.stem == f"{config.data}_fcn{config.variant}_{config.backbone}{paper}"
    run = f"{config.data}-fcn{config.variant}-{config.backbone}{paper}"
    assert config.run == f"runs/{run.replace('_paper', '-paper')}"
    assert named("--config", command(path)) == f"configs/{path.relative_to(ROOT)}"

    network_and_training = {item.name for item in fields(TrainConfig)} - {
        *({item.name for item in fields(DataConfig)} - {"seed"}),
        *("init_from", "resume", "overwrite"),
    }
    written = set(yaml.safe_load(path.read_text()))
    assert network_and_training - written == set(), "settings left to defaults"


PAPER = [path for path in FILES if path.stem.endswith("_paper")]


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.name)
def test_what_the_paper_published_is_what_its_files_say(path: Path) -> None:
    config = load_config(TrainConfig, path, {})
    published = recipe_values("paper", config.backbone, config.variant)
    assert {name: getattr(config, name) for name in published} == published
    assert config.lr == default_lr("paper", config.variant)
    assert (config.train_split, config.val_split) == ("sbd-train", "seg11valid")
    flags = {"recipe": "paper", "variant": config.variant, "lr": config.lr}
    recipe = load_config(TrainConfig, None, {**flags, "data": "shapes"})
    data = {item.name for item in fields(DataConfig)}
    changed = differences(recipe, config, ignore=(*data, "run", "precision"))
    assert changed == [], "beside the data the file is the recipe and nothing else"


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.name)
def test_a_stage_starts_from_where_the_stage_before_is_written(path: Path) -> None:
    start = named("--init-from", command(path))
    before = {"16s": "32s", "8s": "16s"}.get(load_config(TrainConfig, path, {}).variant)
    if before is None:
        assert start is None
        return
    assert start is not None
    other = load_config(TrainConfig, ROOT / f"voc-aug_fcn{before}_vgg16_paper.yaml", {})
    assert start == f"{other.run}/best.safetensors"


VGG16 = ((2, 4), (2, 8), (3, 16), (3, 32), (3, 32))  # a sixteenth of its channels


def small(info: BackboneInfo) -> nn.Module:
    """A network of the same kind with fewer layers or channels; EfficientNet-Lite as it is."""
    if info.name in CHAINS:
        return SmallVGG(VGG16, hidden=(32, 32))
    if info.name == "resnet50":
        return resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], width_per_group=4)
    return _real_build(info)


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
    sbd = folder / "DATA/benchmark_RELEASE/dataset"
    for part in ("img", "cls"):
        (sbd / part).mkdir(parents=True)
    for name in names:
        (sbd / f"img/{name}.jpg").write_bytes((voc / f"JPEGImages/{name}.jpg").read_bytes())
        write_sbd_mask(
            sbd / f"cls/{name}.mat", np.array(Image.open(voc / f"SegmentationClass/{name}.png"))
        )
    for split, part in (("train", names[:3]), ("val", names[3:])):
        (sbd / f"{split}.txt").write_text("\n".join(part))
    (folder / "DATA/VOCdevkit").symlink_to(folder / "VOCdevkit")


SHORTER = shlex.split("--iterations 2 --workers 0 --device cpu --run run")
CROPS = shlex.split("--batch-size 2 --crop-size 64x64")
SMALLER = {
    "shapes": [*shlex.split("--train-length 4 --val-length 1 --image-size 64x64"), *CROPS],
    "voc": ["--weights", "none", *CROPS],
    "voc-aug": ["--weights", "none", "--val-split", "val"],  # seg11valid has 736 images
    "camvid": CROPS,
    "folder": CROPS,
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_command_of_the_file_trains(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_data(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fcnseg.classifiers.build", small)
    monkeypatch.setattr("fcnseg.engine.segmentation.Segmentation.show", lambda *_: None)
    words = command(path)
    written = load_config(TrainConfig, path, {})
    start = named("--init-from", words)
    if start is not None:
        before = "32s" if "fcn32s" in start else "16s"
        model = build_fcn("vgg16", before, 21, padding="paper", upsample="fixed", classes=CLASSES)
        Path(start).parent.mkdir(parents=True)
        save_model(start, model)
    if "DIR" in words:
        words[words.index("--images") + 1], words[words.index("--masks") + 1] = "images", "masks"
    smaller = [*SHORTER, *SMALLER[written.data]]
    assert main([*words, *smaller]) == 0
    used = load_config(TrainConfig, tmp_path / "run/config.yaml", {})
    given = {w[2:].replace("-", "_") for w in [*smaller, *words] if w.startswith("--")}
    for item in fields(TrainConfig):
        if item.name not in given:
            assert getattr(used, item.name) == getattr(written, item.name)
    assert (tmp_path / "run/best.safetensors").is_file()
