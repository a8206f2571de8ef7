"""The check of a whole source: all faults, counts, warnings, equal images."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.camvid import CamVid
from fcnseg.data.check import Report, check, overlap
from fcnseg.data.folder import FolderPairs
from fcnseg.data.sample import Source
from fcnseg.data.shapes import Shapes
from fcnseg.data.voc import Voc

CLASSES = ("ground", "house", "tree")


def folder(root: Path, count: int, seed: int = 0) -> Path:
    """Write ``count`` pairs; masks hold ground and house, never a tree."""
    numbers = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for index in range(count):
        height = 4 + index % 2
        image = numbers.integers(0, 256, (height, 6, 3)).astype(np.uint8)
        Image.fromarray(image).save(root / f"images/{index}.png")
        label = numbers.integers(0, 2, (height, 6)).astype(np.uint8)
        label[0, 0] = 255
        Image.fromarray(label).save(root / f"masks/{index}.png")
    return root


def source(root: Path) -> FolderPairs:
    return FolderPairs(root / "images", root / "masks", CLASSES)


def test_all_faults_are_listed(tmp_path: Path) -> None:
    root = folder(tmp_path, 6)
    (root / "images/1.png").write_bytes(b"")
    (root / "images/2.png").write_bytes((root / "images/2.png").read_bytes()[:60])
    Image.new("L", (6, 4), 7).save(root / "masks/2.png")
    Image.new("L", (3, 4), 0).save(root / "masks/4.png")
    calls: list[tuple[int, int]] = []
    report = check(source(root), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 6) for done in range(1, 7)]
    errors = [(Path(f.file).name, f.message) for f in report.findings if f.severity == "error"]
    assert [name for name, _ in errors] == ["1.png", "2.png", "2.png", "4.png"]
    words = ["the file is empty", "cannot be decoded", "pixel value 7 (24 pixels)", "mask is 4x3"]
    for (_, message), expected in zip(errors, words, strict=True):
        assert expected in message
    assert (report.errors, report.images, report.readable, report.ok) == (4, 6, 3, False)


def test_counts_equal_a_plain_count(tmp_path: Path) -> None:
    root = folder(tmp_path, 5)
    report = check(source(root))
    labels = [np.asarray(Image.open(path)) for path in (root / "masks").iterdir()]
    for class_id in range(3):
        assert report.class_pixels[class_id] == sum((a == class_id).sum() for a in labels)
        assert report.class_images[class_id] == sum((a == class_id).any() for a in labels)
    assert report.void_pixels == sum((a == 255).sum() for a in labels) == 5
    assert report.void_share == pytest.approx(5 / sum(a.size for a in labels))
    assert report.sizes == {(4, 6): 3, (5, 6): 2}
    assert report.ok
    assert [f.message for f in report.findings] == [
        "class 'tree' occurs in no mask; its score cannot be measured"
    ]


def test_void_masks_and_repeated_images_are_warnings(tmp_path: Path) -> None:
    root = folder(tmp_path, 3)
    Image.new("L", (6, 4), 255).save(root / "masks/0.png")
    Image.open(root / "images/0.png").save(root / "images/2.bmp")
    (root / "images/2.png").unlink()
    report = check(source(root))
    assert (report.ok, report.warnings) == (True, 3)
    found = [(Path(f.file).name, f.message) for f in report.findings[:2]]
    assert found[0][0] == "0.png"
    assert "void everywhere" in found[0][1]
    assert found[1] == ("2.bmp", "is the same image as '0', pixel by pixel")


def test_nothing_readable(tmp_path: Path) -> None:
    root = folder(tmp_path, 1)
    (root / "images/0.png").write_bytes(b"")
    report = check(source(root))
    assert (report.readable, report.void_share, report.warnings) == (0, 0.0, 0)


def test_overlap_is_found_by_content(tmp_path: Path) -> None:
    train, val = folder(tmp_path / "train", 4), folder(tmp_path / "val", 3, seed=1)
    assert overlap(check(source(train)), check(source(val))) == []
    (val / "images/0.png").unlink()
    Image.open(train / "images/2.png").save(val / "images/0.bmp")
    (val / "images/1.png").write_bytes(b"")
    assert overlap(check(source(train)), check(source(val))) == [("2", "0")]


def test_report_as_json(tmp_path: Path) -> None:
    result = json.loads(json.dumps(check(source(folder(tmp_path, 3))).to_dict()))
    assert result["sizes"] == {"4x6": 2, "5x6": 1}
    assert result["classes"] == list(CLASSES)
    assert result["findings"][0]["severity"] == "warning"
    assert result["ok"] is True


def test_shipped_kinds_of_data_are_clean(shared_data: Path) -> None:
    sources: list[Source] = [Shapes("val", 20, (64, 64)), Voc(shared_data / "voc-sample", "train")]
    for each in sources:
        report = check(each)
        assert isinstance(report, Report)
        assert report.ok
    assert overlap(*(check(Shapes(split, 15, (48, 48))) for split in ("train", "val"))) == []


@pytest.mark.slow
def test_camvid_is_clean_and_its_splits_are_apart(shared_data: Path) -> None:
    reports = [check(CamVid(shared_data / "camvid", split)) for split in ("train", "val")]
    assert all(report.ok for report in reports)
    assert overlap(*reports) == []
