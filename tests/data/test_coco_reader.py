"""COCO's layout and the json files that labelling tools write."""

import hashlib
import json
import pickle
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_samples import (
    CATEGORIES,
    SQUARE,
    annotation,
    paint_plainly,
    photograph,
    run_lengths,
    small,
    write,
)
from PIL import Image

from fcnseg.data.cache import cached
from fcnseg.data.coco import VOC_NAMES, coco, coco_split
from fcnseg.data.pairs import ImagePairs
from fcnseg.data.sample import Sample, Source
from fcnseg.data.subset import split
from fcnseg.data.voc import CLASSES as VOC_CLASSES
from fcnseg.errors import DataError, UsageError
from fcnseg.palette import voc_palette

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """COCO as it is unpacked: 3 photographs of 2017, one without annotations."""
    numbers = np.random.default_rng(1)
    for part, first in (("train2017", 9), ("val2017", 139)):
        images, annotations = [], []
        for number in range(first, first + 3):
            name = f"{number:012d}.jpg"
            photograph(tmp_path / part / name, 40, 60)
            images.append({"id": number, "file_name": name, "height": 40, "width": 60})
            if number == first:
                continue
            polygons = [[3.5, 4.25, 30, 4, 28.13, 33], [40, 2, 55, 2, 55, 30]]
            annotations += [
                annotation(number * 10, number, 3, polygons),
                annotation(number * 10 + 1, number, 1, [SQUARE]),
                annotation(
                    number * 10 + 2, number, 63, run_lengths(numbers, 40, 60, False), iscrowd=1
                ),
            ]
        write(tmp_path / f"annotations/instances_{part}.json", images, annotations)
    return tmp_path


def tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_cocos_own_layout_label_for_label(root: Path) -> None:
    before = tree(root)
    for part, json_part in (("train", "train2017"), ("val2017", "val2017")):
        source = coco_split(root, part)
        assert isinstance(source, Source)
        assert source.name == f"coco/{json_part}"
        assert source.classes == ("background", "person", "car", "cat", "couch", "dining table")
        assert source.palette == voc_palette(6)
        file = root / f"annotations/instances_{json_part}.json"
        listed = {entry["file_name"] for entry in json.loads(file.read_text())["images"]}
        assert {f"{source.id(i)}.jpg" for i in range(len(source))} == listed
        for i in range(len(source)):
            sample = source[i]
            with Image.open(root / json_part / f"{sample.id}.jpg") as image:
                np.testing.assert_array_equal(sample.image, np.array(image))
            plain = paint_plainly(file, int(sample.id), {1: 1, 3: 2, 17: 3, 63: 4, 67: 5})
            np.testing.assert_array_equal(sample.label, plain)
            assert source.files(i) == (root / json_part / f"{sample.id}.jpg", file)
        assert not source[0].label.any()  # the one without annotations
        assert set(np.unique(source[1].label)) == {0, 1, 2, 255}
    assert tree(root) == before


def test_the_layout_of_2014_and_images_in_a_folder_of_their_own(root: Path) -> None:
    for part in ("train", "val"):
        old = root / f"annotations/instances_{part}2017.json"
        old.rename(root / f"annotations/instances_{part}2014.json")
        (root / "images").mkdir(exist_ok=True)
        (root / f"{part}2017").rename(root / f"images/{part}2014")
    assert coco_split(root, "train").name == "coco/train2014"
    assert len(coco_split(root, "val2014")) == 3


def test_the_source_crosses_processes_and_is_small(root: Path) -> None:
    source = coco_split(root, "train", ["car"])
    data = pickle.dumps(source)
    assert len(data) < 3000  # of a json of 3 kB
    again = pickle.loads(data)
    np.testing.assert_array_equal(again[1].label, source[1].label)
    training, validation = split(source, 0.34, seed=0)
    assert (len(training), len(validation)) == (2, 1)


def test_chosen_classes_in_the_order_given(root: Path) -> None:
    source = coco_split(root, "train", ["couch", "person"])
    assert source.classes == ("background", "couch", "person")
    file = root / "annotations/instances_train2017.json"
    np.testing.assert_array_equal(source[2].label, paint_plainly(file, 11, {63: 1, 1: 2}))
    same = coco_split(root, "train", ["background", "couch", "person"])
    assert same.classes == source.classes
    np.testing.assert_array_equal(same[2].label, source[2].label)
    assert coco_split(root, "val", source.classes).classes == source.classes


def test_the_classes_of_voc(tmp_path: Path) -> None:
    names = [*VOC_NAMES.values(), "zebra"]
    categories = [{"id": 90 - i, "name": name} for i, name in enumerate(names)]
    photograph(tmp_path / "images/a.png", 20, 30)
    entry = {"id": 1, "file_name": "a.png", "height": 20, "width": 30}
    file = write(tmp_path / "a.json", [entry], [annotation(1, 1, 90, [SQUARE])], categories)
    source = coco(file, tmp_path / "images", tuple(VOC_NAMES))
    assert source.classes == VOC_CLASSES
    assert source.palette == voc_palette(21)
    assert source.label(0)[4, 4] == 1
    # The other way round: COCO's name for a file that has VOC's.
    file = write(
        tmp_path / "b.json",
        [entry],
        [annotation(1, 1, 2, [SQUARE])],
        [{"id": 2, "name": "sofa"}],
    )
    assert coco(file, tmp_path / "images", ["couch"]).label(0)[4, 4] == 1


def test_the_twenty_names_are_those_of_voc() -> None:
    assert ("background", *VOC_NAMES) == VOC_CLASSES


def test_category_ids_from_zero_text_ids_and_a_category_called_background(tmp_path: Path) -> None:
    categories: list[dict[str, Any]] = [
        {"id": "10", "name": "leaf"},
        {"id": 0, "name": "Background"},
        {"id": "2", "name": "stem"},
        {"id": 11, "name": "leaf"},
    ]
    photograph(tmp_path / "images/a.png", 20, 30)
    entry = {"id": "x-1", "file_name": "a.png", "height": 20.0, "width": 30}
    hole = [[3, 3, 5, 3, 5, 5, 3, 5]]
    annotations = [
        annotation("p", "x-1", 10, [SQUARE]),
        annotation("q", "x-1", 0, hole),
        annotation(3, "x-1", "2", [[10, 2, 18, 2, 18, 8, 10, 8]]),
        annotation(4, "x-1", 11.0, [[10, 10, 18, 10, 18, 18, 10, 18]]),
    ]
    file = write(tmp_path / "a.json", [entry], annotations, categories)
    source = coco(file, tmp_path / "images")
    assert source.classes == ("background", "stem", "leaf")
    label = source[0].label
    assert (label[4, 4], label[6, 6], label[5, 15], label[15, 15]) == (0, 2, 1, 2)


NAMES = [
    ("a.png", "a.png"),
    ("./a.png", "a.png"),
    ("town/b.png", "town/b.png"),
    ("town\\b.png", "town/b.png"),
    ("town/../a.png", "a.png"),
    ("images/town/b.png", "town/b.png"),
    ("C:\\Users\\me\\labels\\town\\b.png", "town/b.png"),
    ("/home/me/photos/a.png", "a.png"),
    ("https://host/upload/3/a.png", "a.png"),
    (
        unicodedata.normalize("NFD", "b\u00e4ume.png"),
        unicodedata.normalize("NFC", "b\u00e4ume.png"),
    ),
]


@pytest.mark.parametrize(("written", "there"), NAMES)
def test_file_names_as_tools_write_them(tmp_path: Path, written: str, there: str) -> None:
    photograph(tmp_path / "images" / there, 20, 30)
    entry = {"id": 7, "file_name": written, "height": 20, "width": 30, "license": 1, "url": None}
    extra = annotation(1, 7, 1, [SQUARE], attributes={"occluded": False}, keypoints=[0, 0, 0])
    file = write(tmp_path / "a.json", [entry], [extra])
    source = coco(file, tmp_path / "images")
    assert source.files(0)[0] == tmp_path / "images" / there
    assert source.id(0) == there.removesuffix(".png")
    assert source[0].label[4, 4] == 1


def test_two_files_of_one_stem_keep_different_ids(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.png"):
        photograph(tmp_path / "images" / name, 20, 30)
    entries = [
        {"id": i, "file_name": name, "height": 20, "width": 30}
        for i, name in enumerate(("b.png", "a.png", "a.jpg"))
    ]
    file = write(tmp_path / "a.json", entries, [annotation(1, 2, 1, [SQUARE])])
    source = coco(file, tmp_path / "images")
    assert [source.id(i) for i in range(3)] == ["a.jpg", "a.png", "b"]
    assert source.label(0).any()
    assert not source.label(1).any()


def test_a_size_that_is_not_the_images_is_found_when_it_is_read(tmp_path: Path) -> None:
    file, images = small(tmp_path, [annotation(1, 7, 1, [SQUARE])], height=30, width=20)
    source = coco(file, images)
    message = (
        rf"^{file}: image 7 is said to be 30x20 .*a\.png is 20x30; they must be equal \(an EXIF"
    )
    for same in (source, source.scaled(10), pickle.loads(pickle.dumps(source.scaled(10)))):
        with pytest.raises(DataError, match=message):
            same[0]
    assert source.misfit(0, (30, 20)) == ""
    assert source.scaled(10).files(0) == source.files(0)


def test_an_image_that_cannot_be_read_is_its_own_fault(tmp_path: Path) -> None:
    file, images = small(tmp_path, [annotation(1, 7, 1, [SQUARE])], height=30, width=20)
    source = coco(file, images)
    (images / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png: the file is empty"):
        source[0]
    photograph(images / "a.png", 30, 20)
    assert source[0].label.shape == (30, 20)
    assert source.scaled(10)[0].label.shape == (15, 10)


def test_an_object_of_no_size_paints_nothing(tmp_path: Path) -> None:
    file, images = small(
        tmp_path,
        [annotation(1, 7, 1, [], bbox=[0, 0, 0, 0]), annotation(2, 7, 3, [[5, 5, 5, 5, 5, 5]])],
    )
    assert not coco(file, images)[0].label.any()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["persn"], r"'persn' is no category of .*a\.json \(there: person, car.*mean 'person'"),
        (["sofas"], "did you mean 'sofa'"),
        (["car", "background"], "background is class 0; put it first"),
        (["sofa", "couch"], "'sofa' and 'couch' both mean the category 'couch'"),
        (["car", "car"], "'car' is there more than once"),
        ([], "expected 2 to 255 names"),
        ("car", "expected a list of names"),
    ],
)
def test_wrong_classes(tmp_path: Path, classes: Any, message: str) -> None:
    file, images = small(tmp_path, [annotation(1, 7, 1, [SQUARE])])
    with pytest.raises(UsageError, match=message):
        coco(file, images, classes)


def test_more_categories_than_ids(tmp_path: Path) -> None:
    photograph(tmp_path / "images/a.png", 20, 30)
    entry = {"id": 7, "file_name": "a.png", "height": 20, "width": 30}
    categories = [{"id": i, "name": f"c{i}"} for i in range(1203)]
    file = write(tmp_path / "a.json", [entry], [annotation(1, 7, 1, [SQUARE])], categories)
    with pytest.raises(UsageError, match=r"has 1203 categories, more than the 254 .*choose some"):
        coco(file, tmp_path / "images")
    assert coco(file, tmp_path / "images", ["c1"]).label(0)[4, 4] == 1


def test_one_category_more_than_there_is_room_for_is_the_limit(tmp_path: Path) -> None:
    assert len(CATEGORIES) == 5
    categories = [{"id": i, "name": f"c{i}"} for i in range(254)]
    photograph(tmp_path / "images/a.png", 20, 30)
    entry = {"id": 7, "file_name": "a.png", "height": 20, "width": 30}
    file = write(tmp_path / "a.json", [entry], [annotation(1, 7, 253, [SQUARE])], categories)
    assert coco(file, tmp_path / "images").label(0)[4, 4] == 254


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: None, r"COCO needs a folder and none was given"),
        (lambda root: root / "nowhere", "there is no such folder"),
        (lambda root: root / "annotations", r"no instances_train2017\.json or .*there: nothing"),
        (lambda root: (root / "train2017").rename(root / "x") and root, "neither train2017/ nor"),
    ],
)
def test_a_layout_that_is_not_cocos(root: Path, break_it: Any, message: str) -> None:
    place = break_it(root)
    with pytest.raises(DataError, match=message):
        coco_split(place, "train")


def test_a_split_that_is_not_there_or_no_name(root: Path) -> None:
    with pytest.raises(DataError, match=r"instances_test2017\.json or .*instances_val2017\.json"):
        coco_split(root, "test")
    with pytest.raises(UsageError, match="expected a plain name"):
        coco_split(root, "../train")


def test_one_edited_annotation_decodes_one_sample_of_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    usual = ImagePairs.__getitem__

    def counted(self: ImagePairs, index: int) -> Sample:
        decoded.append(self.id(index))
        return usual(self, index)

    monkeypatch.setattr(ImagePairs, "__getitem__", counted)
    (tmp_path / "i").mkdir()
    images, annotations = [], []
    for number in range(3):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(tmp_path / f"i/{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 10, "width": 20})
        square = {"segmentation": [[2, 2, 8, 2, 8, 8, 2, 8]], "category_id": 1, "iscrowd": 0}
        annotations.append({"id": number, "image_id": number, "area": 36, **square})
    text = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
    for expected in (["0", "1", "2"], [], ["1"]):
        if expected == ["1"]:
            annotations[1]["segmentation"] = [[2, 2, 12, 2, 12, 8, 2, 8]]
        (tmp_path / "own.json").write_text(json.dumps(text))
        source = coco(tmp_path / "own.json", tmp_path / "i")
        decoded.clear()
        kept = cached(source, tmp_path / "cache")
        assert decoded == expected
        for index in range(3):
            assert np.array_equal(kept.label(index), source.label(index))
    assert len(list((tmp_path / "cache").iterdir())) == 1
