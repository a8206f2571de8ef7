"""Folders of images and masks, paired by name."""

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.faults import DataFaults
from fcnseg.data.folder import folder
from fcnseg.data.names import Listing, pair_by_name
from fcnseg.data.sample import Source
from fcnseg.errors import DataError, UsageError

CLASSES = ("ground", "house", "tree")


def write(path: Path, height: int = 4, width: int = 6, value: int = 1, mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height), value if mode == "L" else (value, value, 9)).save(path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    images, masks = tmp_path / "images", tmp_path / "masks"
    for number, name in enumerate(["b.jpg", "a.PNG", "town/x.y.jpeg", "town/b.bmp"]):
        write(images / name, value=number, mode="RGB")
        write((masks / name).with_suffix(".png" if number else ".tif"), value=number % 3)
    write(images / ".hidden.jpg", mode="RGB")
    (images / "notes.txt").write_text("no image")
    return images, masks


def test_pairs_equal_a_plain_search(folders: tuple[Path, Path]) -> None:
    images, masks = folders
    source = folder(images, masks, CLASSES)
    assert isinstance(source, Source)
    expected = {}
    for image in images.rglob("*.*"):
        for mask in masks.rglob("*.*"):
            stem, other = (
                str(p.relative_to(r)).rsplit(".", 1)[0] for p, r in ((image, images), (mask, masks))
            )
            if stem == other:
                expected[stem] = (image, mask)
    assert [source.id(i) for i in range(len(source))] == sorted(expected)
    for index in range(len(source)):
        assert source.files(index) == expected[source.id(index)]
        sample = source[index]
        assert sample.id == source.id(index)
        assert np.array_equal(sample.label, np.asarray(Image.open(expected[sample.id][1])))
        assert sample.image.shape == (4, 6, 3)
    assert source.palette[1] == (128, 0, 0)


def test_it_can_be_pickled(folders: tuple[Path, Path]) -> None:
    source = folder(*folders, CLASSES)
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(again[0].image, source[0].image)


def test_missing_partners_are_named_on_both_sides(folders: tuple[Path, Path]) -> None:
    images, masks = folders
    for name in ("p1", "p2", "p3", "p4"):
        write(images / f"{name}.jpg", mode="RGB")
    write(masks / "q.png")
    with pytest.raises(DataFaults) as caught:
        folder(images, masks, CLASSES)
    missing_mask, missing_image = caught.value.faults
    assert missing_mask.startswith(f"{masks}: 4 of 8 images in {images}")
    assert "p1.jpg, p2.jpg, p3.jpg and 1 more" in missing_mask
    assert "(masks found: .png 4, .tif 1)" in missing_mask
    assert missing_image.startswith(f"{images}: 1 of 5 masks in {masks} have no image")
    assert "q.png" in missing_image
    assert "\n" not in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).faults == caught.value.faults


def test_masks_with_an_addition_to_the_name_are_paired_and_that_is_said(tmp_path: Path) -> None:
    for name in ("a", "b", "deep/c_1"):
        write(tmp_path / f"i/{name}.jpg", mode="RGB")
        write(tmp_path / f"m/{name}_mask.png")
    source = folder(tmp_path / "i", tmp_path / "m", CLASSES)
    assert [source.id(i) for i in range(3)] == ["a", "b", "deep/c_1"]
    assert source.files(2) == (tmp_path / "i/deep/c_1.jpg", tmp_path / "m/deep/c_1_mask.png")
    assert source.notes == ("masks are paired with images by names that end in '_mask'",)


@pytest.mark.parametrize("ending", [".HEIC", ".dng", ".psd"])
def test_a_partner_with_an_ending_that_is_not_read_is_named(tmp_path: Path, ending: str) -> None:
    """Of a photograph, and of a mask with and without an addition to its name."""
    for addition in ("", "_mask"):
        root = tmp_path / f"data{addition}"
        names = [f"deep/s{i}{addition}" for i in (1, 2)]
        listing = listed(
            root,
            ["deep/s1.jpg", "deep/s2.jpg", f"deep/s5{ending}"],
            [*(f"{name}.png" for name in names), f"deep/s5{addition}.png"],
        )
        said = f"s5{ending} is there but cannot be read; save it as JPEG or PNG"
        for fault in (*listing.faults, *listing.each):
            assert fault.endswith(said), fault
        (root / f"i/deep/s5{ending}").rename(root / "i/deep/s5.jpg")
        (root / f"m/deep/s5{addition}.png").rename(root / f"m/deep/s5{addition}{ending}")
        suffix = addition or None
        listing = pair_by_name(root / "i", root / "m", suffix)
        said = f"s5{addition}{ending} is there but cannot be read; save it as PNG"
        for (fault,) in (listing.faults, listing.each):
            assert fault.endswith(said), fault


def test_notes_beside_an_image_are_no_mask_and_named(tmp_path: Path) -> None:
    listing = listed(tmp_path, ["a.jpg", "b.jpg", "c.json"], ["a.png", "b.json", "c.png"])
    said = [fault.partition("; ")[2] for fault in listing.each]
    assert said == [
        f"{tmp_path}/m/b.json is there but cannot be read; export masks from it as PNG",
        "add the image or remove the mask",
    ]


def test_names_that_differ_in_case_only_are_told(tmp_path: Path) -> None:
    listing = listed(tmp_path, ["a.JPG", "IMG_0.JPG", "b.jpg"], ["a.png", "img_0.png", "b.png"])
    assert paired(listing) == [("a.JPG", "a.png"), ("b.jpg", "b.png")]
    told = ["img_0.png differs in upper and lower case only", "IMG_0.JPG differs in upper and"]
    for faults in (listing.faults, listing.each):
        for fault, said in zip(faults, told, strict=True):
            assert said in fault
    names = ["A", "B"]
    listing = listed(tmp_path / "two", [f"{n}.jpg" for n in names], ["a.png", "b.png"])
    assert "a.png differs" in listing.faults[0]
    assert listing.faults[0].endswith("(and 1 more such)")


def test_an_addition_that_some_masks_lack_is_not_guessed(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"i/{name}.jpg", mode="RGB")
    write(tmp_path / "m/a_mask.png")
    with pytest.raises(DataError, match=r"a\.jpg, b\.jpg.*or give --mask-suffix _mask"):
        folder(tmp_path / "i", tmp_path / "m", CLASSES)
    write(tmp_path / "m/b.png")
    source = folder(tmp_path / "i", tmp_path / "m", CLASSES, suffix="_mask")
    assert [source.files(i)[1].name for i in range(2)] == ["a_mask.png", "b.png"]


def listed(root: Path, images: list[str], masks: list[str]) -> Listing:
    """The listing of empty files, which are paired by their names alone."""
    for part, names in (("i", images), ("m", masks)):
        for name in names:
            (root / part / name).parent.mkdir(parents=True, exist_ok=True)
            (root / part / name).touch()
    return pair_by_name(root / "i", root / "m")


def paired(listing: Listing) -> list[tuple[str, str]]:
    return [(pair.image.name, pair.mask.name) for pair in listing.pairs]


@pytest.mark.parametrize(
    ("image", "mask", "of_images", "of_masks"),
    [
        ("img_{}.jpg", "mask_{}.png", "img", "mask"),
        ("{}.jpg", "mask_{}.png", "", "mask_"),
        ("img_{}.jpg", "{}.png", "img_", ""),
        ("img_0{}.jpg", "gt_0{}.png", "img", "gt"),
        ("town/img_{}.jpg", "town/mask_{}.png", "img", "mask"),
    ],
)
def test_names_that_start_otherwise_are_paired_and_that_is_said(
    tmp_path: Path, image: str, mask: str, of_images: str, of_masks: str
) -> None:
    numbers = [1, 2, 10, 21]
    images = [image.format(n) for n in numbers]
    masks = [mask.format(n) for n in [*numbers, 99]]
    listing = listed(tmp_path, images, masks)
    expected = sorted(zip(images, masks, strict=False))
    assert paired(listing) == [(Path(i).name, Path(m).name) for i, m in expected]
    assert listing.notes == (
        f"masks are paired with images by names with {of_masks!r} at the start in place of "
        f"{of_images!r}",
    )
    (fault,) = listing.faults  # the mask that is left over
    assert f"1 of 5 masks in {tmp_path}/m have no image of the same name: " in fault
    assert mask.format(99) in fault


@pytest.mark.parametrize(
    ("images", "masks", "hint"),
    [
        # Two exchanges fit.
        (
            ["img_1", "img_2"],
            ["mask_1", "mask_2", "edge_1", "edge_2"],
            "'img' at the start in place of ",
        ),
        # One image is without a mask.
        (
            ["img_1", "img_2", "img_3"],
            ["mask_1", "mask_2"],
            "with 'img' at the start in place of 'mask', 2 of 3 images would have one",
        ),
        (["img_1"], ["mask_1"], "'img' at the start in place of 'mask', 1 of 1"),
        # What is equal is the end of a number.
        (["img_10", "img_11"], ["img_20", "img_21"], ""),
        (["a/img_1", "a/img_2"], ["b/mask_1", "b/mask_2"], ""),
    ],
)
def test_prefixes_in_doubt_are_named_and_not_guessed(
    tmp_path: Path, images: list[str], masks: list[str], hint: str
) -> None:
    listing = listed(tmp_path, [f"{i}.jpg" for i in images], [f"{m}.png" for m in masks])
    assert (listing.pairs, listing.notes) == ([], ())
    for said in (listing.faults[0], listing.each[0]):
        assert hint in said
        assert ("rename the masks" in said) == bool(hint)


def lines_run(function: Callable[[], Any]) -> int:
    """How many lines of the package a call goes through, each turn of a loop again."""
    count = 0

    def tracer(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if "fcnseg" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return tracer

    usual = sys.gettrace()
    sys.settrace(tracer)
    try:
        function()
    finally:
        sys.settrace(usual)
    return count


@pytest.mark.parametrize(
    ("image", "mask", "wording"),
    [
        ("img_{}", "mask_{}", "faults"),
        ("img_{}", "else_{}0", "faults"),
        ("img_{}", "else_{}0", "each"),
        ("{}", "{}_mask", "faults"),
        ("{}", "{}_mask", "each"),
    ],
)
def test_the_work_grows_with_the_number_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str, mask: str, wording: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for part in "im":
        Path(part).mkdir()

    def work(count: int) -> int:
        found = [
            {name.format(i): [Path(part, f"{name.format(i)}.png")] for i in range(1, count)}
            for part, name in (("i", image), ("m", mask))
        ]
        monkeypatch.setattr("fcnseg.data.names.files_by_name", lambda *_: found.pop(0))
        return lines_run(lambda: getattr(pair_by_name(Path("i"), Path("m")), wording))

    assert work(2000) < 6 * work(500)


def test_a_folder_that_cannot_be_listed_is_an_error(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir
    locked = str(folders[1] / "town")

    def refusing(place: Any) -> Any:
        if os.fspath(place) == locked:
            raise PermissionError(13, "Permission denied", locked)
        return scan(place)

    monkeypatch.setattr("os.scandir", refusing)
    for strict in (True, False):
        with pytest.raises(DataError, match=r"masks/town: .* cannot be listed \(Permission denied"):
            folder(*folders, CLASSES, strict=strict)


def test_a_mask_with_and_one_without_the_addition_are_two_of_one_name(tmp_path: Path) -> None:
    write(tmp_path / "i/a.jpg", mode="RGB")
    write(tmp_path / "m/a_mask.png")
    write(tmp_path / "m/a.png")
    with pytest.raises(DataError, match=r"names are there more than once: a\.png and a_mask\.png"):
        folder(tmp_path / "i", tmp_path / "m", CLASSES, suffix="_mask")


def test_images_and_masks_in_one_folder(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.jpg", mode="RGB")
        write(tmp_path / f"{name}_mask.png")
    with pytest.raises(UsageError, match="say with --mask-suffix"):
        folder(tmp_path, tmp_path, CLASSES)
    source = folder(tmp_path, tmp_path, CLASSES, suffix="_mask")
    assert [source.id(i) for i in range(len(source))] == ["a", "b"]
    assert source.files(0)[1].name == "a_mask.png"


def test_whole_pairs_are_kept_beside_the_faults(folders: tuple[Path, Path]) -> None:
    write(folders[0] / "alone.jpg", mode="RGB")
    write(folders[0] / "town/b.png", mode="RGB")
    source = folder(*folders, CLASSES, strict=False)
    assert [source.id(i) for i in range(len(source))] == ["a", "b", "town/x.y"]
    assert [fault.partition(": ")[0] for fault in source.faults] == [
        f"{folders[0]}/town/b.bmp",
        f"{folders[0]}/alone.jpg",
    ]
    with pytest.raises(DataFaults) as caught:
        folder(*folders, CLASSES)
    assert [fault.partition(": ")[0] for fault in caught.value.faults] == [*map(str, folders)]


def test_labels_alone(folders: tuple[Path, Path]) -> None:
    source = folder(*folders, CLASSES)
    for index in range(len(source)):
        assert np.array_equal(source.label(index), source[index].label)
    (folders[0] / "a.PNG").write_bytes(b"")
    assert source.label(0).shape == (4, 6)


def test_duplicate_names(folders: tuple[Path, Path]) -> None:
    write(folders[0] / "town/b.png", mode="RGB")
    with pytest.raises(DataError, match=r"1 names are there more than once: town/b\.bmp and town"):
        folder(*folders, CLASSES)


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    write(tmp_path / "i/a.png", mode="RGB")
    (tmp_path / "m").mkdir()
    (tmp_path / "m/a.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"m: no images \(found: \.heic 1\); expected files ending"):
        folder(tmp_path / "i", tmp_path / "m", CLASSES)
    with pytest.raises(DataError, match=r"--masks .*none: there is no such folder"):
        folder(tmp_path / "i", tmp_path / "none", CLASSES)
    with pytest.raises(DataError, match=r"--images .*a\.png: is a file"):
        folder(tmp_path / "i/a.png", tmp_path / "m", CLASSES)
    with pytest.raises(UsageError, match="is the folder of --images too"):
        folder(tmp_path / "i", tmp_path / "i", CLASSES)


def test_masks_inside_the_folder_of_images(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", mode="RGB")
    write(tmp_path / "masks/a.png")
    source = folder(tmp_path, tmp_path / "masks", CLASSES)
    assert [source.id(0)] == ["a"]
    assert len(source) == 1


def test_a_loop_of_links_ends(folders: tuple[Path, Path]) -> None:
    (folders[0] / "town/loop").symlink_to(folders[0])
    assert len(folder(*folders, CLASSES)) == 4


def test_sizes_that_differ_are_both_printed(tmp_path: Path) -> None:
    write(tmp_path / "i/a.png", 4, 6, mode="RGB")
    write(tmp_path / "m/a.png", 6, 5)
    with pytest.raises(DataError, match=r"mask is 6x5 \(height x width\) but its image .* is 4x6"):
        folder(tmp_path / "i", tmp_path / "m", CLASSES)[0]
    write(tmp_path / "m/a.png", 6, 4)
    with pytest.raises(DataError, match="EXIF rotation is applied"):
        folder(tmp_path / "i", tmp_path / "m", CLASSES)[0]


def test_faults_of_image_and_mask_come_together(folders: tuple[Path, Path]) -> None:
    images, masks = folders
    (images / "b.jpg").write_bytes(b"")
    write(masks / "b.tif", value=9)
    source = folder(images, masks, CLASSES)
    with pytest.raises(DataError, match=r"b\.jpg: the file is empty.*; also .*b\.tif: .* value 9"):
        source[1]


def test_settings_that_make_no_sense(folders: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match=r"--mask-encoding.*did you mean 'palette'"):
        folder(*folders, CLASSES, encoding="pallette")
    with pytest.raises(UsageError, match="rgb: needs the colour of each class"):
        folder(*folders, CLASSES, encoding="rgb")
    with pytest.raises(UsageError, match="binary255: expected 2 classes"):
        folder(*folders, CLASSES, encoding="binary255")
    with pytest.raises(UsageError, match=r"got the text|got 1"):
        folder(*folders, "abc")


def test_an_exif_rotated_photo_fits_its_upright_mask(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "i").mkdir()
    Image.new("RGB", (8, 4)).save(tmp_path / "i/a.jpg", exif=exif)
    write(tmp_path / "m/a.png", 8, 4)
    assert folder(tmp_path / "i", tmp_path / "m", CLASSES)[0].image.shape == (8, 4, 3)


def test_void_that_is_a_class_is_refused(folders: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="--mask-void 2: is the id of a class; the ids are 0 to 2"):
        folder(*folders, CLASSES, void=2)
    colours = [(0, 0, 0), (1, 0, 0), (2, 0, 0)]
    with pytest.raises(UsageError, match="--mask-void: a class has this colour"):
        folder(*folders, CLASSES, palette=colours, void=(1, 0, 0))
    assert (folder(*folders, CLASSES[:2], void=2)[3].label != 2).all()
