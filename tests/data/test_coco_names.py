"""Which file an image of a COCO json is, and what its sample is called."""

import itertools
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from coco_samples import SQUARE, annotation, photograph, write

from fcnseg.data.coco import CocoPairs, coco
from fcnseg.data.lookup import sample_ids
from fcnseg.errors import DataError


def json_of(root: Path, *names: str) -> Path:
    """Write a json of images of 20x30 with ids 1, 2, ...; the first has a person."""
    entries = [
        {"id": number, "file_name": name, "height": 20, "width": 30}
        for number, name in enumerate(names, 1)
    ]
    return write(root / "a.json", entries, [annotation(1, 1, 1, [SQUARE])])


def named(source: CocoPairs) -> list[str]:
    return [source.id(i) for i in range(len(source))]


def test_names_of_samples_are_never_equal() -> None:
    keys = ["a", "a.jpg", "a.png", "a.jpg.jpg", "a.jpg.png", "b.c/a.jpg", "b.c/a", "b.c"]
    for count in range(1, len(keys) + 1):
        for chosen in map(list, itertools.permutations(keys, min(count, 4))):
            ids = sample_ids(chosen)
            assert len(set(ids)) == len(ids)
            short = [str(PurePosixPath(key).with_suffix("")) for key in chosen]
            if len(set(short)) == len(short):
                assert ids == short


def test_labels_stay_with_their_image_where_endings_are_doubled(tmp_path: Path) -> None:
    names = ["a.jpg.jpg", "a.jpg", "a.png"]
    for name in names:
        photograph(tmp_path / "images" / name, 20, 30)
    source = coco(json_of(tmp_path, *names), tmp_path / "images")
    assert named(source) == ["a.jpg", "a.jpg.jpg", "a.png"]
    assert [bool(source.label(i).any()) for i in range(3)] == [False, True, False]


def test_names_found_by_their_end_are_told(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        photograph(tmp_path / "cams/cam1" / name, 20, 30)
    images = tmp_path / "cams/cam1"
    source = coco(json_of(tmp_path, "cam2/a.png", "cam2\\b.png", "c.png"), images)
    assert source.notes == ("2 file names were found by their end: 'cam2/' was left out",)
    assert source.scaled(10).notes == source.notes
    one = coco(json_of(tmp_path, "C:\\Users\\me\\a.png"), images)
    assert one.notes == ("1 file name was found by its end: 'C:/Users/me/' was left out",)
    # Folders that differ are no harm as long as what is below them differs too.
    two = coco(json_of(tmp_path, "/x/a.png", "https://host/2/b.png", "x/../c.png"), images)
    assert two.notes == (
        "2 file names were found by their end: '/x/', 'https:/host/2/' were left out",
    )
    assert named(two) == ["a", "b", "c"]
    assert coco(json_of(tmp_path, "a.png", "./b.png"), images).notes == ()


@pytest.mark.parametrize(
    ("names", "message", "kept"),
    [
        (
            ["cam1/a.png", "cam1/b.png", "cam2/b.png", "cam2/c.png"],
            r"images 2 and 3 \('cam1/b\.png' and 'cam2/b\.png'\) would both be 'b\.png' of .*; "
            r"give the folder that file_name starts from, .* \(4 file names were found by the end",
            [],
        ),
        (
            ["a.png", "b.png", "cam2/b.png", "cam3/c.png"],
            r"images 2 and 3 \('b\.png' and 'cam2/b\.png'\) would both be .*\(2 file names were",
            ["a"],
        ),
    ],
)
def test_names_of_two_folders_are_not_looked_for_in_one(
    tmp_path: Path, names: list[str], message: str, kept: list[str]
) -> None:
    """Otherwise ``cam2/c.png`` would be read from the folder of camera 1."""
    for camera, name in itertools.product(("cam1", "cam2", "cam3"), ("a.png", "b.png", "c.png")):
        photograph(tmp_path / "cams" / camera / name, 20, 30)
    file, images = json_of(tmp_path, *names), tmp_path / "cams/cam1"
    with pytest.raises(DataError, match=message) as caught:
        coco(file, images)
    assert str(caught.value).startswith(f"{file}: ")
    if kept:
        source = coco(file, images, strict=False)
        assert named(source) == kept
        assert source.faults == (str(caught.value),)
        assert source.notes == ()
    if not kept:  # the folder above has them all
        right = coco(file, tmp_path / "cams")
        assert named(right) == [name.removesuffix(".png") for name in names]
        assert right.notes == ()


def test_one_folder_named_twice_is_still_two_entries_of_one_image(tmp_path: Path) -> None:
    photograph(tmp_path / "images/a.png", 20, 30)
    photograph(tmp_path / "images/b.png", 20, 30)
    file = json_of(tmp_path, "x/a.png", "x//a.png", "x/b.png")
    source = coco(file, tmp_path / "images", strict=False)
    assert source.faults == (
        f"{file}: images 1 and 2 are both 'a.png'; keep one entry, with the annotations of both",
    )
    assert named(source) == ["b"]
    np.testing.assert_array_equal(source.label(0), 0)
