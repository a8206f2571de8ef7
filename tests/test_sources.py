"""From settings to sources: which part is opened, and what must not be in both."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcnseg.audit.doubts import across
from fcnseg.audit.survey import survey
from fcnseg.config import DataConfig, load_config
from fcnseg.data.pairs import ImagePairs, Pair
from fcnseg.data.subset import Subset
from fcnseg.engine.events import Event, Notice
from fcnseg.errors import DataError, UsageError
from fcnseg.sources import build_check_sources, build_evaluation_source, build_sources, scaled


def read_nothing(pair: Pair, max_pixels: int) -> np.ndarray:
    raise AssertionError


def settings(**flags: Any) -> DataConfig:
    return load_config(DataConfig, None, flags)


def write(folder: Path, names: str, mode: str = "RGB") -> Path:
    folder.mkdir(parents=True)
    for index, name in enumerate(names):
        colour = (index, 0, 0) if mode == "RGB" else index % 2
        Image.new(mode, (40, 30), colour).save(folder / f"{name}.png")
    return folder


def ids(source: Any) -> list[str]:
    return [source.id(i) for i in range(len(source))]


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    images, masks = write(tmp_path / "i", "abcdefghij"), write(tmp_path / "m", "abcdefghij", "L")
    return {"images": str(images), "masks": str(masks), "classes": "x,y"}


def test_own_pairs_are_split_and_evaluation_finds_what_was_held_out(own: dict[str, str]) -> None:
    config = settings(**own, val_fraction=0.3, seed=3)
    training, validation = build_sources(config)
    assert sorted(ids(training) + ids(validation)) == list("abcdefghij")
    assert len(validation) == 3
    trained = {"images": own["images"], "masks": own["masks"], "seed": 3, "val_fraction": 0.3}
    events: list[Event] = []
    source = build_evaluation_source(settings(**own), trained, given=(), observer=events.append)
    assert ids(source) == ids(validation)
    assert events == [Notice("scoring the 3 pairs that training held out")]


def test_own_json_is_split_alike(own: dict[str, str], tmp_path: Path) -> None:
    names = "abcdefghij"
    images = [
        {"id": i, "file_name": f"{n}.png", "height": 30, "width": 40} for i, n in enumerate(names)
    ]
    box = [[2, 3, 20, 3, 20, 15, 2, 15]]
    annotations = [
        {"id": i, "image_id": i, "category_id": 7, "iscrowd": 0, "area": 216, "segmentation": box}
        for i in range(10)
    ]
    text = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "box"}]}
    (tmp_path / "own.json").write_text(json.dumps(text))
    flags = {"images": own["images"], "annotations": str(tmp_path / "own.json")}
    training, validation = build_sources(settings(**flags))
    assert training.classes == ("background", "box")
    assert len(training) == 9
    (part,) = build_check_sources(settings(**flags))
    assert len(part[1]()) == 10
    trained = {**flags, "seed": 0, "pairs": 10}
    source = build_evaluation_source(settings(**flags), trained, given=())
    assert ids(source) == ids(validation)
    assert source[0].label.max() == 1


def test_missing_classes_point_at_the_check(own: dict[str, str]) -> None:
    del own["classes"]
    with pytest.raises(UsageError, match=r"--classes: missing; `fcnseg check --images .* proposes"):
        build_sources(settings(**own))


def test_lists_that_overlap_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "VOC2012"
    write(root / "JPEGImages", "")
    write(root / "SegmentationClass", "")
    for name in ("2007_000001", "2007_000002"):
        Image.new("RGB", (8, 8)).save(root / f"JPEGImages/{name}.jpg")
        Image.new("P", (8, 8)).save(root / f"SegmentationClass/{name}.png")
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000001\n")
    (lists / "val.txt").write_text("2007_000002\n")
    (lists / "trainval.txt").write_text("2007_000001\n2007_000002\n")
    training, validation = build_sources(settings(data_root=str(root)))
    assert (ids(training), ids(validation)) == (["2007_000001"], ["2007_000002"])
    with pytest.raises(
        DataError, match=r"voc/val: 1 of its 1 images are in voc/trainval too: 2007_000002"
    ):
        build_sources(settings(data_root=str(root), train_split="trainval"))


def test_a_folder_that_is_both_training_and_validation_is_refused(own: dict[str, str]) -> None:
    flags = {**own, "val_images": own["images"], "val_masks": own["masks"]}
    with pytest.raises(DataError, match=r"folder/val: 10 of its 10 images are in folder too: a, b"):
        build_sources(settings(**flags))


def test_classes_that_differ_between_the_parts_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class id would mean one thing in training and another in validation."""
    write(tmp_path / "train", "ab")
    write(tmp_path / "val", "cd")
    (tmp_path / "turned_classes.py").write_text("""
import numpy as np
from fcnseg.data.pairs import ImagePairs, Pair

def zeros(pair, max_pixels):
    return np.zeros((30, 40), np.uint8)

def source(root, split):
    classes = ("cat", "dog") if split == "train" else ("dog", "cat")
    pairs = [Pair(p.stem, p, p) for p in sorted((root / split).glob("*.png"))]
    return ImagePairs(split, classes, ((0, 0, 0), (9, 9, 9)), pairs, zeros)
""")
    monkeypatch.syspath_prepend(tmp_path)
    own = {"data": str(tmp_path / "turned_classes.py"), "data_root": str(tmp_path)}
    words = "val: its classes are dog, cat, those of train are cat, dog; a class id must mean"
    with pytest.raises(DataError, match=words):
        build_sources(settings(**own))
    reports = [survey(open_part()) for _, open_part in build_check_sources(settings(**own))]
    errors = [f for f in across(reports) if f.severity == "error"]
    assert any("its classes are dog, cat, those of train are cat" in f.message for f in errors)


def test_two_samples_of_one_name_are_refused(tmp_path: Path) -> None:
    """A cache and a resumed run tell samples by their names."""
    image = write(tmp_path / "i", "a") / "a.png"
    pairs = [Pair("x", image, image), Pair("y", image, image), Pair("x", image, image)]
    made = "mine", ("cat", "dog"), ((0, 0, 0), (9, 9, 9)), pairs, read_nothing
    with pytest.raises(DataError, match="mine: 2 samples have the name 'x', the first of"):
        ImagePairs(*made)
    source = ImagePairs(*made, strict=False)
    assert (ids(source), len(source.faults)) == (["y"], 1)


def test_parts_of_a_check_keep_their_faults(own: dict[str, str]) -> None:
    (Path(own["masks"]) / "c.png").unlink()
    (part,) = build_check_sources(settings(**own))
    source = part[1]()
    assert isinstance(source, ImagePairs)
    assert len(source) == 9
    assert "c.png: there is no mask of the same name" in source.faults[0]
    with pytest.raises(DataError, match="have no mask of the same name"):
        build_sources(settings(**own))


def test_scaled(own: dict[str, str]) -> None:
    training, _ = build_sources(settings(**own))
    assert isinstance(training, Subset)
    assert scaled(training, None) is training
    small = scaled(training, 15)
    assert small[0].image.shape == (15, 20, 3)
    assert small[0].label.shape == (15, 20)
    assert np.array_equal(np.unique(small[0].label), np.unique(training[0].label))
    shapes, _ = build_sources(settings(data="shapes"))
    with pytest.raises(UsageError, match="--short-side: shapes/train has no files"):
        scaled(shapes, 15)


def test_download_needs_a_folder() -> None:
    with pytest.raises(UsageError, match=r"--download: needs a folder .* give --data-root"):
        build_sources(settings(data="voc", download=True))
