"""Masks of the same labels in different clothes, and values that are no class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.encodings import checked_ids, class_ids
from fcnseg.data.images import MaskPixels, read_mask_pixels
from fcnseg.data.sample import VOID, Colour, check_classes
from fcnseg.errors import DataError, UsageError
from fcnseg.palette import voc_palette

COLOURS = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
VOID_COLOUR = (224, 224, 192)


def labels() -> np.ndarray:
    ids = np.random.default_rng(2).integers(0, 4, (6, 8)).astype(np.uint8)
    ids[2] = VOID
    return ids


def painted(ids: np.ndarray) -> np.ndarray:
    rgb = np.zeros((*ids.shape, 3), np.uint8)
    for class_id, colour in [*enumerate(COLOURS), (VOID, VOID_COLOUR)]:
        rgb[ids == class_id] = colour
    return rgb


def palette_image(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids, "P")
    table = np.zeros((256, 3), np.uint8)
    table[:4], table[VOID] = COLOURS, VOID_COLOUR
    image.putpalette(table.tobytes())
    return image


def read(
    path: Path,
    image: Image.Image,
    encoding: str,
    count: int = 4,
    palette: tuple[Colour, ...] | None = COLOURS,
) -> np.ndarray:
    image.save(path)
    return class_ids(path, read_mask_pixels(path), count, encoding, palette)


def test_every_encoding_of_the_same_labels_is_equal(tmp_path: Path) -> None:
    ids = labels()
    grey, colour = Image.fromarray(ids), Image.fromarray(painted(ids))
    wide = Image.fromarray(ids.astype(np.uint16))
    alpha = colour.copy()
    alpha.putalpha(7)
    cases = [
        ("auto", grey),
        ("index", grey),
        ("index", wide),
        ("auto", palette_image(ids)),
        ("palette", palette_image(ids)),
        ("rgb", palette_image(ids)),
        ("auto", colour),
        ("rgb", colour),
        ("rgb", alpha),
    ]
    for number, (encoding, image) in enumerate(cases):
        found = read(tmp_path / f"{number}.png", image, encoding)
        assert found.dtype == np.uint8
        assert np.array_equal(found, ids), (encoding, image.mode)


def test_grey_values_in_three_channels_are_ids(tmp_path: Path) -> None:
    ids = labels()
    image = Image.fromarray(np.stack([ids] * 3, axis=2))
    assert np.array_equal(read(tmp_path / "m.png", image, "auto", palette=None), ids)


def test_coloured_mask_without_colours_given(tmp_path: Path) -> None:
    image = Image.fromarray(painted(np.array([[0, 0, 0], [0, 0, 1]], np.uint8)))
    with pytest.raises(DataError, match=r"first colour \(128, 0, 0\) at x=2, y=1.*encoding rgb"):
        read(tmp_path / "m.png", image, "auto", palette=None)


def with_table(values: np.ndarray, table: dict[int, Colour]) -> Image.Image:
    image = Image.fromarray(values, "P")
    colours = np.full((256, 3), 77, np.uint8)
    for index, colour in table.items():
        colours[index] = colour
    image.putpalette(colours.tobytes())
    return image


def test_a_table_in_another_order_is_read_by_its_colours(tmp_path: Path) -> None:
    ids = labels()
    order = {0: 2, 1: 9, 2: 0, 3: 200, VOID: 7}
    stored = np.vectorize(order.__getitem__)(ids).astype(np.uint8)
    table = {order[i]: colour for i, colour in [*enumerate(COLOURS), (VOID, VOID_COLOUR)]}
    image = with_table(stored, table)
    assert np.array_equal(read(tmp_path / "m.png", image, "auto"), ids)
    assert np.array_equal(read(tmp_path / "m.png", image, "rgb"), ids)
    values = np.array([[0, 1], [2, 3]], np.uint8)
    permuted = with_table(values, dict(zip(range(4), COLOURS[::-1], strict=True)))
    assert np.array_equal(read(tmp_path / "p.png", permuted, "auto"), [[3, 2], [1, 0]])
    assert np.array_equal(read(tmp_path / "p.png", permuted, "palette"), values)
    assert np.array_equal(read(tmp_path / "p.png", permuted, "auto", palette=None), values)


def test_a_table_of_other_colours_is_read_by_its_indices(tmp_path: Path) -> None:
    ids = labels()
    image = with_table(ids, {0: (9, 9, 9), 1: (1, 2, 3), 2: (3, 2, 1)})
    assert np.array_equal(read(tmp_path / "m.png", image, "auto"), ids)


def test_index_255_is_void_in_any_colour(tmp_path: Path) -> None:
    ids = labels()
    for void in ((255, 255, 255), VOID_COLOUR):
        image = with_table(ids, {**dict(enumerate(COLOURS)), VOID: void})
        assert np.array_equal(read(tmp_path / "m.png", image, "auto"), ids)
    nothing = np.full((2, 3), VOID, np.uint8)
    assert (read(tmp_path / "n.png", with_table(nothing, {}), "auto") == VOID).all()


def test_a_table_with_some_of_the_colours_is_refused(tmp_path: Path) -> None:
    image = with_table(np.array([[0, 0], [0, 1]], np.uint8), {0: (0, 0, 0), 1: (1, 2, 3)})
    with pytest.raises(
        DataError,
        match=r"m\.png: index 1, first at x=1, y=1, has \(1, 2, 3\), the colour of "
        r"no class.*--mask-encoding palette .* or rgb",
    ):
        read(tmp_path / "m.png", image, "auto")
    assert read(tmp_path / "m.png", image, "palette").tolist() == [[0, 0], [0, 1]]


def test_an_index_beyond_the_colour_table_has_no_colour() -> None:
    values = np.array([[0, 1, 0], [1, 3, 3]], np.uint8)
    pixels = MaskPixels(values, "palette", np.array(COLOURS[:2], np.uint8))
    with pytest.raises(
        DataError,
        match=r"m\.png: index 3, first at x=1, y=1, has no colour in the file's table of 2 "
        r"colours \(2 such pixels\).*--mask-encoding palette",
    ):
        class_ids("m.png", pixels, 4, "rgb", COLOURS)
    assert np.array_equal(class_ids("m.png", pixels, 4, "palette", COLOURS), values)


def test_unknown_colour_has_its_place(tmp_path: Path) -> None:
    rgb = painted(labels())
    rgb[3, 5] = rgb[4, 1] = (1, 2, 3)
    with pytest.raises(
        DataError, match=r"m\.png: colour \(1, 2, 3\) at x=5, y=3 belongs to no class \(1 .* 2 pi"
    ):
        read(tmp_path / "m.png", Image.fromarray(rgb), "rgb")


def test_a_class_may_have_vocs_void_colour(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 2), VOID_COLOUR)
    assert (read(tmp_path / "m.png", image, "rgb", 2, ((0, 0, 0), VOID_COLOUR)) == 1).all()


def test_wrong_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a grey image, expected a palette image"):
        read(tmp_path / "g.png", Image.fromarray(labels()), "palette")
    with pytest.raises(DataError, match="is a palette image, expected a grey image"):
        read(tmp_path / "p.png", palette_image(labels()), "index")


def test_binary_255(tmp_path: Path) -> None:
    foreground = np.random.default_rng(0).random((5, 6)) < 0.5
    grey = Image.fromarray((foreground * 255).astype(np.uint8))
    for number, image in enumerate(
        [grey, grey.convert("1", dither=Image.Dither.NONE), grey.convert("RGB")]
    ):
        found = read(tmp_path / f"{number}.png", image, "binary255", 2, None)
        assert np.array_equal(found, foreground)


def test_binary_255_refuses_other_values(tmp_path: Path) -> None:
    values = np.array([[0, 255, 0], [255, 128, 3]], np.uint8)
    with pytest.raises(DataError, match=r"value 128 at x=1, y=1 \(2 such pixels\), expected 0 or"):
        read(tmp_path / "m.png", Image.fromarray(values), "binary255", 2)


@pytest.mark.parametrize("values", [[[0, 255]], [[255, 255]]])
def test_black_and_white_with_two_classes_stops(tmp_path: Path, values: list) -> None:
    image = Image.fromarray(np.array(values, np.uint8))
    with pytest.raises(DataError, match=r"use --mask-encoding binary255 if 255 is the second"):
        read(tmp_path / "m.png", image, "auto", 2, None)
    assert np.array_equal(read(tmp_path / "m.png", image, "index", 2, None), values)
    assert np.array_equal(read(tmp_path / "m.png", image, "auto", 3, None), values)


def test_out_of_range_names_value_count_and_first_pixel() -> None:
    values = np.zeros((4, 5), np.uint16)
    values[2, 3] = values[3, 0] = 300
    with pytest.raises(
        DataError,
        match=r"m\.png: pixel value 300 \(2 pixels\): is no class id, first at x=3, y=2; "
        r"expected 0 to 20, or 255 for void",
    ):
        checked_ids("m.png", values, 21)
    values[0, :] = [40, 41, 42, 43, 44]
    values[1, 0] = 45
    with pytest.raises(DataError, match=r"40 \(1 pixels\), .*44 \(1 pixels\) and 2 more: are no"):
        checked_ids("m.png", values, 21)


def test_another_void_value() -> None:
    assert np.array_equal(checked_ids("m", np.array([[3, 11]]), 11, void=11), [[3, 255]])
    with pytest.raises(DataError, match="255"):
        checked_ids("m", np.array([[3, 255]]), 11, void=11)


def test_voc_colours_are_the_published_ones() -> None:
    colours = voc_palette(256)
    known = {0: (0, 0, 0), 1: (128, 0, 0), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {index: colours[index] for index in known} == known
    assert colours[255] == VOID_COLOUR
    assert len(set(colours)) == 256


@pytest.mark.parametrize(
    ("classes", "palette", "words"),
    [
        (("a",), None, "expected 2 to 255 names, got 1"),
        (tuple(map(str, range(256))), None, "got 256"),
        (("a", " "), None, "a name is empty"),
        (("a", "b", "a"), None, "'a' is there more than once"),
        (("a", "b"), ((0, 0, 0),), "expected 2 colours, one a class, got 1"),
        (("a", "b"), ((0, 0, 0), (0, 0, 256)), r"colour 1 is \(0, 0, 256\)"),
        (("a", "b"), ((1, 0, 0), (1, 0, 0)), "same colour"),
    ],
)
def test_classes_that_make_no_sense(classes: tuple, palette: tuple | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_classes(classes, palette)


WHITE = (255, 255, 255)


@pytest.mark.parametrize("kind", ["index", "palette", "rgb", "grey rgb"])
def test_what_means_void_can_be_said(tmp_path: Path, kind: str) -> None:
    """One mask with an unlabelled border, stored in four ways, and void named for each."""
    ids = np.array([[0, 1, 2, 1], [7, 7, 0, 7]], np.uint8)
    expected = np.where(ids == 7, 255, ids)
    colours = ((0, 0, 0), (200, 0, 0), (0, 200, 0))
    table = np.full((8, 3), 255, np.uint8)
    table[:3] = colours
    void, palette = 7, None
    image = Image.fromarray(ids)
    if kind == "palette":
        image = Image.fromarray(ids, "P")
        image.putpalette(table.tobytes())
    elif kind == "rgb":
        image, void, palette = Image.fromarray(table[ids]), WHITE, colours
    elif kind == "grey rgb":
        image = Image.fromarray(np.repeat(ids[..., None], 3, axis=2))
    image.save(tmp_path / "m.png")
    pixels = read_mask_pixels(tmp_path / "m.png")
    found = class_ids("m.png", pixels, 3, palette=palette, void=void)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)
    with pytest.raises(DataError):
        class_ids("m.png", pixels, 3, palette=palette)
    if kind == "palette":
        assert np.array_equal(class_ids("m.png", pixels, 3, "rgb", colours, WHITE), expected)


def test_a_mask_that_is_void_everywhere_and_one_that_is_not(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), WHITE).save(tmp_path / "m.png")
    pixels = read_mask_pixels(tmp_path / "m.png")
    colours = ((0, 0, 0), (200, 0, 0))
    assert (class_ids("m.png", pixels, 2, "rgb", colours, WHITE) == 255).all()
    Image.fromarray(np.array([[0, 128, 255]], np.uint8)).save(tmp_path / "b.png")
    pixels = read_mask_pixels(tmp_path / "b.png")
    assert class_ids("b.png", pixels, 2, "binary255", void=128).tolist() == [[0, 255, 1]]
