"""Predicted masks as a COCO json, read by pycocotools and by our own reader."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from fcnseg.data.coco import coco
from fcnseg.errors import EnvironmentFault
from fcnseg.inference.coco_results import categories_of, coco_results, regions_of

CLASSES = ("background", "cat", "street tree", "unseen")


def blocks(seed: int, height: int, width: int, classes: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, classes, (height // 5, width // 5), np.uint8)
    return np.kron(coarse, np.ones((5, 5), np.uint8))


def written(folder: Path, classes: tuple[str, ...], masks: dict[str, np.ndarray]) -> Path:
    path = folder / "all.json"
    with coco_results(path, classes) as results:
        for number, (name, labels) in enumerate(masks.items(), 1):
            image = folder / "images" / name
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.repeat(labels[..., None], 3, 2)).save(image)
            regions = regions_of(labels, number, categories_of(classes))
            results.add(number, name, labels.shape, regions)
        assert not path.exists()
    return path


def test_our_reader_gives_the_labels_back(tmp_path: Path) -> None:
    masks = {"a.png": blocks(0, 20, 35, 3), "sub/b.png": blocks(1, 30, 10, 3)}
    masks["empty.png"] = np.zeros((8, 9), np.uint8)
    read = coco(written(tmp_path, CLASSES, masks), tmp_path / "images")
    assert read.classes == CLASSES
    found = {read[i].id: read[i].label for i in range(len(read))}
    assert len(found) == 3
    for name, labels in masks.items():
        assert np.array_equal(found[name.removesuffix(".png")], labels)


def test_pycocotools_gives_masks_areas_and_boxes(tmp_path: Path) -> None:
    labels = blocks(3, 20, 35, 3)
    file = COCO(str(written(tmp_path, CLASSES, {"x.png": labels, "y.png": labels})))
    assert [c["name"] for c in file.loadCats(file.getCatIds())] == list(CLASSES[1:])
    assert file.getCatIds() == [1, 2, 3]
    assert len(file.anns) == 4
    for annotation in file.loadAnns(file.getAnnIds(imgIds=[2])):
        inside = labels == annotation["category_id"]
        assert np.array_equal(file.annToMask(annotation), inside)
        assert annotation["area"] == inside.sum()
        y, x = np.nonzero(inside)
        box = [x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min()]
        assert annotation["bbox"] == box
        assert annotation["iscrowd"] == 0


def test_classes_without_a_background_begin_at_1(tmp_path: Path) -> None:
    labels = blocks(4, 10, 10, 2)
    assert [c["id"] for c in categories_of(("sky", "road")).values()] == [1, 2]
    read = coco(written(tmp_path, ("sky", "road"), {"x.png": labels}), tmp_path / "images")
    assert read.classes == ("background", "sky", "road")
    assert np.array_equal(read[0].label, labels + 1)


def test_a_background_that_is_not_the_first_class_is_left_out() -> None:
    found = categories_of(("sky", "Background", "road"))
    assert {number: c["id"] for number, c in found.items()} == {0: 1, 2: 3}


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), coco_results(tmp_path / "all.json", CLASSES):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    missing = coco_results(tmp_path / "none/all.json", CLASSES)
    with pytest.raises(EnvironmentFault, match=r"none/all\.json: cannot be written"):
        missing.__enter__()


def test_no_image_at_all_is_a_valid_json(tmp_path: Path) -> None:
    content = json.loads(written(tmp_path, CLASSES, {}).read_text())
    assert content["images"] == content["annotations"] == []
    assert len(content["categories"]) == 3
