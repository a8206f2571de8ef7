"""Every fault of images, masks and layout, made on disk: code, file, remedy; nothing changed."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import owndata
import pytest
from owndata import CLASSES, SIZE, bomb, cut_short, flags, hashes, labels, photograph, write_pair
from PIL import Image

from fcnseg.cli import main

Fault = Callable[[Path], None]


@pytest.fixture
def check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[str]], tuple[int, str]]:
    """Run ``fcnseg check`` in this process; its inputs must be as before."""

    def run(words: list[str]) -> tuple[int, str]:
        before = hashes(tmp_path)
        code = main(["check", "--workers", "0", *words])
        assert hashes(tmp_path) == before
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def mask(values: np.ndarray, **how: object) -> Fault:
    """The mask of the pair ``bad`` is replaced."""
    return lambda root: Image.fromarray(values).save(root / "masks/bad.png", **how)


def image(picture: Image.Image, name: str = "bad.png", **how: object) -> Fault:
    """The image of the pair ``bad`` is replaced."""

    def make(root: Path) -> None:
        (root / "images/bad.png").unlink()
        picture.save(root / "images" / name, **how)

    return make


def image_bytes(data: bytes, name: str) -> Fault:
    def make(root: Path) -> None:
        (root / "images/bad.png").unlink()
        (root / "images" / name).write_bytes(data)

    return make


def truncated_jpeg(root: Path) -> None:
    image(photograph(5), "bad.jpg")(root)
    cut_short(root / "images/bad.jpg")


def turned_alone(root: Path) -> None:
    """The image has an orientation, and the mask was drawn on the picture as it is stored."""
    owndata.turned(root / "images/bad.jpg", 5)
    (root / "images/bad.png").unlink()
    Image.fromarray(labels(5, SIZE[::-1])).save(root / "masks/bad.png")


def jpeg_mask(root: Path) -> None:
    (root / "masks/bad.png").unlink()
    Image.fromarray(labels(5)).save(root / "masks/bad.jpg")


def unknown_colour(root: Path) -> None:
    ids = np.minimum(labels(5), 2)
    coloured = np.array(owndata.COLOURS, np.uint8)[ids]
    coloured[7, 9] = (1, 2, 3)
    Image.fromarray(coloured).save(root / "masks/bad.png")


def mixed_colour_table(root: Path) -> None:
    ids = np.zeros(SIZE, np.uint8)
    ids[4, 6] = 1
    picture = Image.fromarray(ids, "P")
    picture.putpalette([*owndata.COLOURS[1], 9, 9, 9])
    picture.save(root / "masks/bad.png")


def with_pixel(value: int, kind: type[np.generic] = np.uint8) -> np.ndarray:
    ids = np.zeros(SIZE, kind)
    ids[11, 13] = value
    return ids


RESAVE = r"copy or save it again"
OF_FILES: list[tuple[str, Fault, str, str]] = [
    ("1 truncated JPEG", truncated_jpeg, "images/bad.jpg", rf"cannot be decoded .*{RESAVE}"),
    (
        "1 truncated PNG",
        lambda root: cut_short(root / "images/bad.png"),
        "images/bad.png",
        rf"cannot be decoded .*{RESAVE}",
    ),
    ("2 no bytes", image_bytes(b"", "bad.jpg"), "images/bad.jpg", r"is empty \(0 bytes\); copy it"),
    (
        "2 HTML",
        image_bytes(b"<!DOCTYPE html><html>404</html>", "bad.jpg"),
        "images/bad.jpg",
        r"holds HTML or XML text, not an image \(a download that failed\?\); replace the file",
    ),
    (
        "2 no image",
        image_bytes(bytes(range(200)), "bad.webp"),
        "images/bad.webp",
        r"is no image of a known kind \(JPEG, PNG.*\); replace the file",
    ),
    (
        "3 EXIF rotation of the image alone",
        turned_alone,
        "masks/bad.png",
        r"the mask is 48x40 .* image \S*bad.jpg is 40x48; .*draw masks on the upright image",
    ),
    (
        "4 floating point",
        image(Image.fromarray(np.ones(SIZE, np.float32)), "bad.tif"),
        "images/bad.tif",
        r"the pixels are floating point, .*; save it as 8-bit or 16-bit PNG",
    ),
    (
        "5 bomb",
        lambda root: bomb(root / "images/bad.png"),
        "images/bad.png",
        r"claims 20000x20000 pixels .* more than the limit of 250000000; raise --max-pixels if",
    ),
    (
        "5 bomb as a mask",
        lambda root: bomb(root / "masks/bad.png"),
        "masks/bad.png",
        r"claims 20000x20000 pixels .*; raise --max-pixels if you trust the file",
    ),
    (
        "6 animated",
        image(photograph(5), "bad.gif", save_all=True, append_images=[photograph(6)]),
        "images/bad.gif",
        r"has several frames or pages, expected one picture; save the one you mean",
    ),
    (
        "7 another size",
        mask(labels(5, (30, 40))),
        "masks/bad.png",
        r"the mask is 30x40 \(height x width\) but its image \S*bad.png is 40x48; they must be eq",
    ),
    (
        "8 out of range",
        mask(with_pixel(7)),
        "masks/bad.png",
        r"pixel value 7 \(1 pixels\): is no class id, first at x=13, y=11; expected 0 to 2, or 255 "
        r"for void; correct the mask or the list of classes",
    ),
    (
        "9 16 bits",
        mask(with_pixel(300, np.uint16)),
        "masks/bad.png",
        r"pixel value 300 \(1 pixels\): is no class id, first at x=13, y=11; .*correct the mask",
    ),
    (
        "10 a colour table that is half of ours",
        mixed_colour_table,
        "masks/bad.png",
        r"index 1, first at x=6, y=4, has \(9, 9, 9\), the colour of no class.*use --mask-encoding",
    ),
    (
        "11 unknown colour",
        unknown_colour,
        "masks/bad.png",
        r"colour \(1, 2, 3\) at x=9, y=7 belongs to no class \(1 unknown colours, 1 pixels\); corr",
    ),
    (
        "11 JPEG mask",
        jpeg_mask,
        "masks/bad.jpg",
        r"a JPEG mask is refused, because lossy compression changes class ids; save it as PNG",
    ),
    (
        "13 an image without a mask",
        lambda root: (root / "masks/bad.png").unlink(),
        "images/bad.png",
        r"there is no mask of the same name with any ending in \S*masks; add the mask or remove",
    ),
    (
        "13 a mask without an image",
        lambda root: (root / "images/bad.png").unlink(),
        "masks/bad.png",
        r"there is no image of the same name with any ending in \S*images; add the image or remove",
    ),
    (
        "13 two images of one name",
        lambda root: photograph(8).save(root / "images/bad.bmp"),
        "images/bad.bmp",
        r"/images/bad.png has the same name with another ending; keep one file of each name",
    ),
    (
        "13 two masks of one name",
        lambda root: Image.fromarray(labels(8)).save(root / "masks/bad.bmp"),
        "masks/bad.bmp",
        r"/masks/bad.png has the same name with another ending; keep one file of each name",
    ),
]


@pytest.mark.parametrize(("make", "file", "words"), [f[1:] for f in OF_FILES],
                         ids=[f[0] for f in OF_FILES])  # fmt: skip
def test_a_fault_of_a_file_or_of_names(
    tmp_path: Path, check: Callable[..., tuple[int, str]], make: Fault, file: str, words: str
) -> None:
    root = owndata.write_pairs(tmp_path)
    write_pair(root, "bad.png", 5)
    make(root)
    code, out = check(flags(root))
    assert code == 3
    (line,) = [line for line in out.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {root / file}: ")
    assert re.search(words, line), line
    assert "1 error, 0 warnings" in out


def test_a_folder_with_twenty_different_faults_lists_them_all(
    tmp_path: Path, check: Callable[..., tuple[int, str]]
) -> None:
    root = owndata.write_pairs(tmp_path / "data")
    expected = []
    for number, (_, make, file, words) in enumerate(OF_FILES):
        own = owndata.write_pairs(tmp_path / "one", 0)
        write_pair(own, "bad.png", 100 + number)
        make(own)
        for path in [*(own / "images").iterdir(), *(own / "masks").iterdir()]:
            path.rename(root / path.parent.name / path.name.replace("bad", f"bad{number}"))
        named = (text.replace("bad", f"bad{number}") for text in (file, words))
        expected.append(tuple(named))
    code, out = check([*flags(root), "--json"])
    (report,) = json.loads(out)["sets"]
    found = {Path(f["file"]).relative_to(root).as_posix(): f["message"] for f in report["findings"]}
    assert code == 3
    assert report["errors"] == len(found) == len(expected) == 20
    for file, words in expected:
        assert re.search(words, found[file]), (file, found[file])
    assert report["readable"] == 2


def test_both_files_of_a_pair_are_named(
    tmp_path: Path, check: Callable[..., tuple[int, str]]
) -> None:
    root = owndata.write_pairs(tmp_path)
    (root / "images/good1.png").write_bytes(b"")
    Image.fromarray(with_pixel(9)).save(root / "masks/good1.png")
    code, out = check(flags(root))
    assert code == 3
    assert f"error: {root}/images/good1.png: the file is empty" in out
    assert f"error: {root}/masks/good1.png: pixel value 9 (1 pixels)" in out


def test_sound_files_of_every_kind_pass_with_one_meaning(
    tmp_path: Path, check: Callable[..., tuple[int, str]]
) -> None:
    """4: CMYK, grey, alpha, 16 bits; 3: upright by EXIF; 10: palettes; 9: 16-bit masks."""
    root = owndata.write_pairs(tmp_path, 1)
    grey = photograph(3).convert("L")
    wide = Image.fromarray(np.random.default_rng(3).integers(0, 65536, SIZE).astype(np.uint16))
    for name, picture in (
        ("cmyk.jpg", photograph(1).convert("CMYK")),
        ("grey.png", grey),
        ("alpha.png", photograph(4).convert("RGBA")),
        ("wide.png", wide),
    ):
        write_pair(root, name, 7)
        picture.save(root / "images" / name)
    write_pair(root, "turned.jpg", 7)
    owndata.turned(root / "images/turned.jpg", 7)
    ids = labels(7)
    palette = Image.fromarray(ids, "P")
    palette.putpalette([*range(30, 33)] * 256)  # no colour of a class: indices count
    palette.save(root / "masks/grey.png")
    Image.fromarray(ids.astype(np.uint16)).save(root / "masks/alpha.png")
    colours = np.array([*owndata.COLOURS, *[(224, 224, 192)] * 253], np.uint8)
    Image.fromarray(colours[ids]).save(root / "masks/wide.png")
    code, out = check([*flags(root), "--json"])
    report = json.loads(out)["sets"][0]
    assert (code, report["errors"]) == (0, 0)
    once = np.bincount(labels(0).ravel(), minlength=3)[:3]
    expected = once + 5 * np.bincount(ids.ravel(), minlength=3)[:3]
    assert report["class_pixels"] == expected.tolist()
    assert report["mask_kinds"] == {"grey": 3, "palette": 1, "grey16": 1, "rgb": 1}


def test_6_and_12_small_images_and_void_masks_are_warnings(
    tmp_path: Path, check: Callable[..., tuple[int, str]]
) -> None:
    root = owndata.write_pairs(tmp_path, 4)
    photograph(0, (1, 1)).save(root / "images/good0.png")
    Image.new("L", (1, 1)).save(root / "masks/good0.png")
    Image.new("L", SIZE[::-1], 255).save(root / "masks/good1.png")
    code, out = check(flags(root))
    assert code == 0
    assert f"warning: {root}/images/good0.png: is 1x1 (height x width): below 32 pixels" in out
    assert f"warning: {root}/masks/good1.png: the mask is void everywhere (255): nothing is" in out
    assert "no errors, 2 warnings" in out


@pytest.mark.parametrize(
    ("make", "start", "remedy"),
    [
        (
            lambda root: [p.unlink() for p in (root / "masks").iterdir()],
            "",
            "no images (found: noth",
        ),
        (
            lambda root: [p.rename(p.with_suffix(".dcm")) for p in (root / "images").iterdir()],
            "",
            "no images (found: .dcm 2); expected files ending in .jpg",
        ),
        (
            lambda root: (root / "masks").rename(root / "labels"),
            "--masks ",
            "there is no such folder, expected a folder; check the path",
        ),
    ],
    ids=["no masks", "no images of a known ending", "no folder"],
)
def test_13_nothing_to_read(
    tmp_path: Path,
    check: Callable[..., tuple[int, str]],
    make: Fault,
    start: str,
    remedy: str,
) -> None:
    root = owndata.write_pairs(tmp_path)
    make(root)
    code, out = check(flags(root))
    assert code == 3
    assert f"error: {start}{root}/" in out
    assert remedy in out
    assert "folder/train: could not be opened" in out


def test_13_a_part_that_cannot_be_opened_does_not_hide_the_other(
    tmp_path: Path, check: Callable[..., tuple[int, str]]
) -> None:
    root = owndata.write_pairs(tmp_path)
    gone = ["--val-images", str(tmp_path / "none"), "--val-masks", str(root / "masks")]
    (root / "images/good1.png").write_bytes(b"")
    code, out = check([*flags(root), *gone])
    assert code == 3
    assert f"error: {root}/images/good1.png: the file is empty" in out
    assert f"error: --images {tmp_path}/none: there is no such folder" in out
    assert "folder: 1 of 2 images usable" in out


def test_14_the_same_image_in_both_parts_is_found_by_content(
    tmp_path: Path, check: Callable[..., tuple[int, str]]
) -> None:
    root = owndata.write_pairs(tmp_path / "train", 3)
    val = owndata.write_pairs(tmp_path / "val", 2, first=20)
    photograph(1).save(val / "images/good20.png", compress_level=1)
    val_flags = ["--val-images", str(val / "images"), "--val-masks", str(val / "masks")]
    code, out = check([*flags(root), *val_flags])
    assert code == 3
    (line,) = [line for line in out.splitlines() if line.startswith("error: ")]
    assert line.startswith(
        f"error: {val}/images/good20.png: is the same image as {root}/images/good1.png of folder"
    )
    assert "remove it from folder/val or from folder" in line


def write_camvid(root: Path) -> Path:
    for split, seed in (("train", 0), ("val", 50)):
        own = owndata.write_pairs(root / split, 2, first=seed)
        (own / "masks").rename(root / f"{split}annot")
        for path in list((own / "images").iterdir()):
            path.rename(own / path.name)
        (own / "images").rmdir()
        for path in (root / f"{split}annot").iterdir():
            ids = np.asarray(Image.open(path))
            Image.fromarray(np.where(ids == 255, 11, ids).astype(np.uint8)).save(path)
    return root


def test_15_a_link_that_leaves_the_root(
    tmp_path: Path, check: Callable[..., tuple[int, str]]
) -> None:
    root = write_camvid(tmp_path / "camvid")
    elsewhere = tmp_path / "secret.png"
    (root / "train/good1.png").rename(elsewhere)
    (root / "train/good1.png").symlink_to(elsewhere)
    code, out = check(["--data", "camvid", "--data-root", str(root)])
    assert code == 3
    assert re.search(
        rf"error: {root}/train/good1.png: leads out of the data root, to {elsewhere}; put the file",
        out,
    )
    assert "camvid/train: 1 of 1 images usable" in out


def test_15_a_split_entry_that_leaves_the_root(
    tmp_path: Path, check: Callable[..., tuple[int, str]]
) -> None:
    root = tmp_path / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / part).mkdir(parents=True)
    for name, seed in (("one", 0), ("two", 1)):
        photograph(seed).save(root / f"JPEGImages/{name}.jpg")
        Image.fromarray(labels(seed)).save(root / f"SegmentationClass/{name}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("one\n../../secret\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("two\nmissing\n")
    code, out = check(["--data", "voc", "--data-root", str(root)])
    assert code == 3
    entry = (
        r"error: \S*train.txt: entry '../../secret' in line 2 is no plain image id and is refused; "
    )
    assert re.search(entry + "expected a name such as", out), out
    for part, name in (("JPEGImages", "missing.jpg"), ("SegmentationClass", "missing.png")):
        words = rf"error: \S*{part}/{name}: is listed in val.txt and missing; unpack"
        assert re.search(words, out), out
    assert "voc/train: 1 of 1 images usable" in out


def test_16_dangling_ids_of_a_coco_file(
    tmp_path: Path, check: Callable[..., tuple[int, str]]
) -> None:
    root = owndata.write_pairs(tmp_path, 1)
    square = [1, 1, 9, 1, 9, 9, 1, 9]
    whole = {"id": 3, "image_id": 1, "category_id": 1, "segmentation": [square], "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "good0.png", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            whole,
            {**whole, "id": 7, "category_id": 99},
            {**whole, "id": 8, "image_id": 44},
        ],
    }
    file = root / "instances.json"
    file.write_text(json.dumps(content))
    code, out = check(["--annotations", str(file), "--images", str(root / "images")])
    assert code == 3
    errors = [line for line in out.splitlines() if line.startswith(f"error: {file}: ")]
    assert any(re.search(r"annotation 7\b.*99.*; ", line) for line in errors), out
    assert any(re.search(r"annotation 8\b.*44.*; ", line) for line in errors), out


def test_many_of_one_kind_are_cut_short_in_the_terminal_and_whole_in_json(
    tmp_path: Path, check: Callable[..., tuple[int, str]]
) -> None:
    root = owndata.write_pairs(tmp_path, 25)
    for seed in range(24):
        Image.fromarray(with_pixel(3 + seed)).save(root / f"masks/good{seed}.png")
    (root / "images/good24.png").write_bytes(b"")
    code, out = check(flags(root))
    assert code == 3
    assert out.count("error: ") == 21
    assert "  and 4 more of this kind; --json lists all" in out
    assert "25 errors, " in out
    code, out = check([*flags(root), "--json"])
    assert code == 3
    assert len(json.loads(out)["sets"][0]["findings"]) == 25


def test_the_names_of_classes_are_not_lost_in_the_command_to_come(
    tmp_path: Path, check: Callable[..., tuple[int, str]]
) -> None:
    root = owndata.write_pairs(tmp_path)
    code, out = check(flags(root))
    assert code == 0
    assert out.splitlines()[-1] == (
        f"  fcnseg train --images {root}/images --masks {root}/masks --classes '{CLASSES}' "
        "--backbone efficientnet_lite0"
    )
