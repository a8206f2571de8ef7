"""The page written from a real check of files: what it shows of sound and of broken samples."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from pages import check_self_contained
from PIL import Image

from fcnseg.audit.doubts import across
from fcnseg.audit.page import to_page, write_page
from fcnseg.audit.report import Finding
from fcnseg.audit.showcase import MOST, choose
from fcnseg.audit.survey import survey, unopened
from fcnseg.data.folder import folder
from fcnseg.data.shapes import Shapes
from fcnseg.errors import DataError, EnvironmentFault

CLASSES = ("ground", "house", "bird")
HOSTILE = "<img src=x onerror=alert(1)> &amp; 'q'"
RNG = np.random.default_rng(5)


def pair(root: Path, name: str, label: np.ndarray, image: np.ndarray | None = None) -> None:
    for part in ("images", "masks"):
        (root / part).mkdir(exist_ok=True, parents=True)
    if image is None:
        image = RNG.integers(0, 256, (*label.shape, 3), dtype=np.uint8)
    Image.fromarray(image).save(root / "images" / f"{name}.png")
    Image.fromarray(label).save(root / "masks" / f"{name}.png")


def label(high: int = 40, wide: int = 60, house: int = 10, void: int = 0) -> np.ndarray:
    ids = np.zeros((high, wide), np.uint8)
    ids[:house, :house] = 1
    ids[high - void :] = 255
    return ids


def looked_at(root: Path):  # type: ignore[no-untyped-def]
    source = folder(root / "images", root / "masks", CLASSES, strict=False, name="town/train")
    return source, survey(source, source.faults)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    pair(tmp_path, "good", label())
    pair(tmp_path, "bird", np.where(np.arange(2400).reshape(40, 60) % 97 == 3, 2, 0).astype("u1"))
    pair(tmp_path, "void", label(void=36))
    pair(tmp_path, "sizes", label(20, 30), np.full((40, 60, 3), 77, np.uint8))
    pair(tmp_path, "value", label() + 6)
    pair(tmp_path, HOSTILE, label() + 7)
    pair(tmp_path, "half", label())
    cut = tmp_path / "images" / "half.png"
    cut.write_bytes(cut.read_bytes()[:400])
    pair(tmp_path, "nomask", label())
    (tmp_path / "masks" / "nomask.png").write_bytes(b"")
    pair(tmp_path, "nothing", label())
    (tmp_path / "images" / "nothing.png").write_bytes(b"")
    (tmp_path / "masks" / "nothing.png").write_bytes(b"")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "images" / "alone.png")
    return tmp_path


def pictures(page: str) -> dict[str, np.ndarray]:
    """The pictures of the page by the ids below them, (h, w, 3) uint8."""
    found = re.findall(r'<figure><img src="([^"]+)".*?<code>(.*?)</code>', page, re.DOTALL)
    return {
        name: np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
        for uri, name in found
    }


def test_a_folder_with_faults(broken: Path, tmp_path: Path) -> None:
    source, report = looked_at(broken)
    before = {p: p.read_bytes() for p in broken.rglob("*.png")}
    out = tmp_path / "report.html"
    assert write_page(out, [report], [source], [], "fcnseg train --images x") == out
    page = out.read_text(encoding="utf-8")
    found = check_self_contained(page)
    assert {p: p.read_bytes() for p in broken.rglob("*.png")} == before
    assert "Not ready to train" in found.text
    for finding in report.findings:
        assert " ".join(finding.file.split()) in found.text
        assert " ".join(finding.message.split()) in found.text
    shown = pictures(page)
    # A pair of which nothing can be read, and an image without a mask, cannot be shown.
    assert set(shown) >= {"sizes", "value", "half", "nomask", "good", "bird", "void"}
    assert not {"nothing", "alone"} & set(shown)
    assert {name for name in shown if "onerror" in name}
    assert set(list(shown)[:5]).isdisjoint({"good", "bird", "void"})  # worst first
    # What cannot be read is left out: the image alone, the mask alone, or both as they are.
    assert shown["nomask"].shape == (160, 240, 3)
    assert shown["half"].shape == (160, 240, 3)
    assert np.abs(shown["half"][150, 200].astype(int) - (0, 0, 0)).max() < 12
    assert shown["sizes"].shape[1] == 480
    assert np.abs(shown["sizes"][100, 100].astype(int) - 77).max() < 12
    assert "much void: 90 % of its pixels" in found.text


def test_the_counts_equal_a_plain_count(broken: Path) -> None:
    source, report = looked_at(broken)
    checked = to_page([report], [source], [], "")
    pixels, images, void = [0, 0, 0], [0, 0, 0], 0
    for name in ("good", "bird", "void"):
        flat = np.asarray(Image.open(broken / "masks" / f"{name}.png")).ravel().tolist()
        void += flat.count(255)
        for class_id in range(3):
            pixels[class_id] += flat.count(class_id)
            images[class_id] += class_id in flat
    (split,) = checked.splits
    assert (list(split.class_pixels), list(split.class_images)) == (pixels, images)
    assert (split.void_pixels, split.readable, split.images) == (void, 3, report.images)
    assert split.errors == sum(f.severity == "error" for f in report.findings) == checked.errors
    bird = next(p for p in checked.pictures if p.id == "bird")
    assert bird.contents == (("ground", 2375 / 2400), ("bird", 25 / 2400))


def test_the_gallery_is_worst_first_and_bounded(tmp_path: Path) -> None:
    for i in range(30):
        pair(tmp_path, f"wrong{i:02}", label() + 100)
    for i in range(8):
        pair(tmp_path, f"allvoid{i}", label(void=40))
    for i in range(8):
        pair(tmp_path, f"some{i}", label(house=4 + i, void=10 + i))
    source, report = looked_at(tmp_path)
    chosen = choose([report], [source], [])
    assert len(chosen) == MOST
    assert len({choice.index for choice in chosen}) == MOST
    severities = [choice.severity for choice in chosen]
    assert severities == sorted(severities, key=["error", "warning", ""].index)
    reasons = " ".join(choice.reason for choice in chosen)
    assert "void everywhere" in reasons
    assert "the most of 'house'" in reasons


def test_every_kind_of_error_is_shown_before_a_second_of_any(broken: Path) -> None:
    for i in range(40):
        pair(broken, f"wrong{i:02}", label() + 50)
    source, report = looked_at(broken)
    ids = [source.id(choice.index) for choice in choose([report], [source], [])]
    assert {"sizes", "half", "nomask"} <= set(ids)


def test_two_splits_and_what_is_between_them(tmp_path: Path) -> None:
    same = np.full((40, 60, 3), 9, np.uint8)
    pair(tmp_path / "a", "one", label(), same)
    pair(tmp_path / "b", "two", label(), same)
    sources, reports = zip(*(looked_at(tmp_path / part) for part in "ab"), strict=True)
    reports[1].name = "town/val"
    between = across(reports)
    checked = to_page(reports, sources, between, "")
    assert checked.name == "town"
    assert checked.kinds[0].where == "more than one split"
    assert (checked.pictures[0].id, checked.pictures[0].split) == ("two", "town/val")
    assert "same image" in checked.pictures[0].reason


def test_findings_about_a_file_of_many_samples_choose_none(tmp_path: Path) -> None:
    class Shared:
        name, classes, palette = "coco", CLASSES, ((0, 0, 0), (9, 9, 9), (5, 5, 5))

        def __len__(self) -> int:
            return 2

        def id(self, index: int) -> str:
            return f"s{index}"

        def files(self, index: int) -> tuple[Path, ...]:
            return Path(f"{index}.jpg"), Path("all.json")

    report = unopened("coco", DataError("x"))
    report.findings = [Finding("error", "all.json", "bad"), Finding("error", "s1", "worse")]
    assert [c.index for c in choose([report], [Shared()], [])] == [1]  # type: ignore[list-item]


def test_a_split_that_could_not_be_opened(tmp_path: Path) -> None:
    report = unopened("voc/train", DataError("VOC: there is no such folder; check the path"))
    write_page(tmp_path / "page.html", [report], [None], [], "fcnseg train")
    found = check_self_contained((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "there is no such folder" in found.text


def test_generated_samples(tmp_path: Path) -> None:
    source = Shapes("train", 40, (48, 64), 0)
    report = survey(source)
    chosen = choose([report], [source], [])
    # With nothing wrong there are samples with void, one for each class, and others.
    assert len(chosen) == 12
    assert "one of the others" in {choice.reason for choice in chosen}
    write_page(tmp_path / "page.html", [report], [source], [], "fcnseg train --data shapes")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    check_self_contained(page)
    assert list(pictures(page)) == [source.id(choice.index) for choice in chosen]


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    source = Shapes("train", 2, (48, 48), 0)
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        write_page(tmp_path / "no" / "page.html", [survey(source)], [source], [], "")
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_no_text(tmp_path: Path) -> None:
    report = unopened("folder", DataError("masks/\udcff.png: bad"))
    write_page(tmp_path / "page.html", [report], [None], [], "")
    assert "masks/" in (tmp_path / "page.html").read_text(encoding="utf-8")
