"""CamVid, the real files and made ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.camvid import CLASSES, camvid, camvid32
from fcnseg.data.sample import Source
from fcnseg.errors import DataError, UsageError


def made(root: Path, value: int) -> Path:
    for folder, mode, colour in (("train", "RGB", (1, 2, 3)), ("trainannot", "L", value)):
        (root / folder).mkdir(parents=True)
        Image.new(mode, (6, 4), colour).save(root / folder / "a.png")
    return root


@pytest.mark.parametrize(("split", "count"), [("train", 367), ("val", 101)])
def test_the_real_files(shared_data: Path, split: str, count: int) -> None:
    root = shared_data / "camvid"
    source = camvid(root, split)
    assert isinstance(source, Source)
    assert len(source) == count
    assert len(source.classes) == len(source.palette) == 11
    for index in (0, count // 2, count - 1):
        sample = source[index]
        image = np.asarray(Image.open(root / split / f"{sample.id}.png").convert("RGB"))
        raw = np.asarray(Image.open(root / f"{split}annot" / f"{sample.id}.png"))
        assert np.array_equal(sample.image, image)
        assert image.shape == (360, 480, 3)
        assert np.array_equal(sample.label, np.where(raw == 11, 255, raw))


def test_road_is_below_sky(shared_data: Path) -> None:
    label = camvid(shared_data / "camvid", "val")[0].label
    rows = {
        name: np.argwhere(label == CLASSES.index(name))[:, 0].mean() for name in ("Sky", "Road")
    }
    assert rows["Sky"] < 180 < rows["Road"]


@pytest.mark.parametrize("value", [12, 255])
def test_other_values_are_refused(tmp_path: Path, value: int) -> None:
    source = camvid(made(tmp_path, value), "train")
    with pytest.raises(DataError, match=rf"value {value} \(24 pixels\).*0 to 10, or 11 for void"):
        source[0]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"val/ and valannot/ missing.*--data shapes"):
        camvid(tmp_path, "val")
    with pytest.raises(DataError, match=r"--data-root: .*none was given"):
        camvid(None, "val")
    with pytest.raises(
        UsageError, match="CamVid split: expected one of train, val, test, got 'vall'"
    ):
        camvid(tmp_path, "vall")


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    root = made(tmp_path / "camvid", 1)
    shutil.move(root / "train/a.png", tmp_path / "elsewhere.png")
    (root / "train/a.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(DataError, match=r"a\.png: leads out of the data root, to .*elsewhere"):
        camvid(root, "train")


# Six of the original's colours, and what the SegNet tutorial makes of them.
COLOURS = [(128, 128, 128), (0, 128, 64), (192, 0, 64), (64, 128, 192), (192, 0, 192), (0, 0, 0)]
GROUPED = ["Sky", "Building", "Road", "Car", "Bicyclist", None]
OWN = ["Sky", "Bridge", "LaneMkgsNonDriv", "SUVPickupTruck", "MotorcycleScooter", None]


def coloured(root: Path) -> Path:
    for name in ("train", "train_labels"):
        (root / name).mkdir(parents=True)
    Image.new("RGB", (6, 1), (1, 2, 3)).save(root / "train/0016E5.png")
    Image.fromarray(np.array([COLOURS], np.uint8)).save(root / "train_labels/0016E5_L.png")
    return root


def test_colour_masks_give_the_11_classes_or_all(tmp_path: Path) -> None:
    root = coloured(tmp_path)
    for source, names in ((camvid(root, "train"), GROUPED), (camvid32(root, "train"), OWN)):
        assert source.id(0) == "0016E5"
        expected = [255 if name is None else source.classes.index(name) for name in names]
        assert source[0].label.tolist() == [expected]
    assert len(camvid32(root, "train").classes) == 31


def test_unknown_colours_and_grey_masks(tmp_path: Path) -> None:
    root = coloured(tmp_path)
    Image.new("RGB", (6, 1), (1, 2, 3)).save(root / "train_labels/0016E5_L.png")
    with pytest.raises(DataError, match=r"_L\.png: colour \(1, 2, 3\) at x=0, y=0 belongs to no"):
        camvid(root, "train")[0]
    Image.new("L", (6, 1), 3).save(root / "train_labels/0016E5_L.png")
    with pytest.raises(DataError, match="grey mask, expected CamVid's colours; use --data camvid"):
        camvid32(root, "train")[0]
