"""Every fault of a COCO json: which message, with which id, and what is still readable."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from coco_samples import SQUARE, annotation, photograph, small, write

from fcnseg.data.coco import coco
from fcnseg.data.faults import faults_of
from fcnseg.errors import DataError

EVERYWHERE = {"size": [20, 30], "counts": [0, 600]}

FAULTS: list[tuple[Any, str]] = [
    (annotation(41, 99, 1, [SQUARE]), "annotation 41: image_id 99 is not among the images; "),
    (annotation(42, 7, 5, [SQUARE]), r"annotation 42: category_id 5 is not among .*\(1, 3, 17"),
    (annotation(43, 7, 1, [[1, 2, 3, float("nan"), 5, 6]]), "annotation 43: .*coordinate nan"),
    (annotation(44, 7, 1, [[60, 2, 80, 2, 80, 9]]), "annotation 44: .*lies wholly outside"),
    (annotation(45, 7, 1, [[6, 2, 8e5, 2, 8, 9]]), "annotation 45: .*lies far outside"),
    (annotation(46, 7, 1, [[1, 2, 3, 4]]), "annotation 46: none of its polygons has three"),
    (annotation(47, 7, 1, [[1, 2, 3, 4, 5]]), "annotation 47: a polygon has 5 numbers"),
    (
        annotation(48, 7, 1, {"size": [20, 30], "counts": [1, 2]}),
        "annotation 48: its RLE counts add up to 3, expected 600",
    ),
    (
        annotation(49, 7, 1, {"size": [30, 20], "counts": [600]}),
        r"annotation 49: its RLE is of a mask of 30x20 .* but its image is 20x30",
    ),
    (
        annotation(50, 7, 1, {"size": [20, 30], "counts": "zz"}),
        "annotation 50: its compressed RLE has a character",
    ),
    (annotation(51, 7, 1, {"counts": [600]}), "annotation 51: its RLE size is None"),
    (annotation(52, 7, 1, "polygon"), "annotation 52: its segmentation is a str"),
    (annotation(53, 7, 1, None, bbox=None), "annotation 53: it has no segmentation"),
    (annotation(54, 7, 1, []), "1 annotation has a box .* cannot be painted: 54; draw"),
    ({"id": 55, "segmentation": [SQUARE]}, "annotation 55 has no image_id or no category_id"),
    ("annotation", "annotation number 2 has no image_id"),
    (annotation(None, 99, 1, [SQUARE]), "annotation number 2: image_id 99"),
    (annotation(57, 7, 1, [[1, 2, "3", 4, 5, 6]]), "annotation 57: a polygon holds '3'"),
]


@pytest.mark.parametrize(("wrong", "message"), FAULTS)
def test_each_fault_names_the_annotation(tmp_path: Path, wrong: Any, message: str) -> None:
    file, images = small(tmp_path, [annotation(1, 7, 1, [SQUARE]), wrong])
    before = file.read_bytes()
    with pytest.raises(DataError, match=message) as caught:
        coco(file, images)
    (fault,) = faults_of(caught.value)
    assert fault.startswith(f"{file}: ")
    assert "; " in fault  # a remedy
    assert "\n" not in fault
    assert file.read_bytes() == before


def test_every_fault_is_listed_and_the_other_images_are_kept(tmp_path: Path) -> None:
    wrong = [entry for entry, _ in FAULTS if isinstance(entry, dict)]
    file, images = small(tmp_path, [annotation(1, 7, 1, [SQUARE]), *wrong])
    content = json.loads(file.read_text())
    photograph(images / "b.png", 20, 30)
    content["images"].append({"id": 8, "file_name": "b.png", "height": 20, "width": 30})
    content["annotations"].append(annotation(2, 8, 3, [SQUARE]))
    file.write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        coco(file, images)
    source = coco(file, images, strict=False)
    assert source.faults == faults_of(caught.value)
    assert len(source.faults) == len(wrong)
    for entry in wrong:
        assert any(re.search(rf"\b{entry['id'] or 'number'}\b", line) for line in source.faults)
    assert [source.id(i) for i in range(len(source))] == ["b"]
    assert source[0].label[4, 4] == 2


IMAGES: list[tuple[dict, str]] = [
    ({"file_name": "../a.png"}, r"image 7: file_name '\.\./a\.png' leads out .*as 'a\.png' of"),
    ({"file_name": "..\\..\\etc\\passwd"}, "leads out of the folder of images and is refused"),
    ({"file_name": "x/../../a.png"}, "leads out of the folder of images"),
    ({"file_name": "/etc/passwd"}, r"1 of 1 images listed in .*are missing: /etc/passwd"),
    ({"file_name": "c.png"}, "1 of 1 images .* are missing: c.png; add the files, or give"),
    ({"file_name": "a.jpg"}, r"missing: a\.jpg \(a\.png is there: is it the same picture\?\)"),
    ({"file_name": "A.PNG"}, r"missing: A\.PNG \(a\.png is there"),
    ({"file_name": "a\u0000.png"}, r"missing: a\\x00\.png"),
    ({"file_name": ""}, "image 7 has no file_name"),
    ({"file_name": 5}, "image 7 has no file_name"),
    ({"height": 0}, r"image 7 \('a\.png'\) has no size \(height 0, width 30\)"),
    ({"width": None}, r"has no size \(height 20, width None\)"),
    ({"height": 100000, "width": 100000}, "claims 100000x100000 .*raise --max-pixels"),
    ({"id": None}, "image number 1 has no id"),
]


@pytest.mark.parametrize(("change", "message"), IMAGES)
def test_entries_of_images(tmp_path: Path, change: dict, message: str) -> None:
    file, images = small(tmp_path, [annotation(1, change.get("id", 7), 1, [SQUARE])], **change)
    for strict in (True, False):  # nothing is left to read
        with pytest.raises(DataError, match=message):
            coco(file, images, strict=strict)


def test_an_image_in_a_folder_below_is_pointed_out(tmp_path: Path) -> None:
    file, images = small(tmp_path, [annotation(1, 7, 1, [SQUARE])])
    (images / "train").mkdir()
    (images / "a.png").rename(images / "train/a.png")
    with pytest.raises(DataError, match=r"a\.png is in .*images/train.*: give that folder as"):
        coco(file, images)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    file, images = small(tmp_path, [annotation(1, 7, 1, [SQUARE])])
    (images / "a.png").rename(tmp_path / "secret.png")
    (images / "a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match=r"image 7: 'a\.png' is a link out of .*secret\.png; put"):
        coco(file, images)
    (images / "a.png").unlink()
    (tmp_path / "secret.png").rename(images / "b.png")
    (images / "a.png").symlink_to(images / "b.png")
    assert len(coco(file, images)) == 1
    linked = tmp_path / "link"
    linked.symlink_to(images)
    assert len(coco(file, linked)) == 1


def test_two_entries_of_one_image_and_of_one_id(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        photograph(tmp_path / "images" / name, 20, 30)
    entry = {"height": 20, "width": 30}
    entries = [
        {"id": 1, "file_name": "a.png"} | entry,
        {"id": 2, "file_name": "./a.png"} | entry,
        {"id": 3, "file_name": "b.png"} | entry,
        {"id": "3", "file_name": "b.png"} | entry,
        {"id": 4, "file_name": "c.png"} | entry,
    ]
    file = write(tmp_path / "a.json", entries, [annotation(1, 4, 1, [SQUARE])])
    source = coco(file, tmp_path / "images", strict=False)
    assert [source.id(i) for i in range(len(source))] == ["c"]
    first, second = source.faults
    assert re.search("image 3 is there more than once .*its own id", first)
    assert re.search(r"images 1 and 2 are both 'a\.png'; keep one", second)


def test_categories(tmp_path: Path) -> None:
    photograph(tmp_path / "images/a.png", 20, 30)
    entry = {"id": 7, "file_name": "a.png", "height": 20, "width": 30}
    categories: list[Any] = [
        {"id": 1, "name": "x"},
        {"id": 1, "name": "y"},
        {"id": 2},
        {"name": "z"},
        "w",
    ]
    file = write(tmp_path / "a.json", [entry], [annotation(1, 7, 1, [SQUARE])], categories)
    source = coco(file, tmp_path / "images", strict=False)
    assert source.classes == ("background", "x")
    assert "category id 1 is both 'x' and 'y'" in source.faults[0]
    assert [re.search(r"category number (\d)", line)[1] for line in source.faults[1:]] == list(  # type: ignore[index]
        "345"
    )


def test_a_file_for_detection_is_named_as_such(tmp_path: Path) -> None:
    file, images = small(tmp_path, [annotation(i, 7, 1, []) for i in range(5)])
    with pytest.raises(DataError, match=r"all 5 annotations have a box .*made for detection"):
        coco(file, images)


def test_shares_of_the_size_in_place_of_pixels(tmp_path: Path) -> None:
    file, images = small(tmp_path, [annotation(1, 7, 1, [[0.1, 0.1, 0.9, 0.1, 0.5, 0.9]])])
    with pytest.raises(DataError, match="shares of the image's size, expected pixels"):
        coco(file, images)


def test_very_many_faults_are_counted_in_the_end(tmp_path: Path) -> None:
    wrong = [annotation(i, 1000 + i, 1, [SQUARE]) for i in range(250)]
    file, images = small(tmp_path, [annotation(1, 7, 1, [SQUARE]), *wrong])
    faults = coco(file, images, strict=False).faults
    assert len(faults) == 101
    assert faults[-1] == f"{file}: 150 more faults of this kind (ids)"


WHOLE = [
    ("", "the file is empty"),
    ('{"images": [{"id": 1, "file_name": "a.p', "ends too early, after 39 characters"),
    ('{"images": [], "annotations": [', "ends too early"),
    ('{"images": [1, 2}', r"no valid json \(.*line 1 column 17\)"),
    ("<!DOCTYPE html>", r"no valid json \(Expecting value, line 1 column 1\)"),
    ("[" * 200000, "nested too deeply"),
    ("[" + "9" * 5000 + "]", "cannot be read"),
    ("[]", "a list .results of a detector"),
    ("3", "holds no object"),
    ('{"images": []}', "no list of annotations and categories .there: 'images'"),
    ('{"images": [], "annotations": [], "categories": []}', "list of images and annotations and"),
    ('{"shapes": [], "imagePath": "a.jpg"}', "labelme's file of one image"),
    (
        '{"images": [1], "annotations": [{"id": 1, "image_id": 2, "caption": "x"}], '
        '"categories": [1]}',
        "holds captions",
    ),
    (
        '{"images": [1], "annotations": [{"image_id": 2, "category_id": 1, "segments_info": []}], '
        '"categories": [1]}',
        "holds panoptic segments",
    ),
    (
        '{"images": [{"id": 1}], "annotations": [1], "categories": [{"id": 1}]}',
        "category number 1 has no id or no name",
    ),
]


@pytest.mark.parametrize(("text", "message"), WHOLE)
def test_files_that_cannot_be_used_at_all(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    for strict in (True, False):
        with pytest.raises(DataError, match=message) as caught:
            coco(file, tmp_path, strict=strict)
        assert str(caught.value).startswith(f"{file}: ")
        assert "\n" not in str(caught.value)


def test_files_that_are_no_text_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    with pytest.raises(DataError, match="there is no such file; check --annotations"):
        coco(file, tmp_path)
    file.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff")
    with pytest.raises(DataError, match="is no UTF-8 text, expected a COCO json"):
        coco(file, tmp_path)
    with pytest.raises(DataError, match="is a folder, expected a COCO json"):
        coco(tmp_path, tmp_path)
    with pytest.raises(DataError, match=r"--images .*nowhere: there is no such folder"):
        coco(file, tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"--images .*a\.json: is a file"):
        coco(file, file)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    file, images = small(tmp_path, [annotation(1, 7, 1, [SQUARE])])
    file.chmod(0)
    with pytest.raises(DataError, match="may not be read"):
        coco(file, images)
