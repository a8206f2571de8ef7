"""What is guessed of masks, and that the guess reads these masks as they were meant."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.audit.guess import Guess, guess
from fcnseg.class_list import read_classes
from fcnseg.data.camvid_classes import COLOURS
from fcnseg.data.encodings import class_ids
from fcnseg.data.images import read_mask_pixels
from fcnseg.errors import DataError
from fcnseg.palette import VOID_COLOUR, voc_palette

RNG = np.random.default_rng(3)


def labels(count: int, void: bool = False, size: tuple[int, int] = (24, 30)) -> np.ndarray:
    """Blocks of all ids from 0 to ``count`` - 1, with void on one edge."""
    ids = RNG.integers(0, count, (6, 10)).astype(np.uint8)
    ids.flat[:count] = np.arange(count)
    ids = np.kron(ids, np.ones((size[0] // 6, size[1] // 10), np.uint8))
    if void:
        ids[-1] = 255
    return ids


def grey(path: Path, ids: np.ndarray) -> None:
    Image.fromarray(ids).save(path)


def palette(path: Path, ids: np.ndarray, colours: object = None) -> None:
    table = np.zeros((256, 3), np.uint8)
    table[:21] = voc_palette(21)
    table[255] = VOID_COLOUR
    if colours is not None:
        table[: len(colours)] = colours  # type: ignore[arg-type]
    image = Image.fromarray(ids).convert("L")
    image = Image.frombytes("P", image.size, ids.tobytes())
    image.putpalette(table.tobytes())
    image.save(path)


def coloured(path: Path, ids: np.ndarray, colours: object) -> None:
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours  # type: ignore[arg-type]
    table[255] = VOID_COLOUR
    Image.fromarray(table[ids]).save(path)


def read(path: Path, found: Guess) -> np.ndarray:
    """The mask as the guess says it is to be read."""
    pixels = read_mask_pixels(path)
    return class_ids(path, pixels, len(found.classes), found.encoding, found.palette)


Writer = Callable[..., None]


def written(folder: Path, write: Writer, masks: list[np.ndarray], *more: object) -> list[Path]:
    paths = [folder / f"m{i}.png" for i in range(len(masks))]
    for path, mask in zip(paths, masks, strict=True):
        write(path, mask, *more)
    return paths


@pytest.mark.parametrize(("write", "encoding"), [(grey, "index"), (palette, "palette")])
def test_ids(tmp_path: Path, write: Writer, encoding: str) -> None:
    masks = [labels(4, void=True), labels(2), labels(3)]
    paths = written(tmp_path, write, masks)
    found = guess(tmp_path)
    assert (found.encoding, found.flag, found.palette) == (
        encoding, "class0,class1,class2,class3", None,
    )  # fmt: skip
    assert found.void_seen
    for path, mask in zip(paths, masks, strict=True):
        assert np.array_equal(read(path, found), mask)
    text = "\n".join(found.lines)
    share = sum((mask == 3).sum() for mask in masks) / sum((mask < 255).sum() for mask in masks)
    assert f"3 {100 * share:.1f} % (in 1)" in text
    assert "3 masks looked at: 3 " in text


def test_ids_in_palette_and_grey_files(tmp_path: Path) -> None:
    palette(tmp_path / "a.png", labels(3))
    grey(tmp_path / "b.png", labels(3))
    found = guess(tmp_path)
    assert (found.encoding, found.flag) == ("auto", "class0,class1,class2")


def test_ids_with_gaps_are_named(tmp_path: Path) -> None:
    grey(tmp_path / "a.png", np.array([[0, 2, 5], [5, 7, 255]], np.uint8))
    found = guess(tmp_path)
    assert len(found.classes) == 8
    assert any(
        "4 ids below 8 do not occur" in line and "1, 3, 4, 6" in line for line in found.lines
    )


def test_black_and_white(tmp_path: Path) -> None:
    masks = [labels(2), np.zeros((24, 30), np.uint8)]
    paths = written(tmp_path, grey, [255 * mask for mask in masks])
    found = guess(tmp_path)
    assert (found.encoding, found.flag) == ("binary255", "background,foreground")
    assert not found.void_seen
    assert any("if 255 is void" in line for line in found.lines)
    for path, mask in zip(paths, masks, strict=True):
        assert np.array_equal(read(path, found), mask)


def test_bilevel(tmp_path: Path) -> None:
    mask = labels(2)
    Image.fromarray(255 * mask).convert("1").save(tmp_path / "a.png")
    found = guess(tmp_path)
    assert (found.encoding, found.flag) == ("index", "background,foreground")
    assert np.array_equal(read(tmp_path / "a.png", found), mask)
    grey(tmp_path / "b.png", 255 * mask)
    both = guess(tmp_path)
    assert both.encoding == "binary255"
    assert np.array_equal(read(tmp_path / "a.png", both), mask)
    assert np.array_equal(read(tmp_path / "b.png", both), mask)


def test_0_and_255_beside_another_id_is_void(tmp_path: Path) -> None:
    grey(tmp_path / "a.png", np.array([[0, 255, 0]], np.uint8))
    grey(tmp_path / "b.png", np.array([[0, 1, 255]], np.uint8))
    found = guess(tmp_path)
    assert (found.encoding, found.flag, found.void_seen) == ("index", "background,foreground", True)


def test_shades_of_grey_are_colours(tmp_path: Path) -> None:
    mask = labels(3)
    grey(tmp_path / "a.png", np.array([0, 128, 255], np.uint8)[mask])
    found = guess(tmp_path)
    assert found.encoding == "rgb"
    assert found.flag == "background=#000000,class1=#808080,class2=#ffffff"
    assert np.array_equal(read(tmp_path / "a.png", found), mask)


def test_colours(tmp_path: Path) -> None:
    colours = [(0, 0, 0), (10, 200, 30), (250, 0, 17)]
    masks = [labels(3, void=True), labels(2)]
    paths = written(tmp_path, coloured, masks, colours)
    found = guess(tmp_path)
    assert found.flag == "background=#000000,class1=#0ac81e,class2=#fa0011"
    assert found.void_seen
    assert read_classes(found.flag) == (found.classes, found.palette)
    for path, mask in zip(paths, masks, strict=True):
        assert np.array_equal(read(path, found), mask)
    share = sum((m == 2).sum() for m in masks) / sum((m < 255).sum() for m in masks)
    assert f"#fa0011 {100 * share:.1f} % (in 1)" in "\n".join(found.lines)


def test_palettes_that_differ_are_read_by_colour(tmp_path: Path) -> None:
    red, blue = (200, 10, 10), (10, 10, 200)
    mask = labels(2)
    palette(tmp_path / "a.png", mask, [red, blue])
    palette(tmp_path / "b.png", 1 - mask, [blue, red])
    found = guess(tmp_path)
    assert found.flag == "class0=#0a0ac8,class1=#c80a0a"
    first = read(tmp_path / "a.png", found)
    assert np.array_equal(first, read(tmp_path / "b.png", found))
    assert np.array_equal(first, 1 - mask)


def test_voc_by_names_of_files_or_many_colours(tmp_path: Path) -> None:
    mask = labels(4, void=True)
    palette(tmp_path / "a.png", mask)
    assert guess(tmp_path).flag == "class0,class1,class2,class3"
    assert any("aeroplane, bicycle, bird" in line for line in guess(tmp_path).lines)
    (tmp_path / "a.png").rename(tmp_path / "2007_000032.png")
    found = guess(tmp_path)
    assert (found.encoding, len(found.classes), found.classes[15]) == ("palette", 21, "person")
    coloured(tmp_path / "2007_000032.png", mask, voc_palette(21))
    found = guess(tmp_path)
    assert found.flag.startswith("background=#000000,aeroplane=#800000,bicycle=#008000")
    assert np.array_equal(read(tmp_path / "2007_000032.png", found), mask)
    (tmp_path / "2007_000032.png").unlink()
    coloured(tmp_path / "a.png", labels(21), voc_palette(21))
    assert len(guess(tmp_path).classes) == 21


def test_colours_of_voc_keep_their_order(tmp_path: Path) -> None:
    mask = labels(3)
    coloured(tmp_path / "a.png", mask, voc_palette(3))
    found = guess(tmp_path)
    assert found.flag == "background=#000000,class1=#800000,class2=#008000"
    assert np.array_equal(read(tmp_path / "a.png", found), mask)


def test_camvid(tmp_path: Path) -> None:
    colours = [*COLOURS.values(), (0, 0, 0)]
    mask = labels(len(colours))
    coloured(tmp_path / "a.png", mask, colours)
    found = guess(tmp_path)
    assert found.classes == (*COLOURS, "Void")
    assert any("black is taken for a class" in line for line in found.lines)
    assert np.array_equal(read(tmp_path / "a.png", found), mask)


def test_photographs_and_smoothed_masks_are_refused(
    tmp_path: Path, photograph: Callable[[str], np.ndarray]
) -> None:
    picture = photograph("chelsea")[:64, :64]
    Image.fromarray(picture).save(tmp_path / "cat.png")
    colours = len({tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()})
    with pytest.raises(DataError, match=rf"cat\.png: {colours} different colours.*photograph"):
        guess(tmp_path)
    Image.fromarray(picture).convert("L").save(tmp_path / "cat.png")
    mask = Image.fromarray(255 * labels(2)).resize((200, 160), Image.Resampling.BICUBIC)
    mask.save(tmp_path / "cat.png")
    with pytest.raises(
        DataError, match=r"cat\.png: \d+ different grey values, most of them rare: s"
    ):
        guess(tmp_path)


@pytest.mark.parametrize("kind", ["grey", "rgb"])
def test_smoothed_masks_among_sound_ones_are_named_and_counted(tmp_path: Path, kind: str) -> None:
    for i in range(15):
        mask = labels(2, size=(48, 60))
        picture = Image.fromarray(255 * mask)
        if kind == "rgb":
            picture = Image.fromarray(mask[..., None] * np.array([250, 130, 70], np.uint8))
        if i in (4, 9):
            picture = picture.resize((200, 160), Image.Resampling.BICUBIC)
        picture.save(tmp_path / f"m{i:02}.png")
    said = r"m04\.png: \d+ different .* \(2 of 15 masks are so\); .*; give --classes to see every f"
    with pytest.raises(DataError, match=said):
        guess(tmp_path)


def test_photographs_are_not_all_read_to_be_counted(
    tmp_path: Path, photograph: Callable[[str], np.ndarray]
) -> None:
    for i in range(12):
        Image.fromarray(photograph("chelsea")[:32, :32]).save(tmp_path / f"{i:02}.png")
    with pytest.raises(DataError, match=r"00\.png: .*at least 10 of 10 masks are so"):
        guess(tmp_path)


def warned(folder: Path) -> list[str]:
    return [line for line in guess(folder).lines if line.startswith("warning: ")]


def test_a_value_in_one_pixel_of_one_mask_may_be_a_slip(tmp_path: Path) -> None:
    masks = [labels(6, size=(96, 100)) for _ in range(16)]
    masks[7][50, 40] = 9
    paths = written(tmp_path, grey, masks)
    found = guess(tmp_path)
    assert len(found.classes) == 10
    assert warned(tmp_path) == [
        f"warning: value 9 is in one mask only, 1 pixel: {paths[7]} at x=40, y=50; a slip? "
        "correct it, or name the class"
    ]
    masks[3][2, 5] = 9  # in two masks
    grey(paths[3], masks[3])
    assert warned(tmp_path) == []
    masks[3][2, 5] = 0
    grey(paths[3], masks[3])
    masks[7][:10, :10] = 9  # an object
    grey(paths[7], masks[7])
    assert warned(tmp_path) == []
    masks[7][:10, :10] = 255  # void, however little of it
    masks[7][50, 40] = 255
    grey(paths[7], masks[7])
    assert warned(tmp_path) == []


def test_slips_in_colour_in_black_and_white_and_in_large_masks(tmp_path: Path) -> None:
    for kind in ("colour", "value", "share"):
        (tmp_path / kind).mkdir()
    masks = [labels(2, size=(60, 50)) for _ in range(2)]
    masks[1][7, 3:5] = 2
    paths = written(tmp_path / "colour", coloured, masks, [(0, 0, 0), (10, 200, 30), (1, 2, 3)])
    (line,) = warned(tmp_path / "colour")
    assert f"colour #010203 is in one mask only, 2 pixels: {paths[1]} at x=3, y=7; a slip" in line
    black = np.zeros((60, 50), np.uint8)
    white = black.copy()
    white[59, 49] = 255
    paths = written(tmp_path / "value", grey, [black, white])
    (line,) = warned(tmp_path / "value")
    assert f"value 255 is in one mask only, 1 pixel: {paths[1]} at x=49, y=59" in line
    for pixels, told in ((29, 1), (30, 0)):  # 1 in 10 000 is 30
        large = np.zeros((500, 600), np.uint8)
        large[3, 10 : 10 + pixels] = 1
        written(tmp_path / "share", grey, [large, np.zeros_like(large)])
        assert len(warned(tmp_path / "share")) == told


def test_a_slip_needs_other_masks_to_be_seen_and_few_are_listed(tmp_path: Path) -> None:
    mask = labels(2, size=(60, 50))
    mask[0, :8] = range(2, 10)
    grey(tmp_path / "a.png", mask)
    assert warned(tmp_path) == []
    grey(tmp_path / "b.png", labels(2))
    assert [line[:18] for line in warned(tmp_path)] == [
        *(f"warning: value {value} i" for value in range(2, 7)),
        "warning: and 3 mor",
    ]


def test_instance_ids_are_refused(tmp_path: Path) -> None:
    ids = np.array([[0, 26001], [7, 255]], np.uint16)
    Image.fromarray(ids).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: has the 16-bit value 26001.*instances"):
        guess(tmp_path)
    Image.fromarray(np.array([[0, 2], [1, 255]], np.uint16)).save(tmp_path / "a.png")
    found = guess(tmp_path)
    assert (found.encoding, found.flag) == ("index", "class0,class1,class2")
    assert "16-bit" in found.lines[0]


def test_unreadable_masks_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png: the file is empty"):
        guess(tmp_path)
    Image.fromarray(labels(2)).save(tmp_path / "b.jpg")
    with pytest.raises(DataError, match="none of 2 files"):
        guess(tmp_path)
    grey(tmp_path / "c.png", labels(3))
    found = guess(tmp_path)
    assert found.flag == "class0,class1,class2"
    assert found.lines[0].startswith("1 of 3 masks")
    assert any("a.png: the file is empty" in line and "1 more" in line for line in found.lines)


def test_files_that_claim_too_much_are_passed_over(tmp_path: Path) -> None:
    grey(tmp_path / "a.png", labels(3))
    grey(tmp_path / "b.png", labels(2, size=(6, 10)))
    assert guess(tmp_path, max_pixels=60).flag == "background,foreground"


def test_one_coloured_mask_among_others_does_not_decide(tmp_path: Path) -> None:
    written(tmp_path, grey, [labels(3), labels(3)])
    coloured(tmp_path / "z.png", labels(2), [(0, 0, 0), (9, 200, 9)])
    found = guess(tmp_path)
    assert (found.encoding, found.flag) == ("index", "class0,class1,class2")
    assert any("1 of them in colour" in line and "z.png" in line for line in found.lines)


def test_the_sample_is_spread_over_the_folder(tmp_path: Path) -> None:
    for i in range(30):
        folder = tmp_path / f"part{i // 10}"
        folder.mkdir(exist_ok=True)
        grey(folder / f"{i:02}.png", np.full((2, 2), i // 10, np.uint8))
    found = guess(tmp_path, most=5)
    assert found.lines[0].startswith("5 of 30 masks looked at")
    assert found.flag == "class0,class1,class2"
    (tmp_path / ".hidden").mkdir()
    grey(tmp_path / ".hidden" / "a.png", np.full((2, 2), 9, np.uint8))
    assert len(guess(tmp_path).classes) == 3


def test_masks_among_photographs_are_told_by_their_suffix(
    tmp_path: Path, photograph: Callable[[str], np.ndarray]
) -> None:
    Image.fromarray(photograph("chelsea")[:50, :50]).save(tmp_path / "cat.png")
    grey(tmp_path / "cat_mask.png", labels(2))
    assert guess(tmp_path, suffix="_mask").flag == "background,foreground"
    with pytest.raises(DataError, match=r"no masks \(files ending in _seg and \.jpg"):
        guess(tmp_path, suffix="_seg")


def test_photographs_below_the_folder_of_masks_are_left_out(
    tmp_path: Path, photograph: Callable[[str], np.ndarray]
) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(photograph("chelsea")[:50, :50]).save(tmp_path / "images" / "cat.png")
    grey(tmp_path / "cat.png", labels(3))
    assert guess(tmp_path, images=tmp_path / "images").flag == "class0,class1,class2"
    with pytest.raises(DataError, match=r"images/cat\.png: .* different colours"):
        guess(tmp_path)


def with_rim(*values: int) -> np.ndarray:
    """0 and 255, and each of ``values`` in one pixel between."""
    mask = 255 * labels(2)
    mask[0, : len(values)] = values
    return mask


def test_a_black_and_white_mask_that_jpeg_changed_is_told(tmp_path: Path) -> None:
    grey(tmp_path / "a.png", 255 * labels(2))
    grey(tmp_path / "b.png", with_rim(1, 2, 254, 253))
    said = r"b\.png: the masks have the values 0, 1, 2, 253, 254, 255: .*JPEG.*to 0 or 255"
    with pytest.raises(DataError, match=said):
        guess(tmp_path)
    grey(tmp_path / "b.png", with_rim(1, 2))  # void, as far as can be seen
    assert guess(tmp_path).flag == "class0,class1,class2"


@pytest.mark.parametrize("write", [grey, palette])
def test_a_few_ids_with_wide_gaps_do_not_become_hundreds_of_classes(
    tmp_path: Path, write: Writer
) -> None:
    grey(tmp_path / "a.png", labels(2))
    write(tmp_path / "b.png", np.array([0, 1, 180], np.uint8)[labels(3)])
    said = r"b\.png: has the value 180, and only 3 values below 181 .*\(0, 1, 180\).*name all 181"
    with pytest.raises(DataError, match=said):
        guess(tmp_path)
    # Of many classes some are not seen in a few masks.
    seen = np.arange(0, 150, 3).astype(np.uint8)
    for name, ids in (("b", seen), ("c", seen + 1)):
        grey(tmp_path / f"{name}.png", ids.repeat(9)[None])
    assert len(guess(tmp_path).classes) == 149


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_grey_photographs_of_few_values_are_refused(
    tmp_path: Path, photograph: Callable[[str], np.ndarray], mode: str
) -> None:
    grey(tmp_path / "a.png", labels(3))
    picture = np.asarray(Image.fromarray(photograph("chelsea")[:90, :90]).convert("L"))
    for values in (picture // 2 + 20, picture // 8):
        count = len(set(values.ravel().tolist()))
        assert 16 < count < 200
        image = Image.fromarray(values)
        if mode == "P":
            palette(tmp_path / "cat.png", values)
        else:
            image.convert(mode).save(tmp_path / "cat.png")
        said = rf"cat\.png: {count} different values, expected one a class: a grey photograph"
        with pytest.raises(DataError, match=said):
            guess(tmp_path)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("colour", [0, 255])
def test_a_mask_in_the_alpha_channel_is_told(tmp_path: Path, mode: str, colour: int) -> None:
    alpha = Image.fromarray(255 * labels(2))
    image = Image.new(mode, alpha.size, (colour,) * len(mode))
    image.save(tmp_path / "a.png")
    if colour == 0:  # transparent everywhere: a mask of nothing
        assert guess(tmp_path).flag == "background,foreground"
    image.putalpha(alpha)
    image.save(tmp_path / "a.png")
    said = r"a\.png: has one colour, and the mask seems to be in its alpha channel .*grey PNG"
    with pytest.raises(DataError, match=said):
        guess(tmp_path)


def test_255_has_its_share_where_it_is_a_class(tmp_path: Path) -> None:
    mask = labels(3)
    grey(tmp_path / "a.png", np.array([0, 128, 255], np.uint8)[mask])
    (line,) = [line for line in guess(tmp_path).lines if "share of pixels" in line]
    assert line.startswith("3 values, ")
    for value, class_id in ((0, 0), (128, 1), (255, 2)):
        assert f"{value} {100 * (mask == class_id).mean():.1f} % (in 1)" in line


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder, expected a folder of masks"):
        guess(tmp_path / "masks")
    with pytest.raises(DataError, match=r"no masks \(files ending in \.jpg"):
        guess(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        guess(tmp_path / "file")


def test_real_masks(shared_data: Path) -> None:
    camvid = guess(shared_data / "camvid" / "trainannot", most=20)
    assert (camvid.encoding, len(camvid.classes), camvid.void_seen) == ("index", 12, False)
    voc = guess(shared_data / "voc-sample" / "SegmentationClass")
    assert (voc.encoding, voc.classes[8], voc.void_seen) == ("palette", "cat", True)
