"""Outlines against pycocotools' own masks, pixel by pixel."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from coco_samples import (
    SQUARE,
    annotation,
    blob,
    paint_plainly,
    photograph,
    run_lengths,
    small,
    write,
)
from pycocotools import mask as coco_mask

from fcnseg.data.coco import coco
from fcnseg.data.instances import (
    OutlineFault,
    misfit,
    pack_instances,
    pack_polygons,
    pack_runs,
    paint,
)

# pycocotools decodes with an argument that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZES = [(48, 64), (33, 47), (1, 9), (9, 1), (1, 1), (120, 90)]
CLASS_OF = {1: 1, 3: 2, 17: 3, 63: 4, 67: 5}


@pytest.mark.parametrize("size", SIZES)
def test_every_kind_of_outline_is_painted_as_pycocotools_decodes_it(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    numbers = np.random.default_rng(size)
    height, width = size
    images, annotations = [], []
    for image in range(12):
        photograph(tmp_path / f"images/{image}.png", height, width)
        images.append({"id": image, "file_name": f"{image}.png", "height": height, "width": width})
        for _ in range(int(numbers.integers(0, 9))):
            kind = int(numbers.integers(4))
            segmentation = (
                run_lengths(numbers, height, width, compressed=kind == 2)
                if kind >= 2
                else [blob(numbers, height, width) for _ in range(kind + 1)]
            )
            category = [1, 3, 17, 63, 67][int(numbers.integers(5))]
            crowd = int(kind >= 2 and numbers.random() < 0.4)
            annotations.append(
                annotation(len(annotations), image, category, segmentation, iscrowd=crowd)
            )
    annotations.append(annotation(9000, 0, 1, [[0, 0, 1, 0, 1, 1, 0, 1]]))
    file = write(tmp_path / "a.json", images, annotations)
    source = coco(file, tmp_path / "images", strict=False)
    assert len(source) >= 8
    for i in range(len(source)):
        label = source.label(i)
        assert label.dtype == np.uint8
        np.testing.assert_array_equal(label, paint_plainly(file, int(source.id(i)), CLASS_OF))


def test_coordinates_round_as_in_pycocotools_also_outside_and_on_the_grid() -> None:
    numbers = np.random.default_rng(5)
    for _ in range(400):
        height, width = numbers.integers(3, 60, 2).tolist()
        corners = numbers.uniform(-0.5, 1.5, (int(numbers.integers(3, 9)), 2)) * [width, height]
        corners = np.round(corners * 10) / 10  # tenths of a pixel are its ties
        polygons = [corners.ravel().tolist()]
        outline = pack_polygons(polygons)
        if misfit(outline, height, width):
            continue
        plain = coco_mask.decode(coco_mask.frPyObjects(polygons, height, width))[..., 0]
        painted = paint(pack_instances(height, width, [(1, outline)]))
        np.testing.assert_array_equal(painted, plain)


def test_a_crowd_is_void_where_no_object_lies_over_it(tmp_path: Path) -> None:
    everywhere = {"size": [20, 30], "counts": [0, 600]}
    file, images = small(
        tmp_path,
        [
            annotation(1, 7, 1, [SQUARE]),
            annotation(2, 7, 3, everywhere, iscrowd=1),
            annotation(3, 7, 17, [[4, 4, 6, 4, 6, 6, 4, 6]]),
        ],
    )
    label = coco(file, images).label(0)
    assert (label[10:] == 255).all()
    assert label[3, 3] == 1
    assert label[5, 5] == 3
    # A crowd of a category that was not chosen is background like its objects.
    assert set(np.unique(coco(file, images, ["person", "cat"]).label(0))) == {0, 1, 2}


def test_masks_of_the_brush_of_cvat_are_objects(tmp_path: Path) -> None:
    rle = {"size": [20, 30], "counts": [0, 300, 300]}
    brush = annotation(1, 7, 3, rle, iscrowd=1, attributes={"occluded": False})
    file, images = small(tmp_path, [brush])
    source = coco(file, images)
    np.testing.assert_array_equal(source.label(0)[:, :15], 2)
    (note,) = source.notes
    assert note.startswith("the 1 mask with attributes is marked as crowds (iscrowd), as CVAT ")


LEFT = {"size": [20, 30], "counts": [0, 300, 300]}
RIGHT = {"size": [20, 30], "counts": [300, 300]}


@pytest.mark.parametrize("attributes", [{"is_crowd": True}, {"is_crowd": "true", "occluded": 1}])
def test_a_mask_whose_attributes_call_it_a_crowd_is_one(tmp_path: Path, attributes: dict) -> None:
    crowd = annotation(1, 7, 3, LEFT, iscrowd=1, attributes=attributes)
    file, images = small(tmp_path, [crowd])
    source = coco(file, images)
    np.testing.assert_array_equal(source.label(0)[:, :15], 255)
    assert source.notes == ()
    brush = annotation(2, 7, 1, RIGHT, iscrowd=1, attributes={"is_crowd": False})
    source = coco(*small(tmp_path, [crowd, brush]))
    np.testing.assert_array_equal(source.label(0)[0], [255] * 15 + [1] * 15)
    assert len(source.notes) == 1


def test_crowds_with_attributes_stay_void_in_a_file_that_has_other_masks(tmp_path: Path) -> None:
    crowd = annotation(1, 7, 3, LEFT, iscrowd=1, attributes={"occluded": False})
    plain = annotation(2, 7, 1, RIGHT, attributes={"occluded": False})
    outline = annotation(3, 7, 17, [SQUARE], iscrowd=1, attributes={"occluded": False})
    source = coco(*small(tmp_path, [crowd, plain]))
    np.testing.assert_array_equal(source.label(0)[0], [255] * 15 + [1] * 15)
    assert source.notes == ()
    # Without it the file is as CVAT writes it; a crowd that is no mask is none of its brush.
    source = coco(*small(tmp_path, [crowd, outline]))
    np.testing.assert_array_equal(source.label(0)[5, [0, 5, 29]], [2, 2, 0])
    source = coco(*small(tmp_path, [crowd | {"segmentation": RIGHT}, outline]))
    np.testing.assert_array_equal(source.label(0)[5, [0, 5, 29]], [0, 255, 2])


def test_small_lies_over_large_and_later_over_earlier(tmp_path: Path) -> None:
    large, same = [0, 0, 20, 0, 20, 20, 0, 20], [3, 3, 9, 3, 9, 9, 3, 9]
    file, images = small(
        tmp_path,
        [
            annotation(1, 7, 17, [SQUARE], area=900.0),
            annotation(2, 7, 1, [large], area=2.0),  # the area in the file is not relied on
            annotation(3, 7, 3, [same]),
        ],
    )
    label = coco(file, images).label(0)
    assert (label[2, 2], label[15, 15], label[5, 5]) == (3, 1, 2)


def test_int32_coordinates_in_a_wide_image() -> None:
    polygon = [7000.3, 1.2, 7990, 1, 7990.1, 6.4, 7100, 7]
    plain = coco_mask.decode(coco_mask.frPyObjects([polygon], 8, 8000))[..., 0]
    outline = pack_polygons([polygon])
    assert misfit(outline, 8, 8000) == ""
    np.testing.assert_array_equal(paint(pack_instances(8, 8000, [(1, outline)])), plain)


def test_one_flat_polygon_and_short_parts() -> None:
    assert pack_polygons(SQUARE) == pack_polygons([SQUARE])
    assert pack_polygons([[1, 1, 2, 2], SQUARE]) == pack_polygons([SQUARE])


def test_a_compressed_mask_of_many_runs_is_read_as_written() -> None:
    numbers = np.random.default_rng(3)
    for _ in range(30):
        height, width = numbers.integers(1, 300, 2).tolist()
        mask = (numbers.random((height, width)) < numbers.random() ** 3).astype(np.uint8)
        counts = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
        outline = pack_runs([height, width], counts)
        assert misfit(outline, height, width) == ""
        painted = paint(pack_instances(height, width, [(9, outline)]))
        np.testing.assert_array_equal(painted, mask * 9)


@pytest.mark.parametrize(
    ("polygons", "message"),
    [
        ([["1", 2, 3, 4, 5, 6]], "holds '1', expected numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "the coordinate nan"),
        ([[1, 2, 3, 4, 5, float("inf")]], "the coordinate inf"),
        ([[1, 2, 3, 4, 5, 10**400]], "the coordinate 1000"),
        ([[1, 2, 3, 4, 5, -1e12]], "the coordinate -1000000000000.0"),
        ([[1, 2, 3, 4, 5]], "has 5 numbers"),
        ([[1, 2, 3, 4]], "none of its polygons has three points"),
        ([[[1, 2], [3, 4], [5, 6]]], r"holds \[1, 2\], expected numbers"),
        ([None], "a polygon is None"),
    ],
)
def test_what_is_no_polygon(polygons: list, message: str) -> None:
    with pytest.raises(OutlineFault, match=message):
        pack_polygons(polygons)


@pytest.mark.parametrize(
    ("size", "counts", "message"),
    [
        ([2, 2], [1, -1, 4], "counts are neither whole numbers"),
        ([2, 2], [1.5, 2.5], "counts are neither whole numbers"),
        ([2, 2], None, "counts are neither whole numbers"),
        ([2], [4], r"size is \[2\]"),
        (None, [4], "size is None"),
        ([2, -2], [4], r"size is \[2, -2\]"),
    ],
)
def test_what_is_no_rle(size: object, counts: object, message: str) -> None:
    with pytest.raises(OutlineFault, match=message):
        pack_runs(size, counts)


@pytest.mark.parametrize(
    ("size", "counts", "message"),
    [
        ([2, 2], [1, 2], "counts add up to 3, expected 4"),
        ([2, 2], [4294967295] * 9, "counts add up to 38654705655, expected 4"),
        ([100000, 100000], [10000000000 // 4] * 4, "of 100000x100000 .* but its image is 2x2"),
        ([3, 2], [6], "of 3x2 .* but its image is 2x2"),
        ([2, 2], "", "counts add up to 0"),
        ([2, 2], "zzz", "none of '0' to 'o'"),
        ([2, 2], "\x00", "none of '0' to 'o'"),
        ([2, 2], "PP", "ends in the middle of a number"),
        ([2, 2], "_" * 12 + "0", "more than 32 bits"),
        ([2, 2], "O5", "a count below 0"),
    ],
)
def test_rle_that_does_not_fit_is_refused_before_anything_is_allocated(
    size: list[int], counts: object, message: str
) -> None:
    assert re.search(message, misfit(pack_runs(size, counts), 2, 2))


def test_polygons_outside_their_image() -> None:
    def shifted(dx: float, dy: float) -> str:
        moved = (np.array(SQUARE).reshape(-1, 2) + np.array([dx, dy])).ravel().tolist()
        return misfit(pack_polygons([moved]), 10, 20)

    assert shifted(0, 0) == shifted(15, 5) == shifted(-5, -5) == ""  # partly outside is clipped
    for dx, dy in ((30, 0), (-20, 0), (0, 30), (0, -20)):
        assert "lies wholly outside its image of 10x20" in shifted(dx, dy)
    stretched = pack_polygons([[2, 2, 8000, 2, 8, 8]])
    assert "lies far outside its image of 10x20" in misfit(stretched, 10, 20)


def test_an_endless_outline_is_refused() -> None:
    """pycocotools would take 16 bytes for each step along it: tens of gigabytes here."""
    zigzag = [number for i in range(20000) for number in (9999 * (i % 2), i % 7)]
    assert "pixels long" in misfit(pack_polygons([zigzag]), 10, 10000)


def test_the_json_is_not_needed_once_it_is_read(tmp_path: Path) -> None:
    file, images = small(tmp_path, [annotation(1, 7, 1, [SQUARE])])
    source = coco(file, images)
    before = source.label(0)
    file.write_text(json.dumps({}))
    np.testing.assert_array_equal(source.label(0), before)
