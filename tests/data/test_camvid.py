"""CamVid, the real files and made ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.camvid import CLASSES, CamVid
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
    source = CamVid(root, split)
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
    label = CamVid(shared_data / "camvid", "val")[0].label
    rows = {
        name: np.argwhere(label == CLASSES.index(name))[:, 0].mean() for name in ("Sky", "Road")
    }
    assert rows["Sky"] < 180 < rows["Road"]


@pytest.mark.parametrize("value", [12, 255])
def test_other_values_are_refused(tmp_path: Path, value: int) -> None:
    source = CamVid(made(tmp_path, value), "train")
    with pytest.raises(DataError, match=rf"value {value} \(24 pixels\).*0 to 10, or 11 for void"):
        source[0]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"val/ and valannot/ missing.*--data shapes"):
        CamVid(tmp_path, "val")
    with pytest.raises(DataError, match=r"--data-root: .*none was given"):
        CamVid(None, "val")
    with pytest.raises(
        UsageError, match="CamVid split: expected one of train, val, test, got 'vall'"
    ):
        CamVid(tmp_path, "vall")


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    root = made(tmp_path / "camvid", 1)
    shutil.move(root / "train/a.png", tmp_path / "elsewhere.png")
    (root / "train/a.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(DataError, match=r"a\.png: leads out of the data root, to .*elsewhere"):
        CamVid(root, "train")
